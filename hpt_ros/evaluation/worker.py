# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A worker without a thread, whose inferences take a given time on the environment's clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hpt_ros.errors import Refusal
from hpt_ros.policies.protocol import ChunkPolicy, Observation
from hpt_ros.runtime.inference_worker import InferenceResult, Request, infer


class LockStepWorker:
    """Asks the policy at once and hands its answer out `latency_s` later.

    It is a `hpt_ros.runtime.inference_worker.Worker`.

    Args:
        policy: that answers.
        clock: time of the environment in ns.
        latency_s: of an inference.
        compensates: a chunk is for the time of its observation; else for when it is there, as who forgets about
            latency has it.
    """

    def __init__(
        self, policy: ChunkPolicy, clock: Callable[[], int], latency_s: float, *, compensates: bool = True
    ) -> None:
        """Wait for requests."""
        self._compensates = compensates
        self._policy, self._clock, self._latency_ns = policy, clock, round(latency_s * 1e9)
        self._result: InferenceResult | None = None
        self._since_ns = 0
        self._forget = False

    def submit(self, request: Request) -> bool:
        """Compute the answer; False while the one before was not fetched."""
        if self._result is not None:
            return False
        forget, self._forget = self._forget, False
        self._since_ns = self._clock()
        self._result = infer(self._policy, request, forget=forget)
        return True

    def encode_ahead(self, observation: Observation) -> None:
        """Do nothing: `predict` encodes what is not encoded yet, to the same numbers."""

    def reset(self) -> None:
        """Throw an answer away, and let the policy forget before its next one."""
        self._result, self._forget = None, True

    def take(self) -> InferenceResult | None:
        """Return the answer once its time has come."""
        if self._result is None or self._clock() - self._since_ns < self._latency_ns:
            return None
        result, self._result = self._result, None
        if self._compensates:
            return result
        seen = result.request.observation
        late = replace(seen, stamp_ns=seen.stamp_ns + self._clock() - self._since_ns)
        return replace(result, request=replace(result.request, observation=late))

    def take_failure(self) -> Refusal | None:
        """Return None: nothing is encoded ahead."""
        return None

    @property
    def idle(self) -> bool:
        """Whether a request would be taken."""
        return self._result is None

    def busy_s(self) -> float:
        """Return for how long the present request has been taking, on the environment's clock."""
        return 0.0 if self._result is None else (self._clock() - self._since_ns) / 1e9

    def close(self) -> bool:
        """Return True: there is no thread."""
        return True
