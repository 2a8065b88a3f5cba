# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The worker of lock step: answers come when their time has come, and say of when they are."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.evaluation.worker import LockStepWorker
from hpt_ros.policies.protocol import Observation
from hpt_ros.runtime.inference_worker import Request

MS = 1_000_000


class Zeros:
    """A policy."""

    def predict(self, observation: Observation) -> np.ndarray:
        return np.zeros((4, 2))

    def reset(self) -> None:
        """Nothing to forget."""


@pytest.mark.parametrize(("compensates", "stamp_ns"), [(True, 500 * MS), (False, 600 * MS)])
def test_a_chunk_is_of_its_observation_or_of_when_it_is_there(compensates, stamp_ns):
    now_ns = [520 * MS]
    worker = LockStepWorker(Zeros(), lambda: now_ns[0], 0.1, compensates=compensates)
    assert worker.submit(Request(Observation(500 * MS, {}), 1, 500 * MS))
    now_ns[0] += 99 * MS
    assert worker.take() is None
    now_ns[0] += 1 * MS
    result = worker.take()
    assert result is not None
    assert result.request.observation.stamp_ns == stamp_ns
    assert result.values is not None
    assert worker.idle
