# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The runtime without ROS: what messages may hold, and embodiments that it refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.control import ControlConfig, State
from hpt_ros.embodiment import Embodiment, ImageSpec
from hpt_ros.errors import Code, HptError
from hpt_ros.policies.baselines import HoldPolicy, RandomPolicy
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.resources import config_file
from hpt_ros.runtime.inference_worker import InferenceWorker, Request
from hpt_ros.runtime.policy_runtime import PolicyRuntime

ROBOT = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
NOW = 100 * 1_000_000_000


def pilot_of(robot: Embodiment) -> PolicyRuntime:
    return PolicyRuntime(
        LoadedPolicy(HoldPolicy(ROBOT), robot, "", robot.observation_horizon), ControlConfig()
    )


@pytest.fixture(scope="module")
def runtime() -> Iterator[PolicyRuntime]:
    made = pilot_of(ROBOT)
    made.activate(enabled=True)
    yield made
    assert made.close()


anything = st.recursive(
    st.one_of(
        st.none(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.binary(max_size=20)
    ),
    lambda inner: st.lists(inner, max_size=9),
    max_leaves=10,
)


def test_when_a_pilot_cannot_be_made_expect_no_thread_of_it_left():
    before = threading.active_count()
    with pytest.raises(ValueError, match="maxlen"):
        PolicyRuntime(LoadedPolicy(HoldPolicy(ROBOT), ROBOT, "", -1), ControlConfig())
    assert threading.active_count() == before


fields = ("name", "position", "height", "width", "step", "encoding", "data", "is_bigendian", "format")


@given(st.sampled_from(ROBOT.streams), st.dictionaries(st.sampled_from(fields), anything), st.booleans())
def test_whatever_a_message_holds_expect_a_sentence_and_a_stream_that_stays_unseen(
    runtime, stream, content, stamped
):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=NOW // 10**9, nanosec=0)) if stamped else None
    before = runtime.controller.activation.counters["invalid_messages"]
    said = runtime.streams.message(stream, SimpleNamespace(header=header, **content), NOW)
    assert runtime.observations.flush()
    step = runtime.step(NOW)
    (problem,) = [said] if said else [why for who, why in step.complaints if who == stream.name]
    assert str(problem).startswith(f"stream {stream.name!r} (topic {stream.topic})")
    assert "\n" not in str(problem)
    assert step.internal is None
    assert runtime.controller.activation.counters["invalid_messages"] == before + 1
    assert stream.name in runtime.controller.monitors.watchdog.find_stale(NOW)
    assert step.command is None
    assert runtime.controller.state is State.WAITING


def test_when_views_differ_in_size_expect_refused():
    streams = (replace(ROBOT.streams[0], image=ImageSpec(48, 64)), *ROBOT.streams[1:])
    with refused(
        HptError, Code.WRONG_SHAPE, problem="front 48x64x3, wrist 96x128x3", expected="one size for all"
    ):
        pilot_of(replace(ROBOT, streams=streams))


def test_when_a_commanded_joint_is_not_observed_expect_refused():
    joints = replace(ROBOT.streams[2], joints=ROBOT.streams[2].joints[:-1])
    with refused(
        HptError,
        Code.INVALID,
        subject="embodiment 'feed_dog'",
        value="panda_joint7",
        problem="but no stream has its position",
        remedy="position",
    ):
        pilot_of(replace(ROBOT, streams=(*ROBOT.streams[:2], joints)))


def state_of(pose: np.ndarray) -> Observation:
    return Observation(0, {"state": np.stack([np.zeros(7), pose])[None].astype(np.float32)})


def test_hold_repeats_the_newest_pose():
    pose = np.linspace(-0.5, 0.5, 7)
    chunk = HoldPolicy(ROBOT).predict(state_of(pose))
    assert chunk.shape == (ROBOT.action.horizon, 7)
    np.testing.assert_allclose(chunk, np.tile(pose, (ROBOT.action.horizon, 1)), atol=1e-6)


def test_random_starts_at_the_pose_stays_in_limits_and_repeats_with_its_seed():
    pose = ROBOT.upper - 0.01
    first, second = RandomPolicy(ROBOT, 3), RandomPolicy(ROBOT, 3)
    chunks = [first.predict(state_of(pose)) for _ in range(20)]
    for chunk in chunks:
        np.testing.assert_allclose(chunk[0], pose, atol=1e-6)
        assert (chunk <= ROBOT.upper).all()
        np.testing.assert_array_equal(chunk, second.predict(state_of(pose)))
    assert not np.array_equal(chunks[0], chunks[1])


def test_worker_takes_one_request_at_a_time_and_gives_each_result_once():
    may_answer = threading.Event()

    class Slow(HoldPolicy):
        def predict(self, observation: Observation) -> np.ndarray:
            assert may_answer.wait(30)
            return super().predict(observation)

    worker = InferenceWorker(Slow(ROBOT))
    request = Request(state_of(np.zeros(7)), 1, 0)
    assert worker.submit(request)
    assert not worker.submit(request)
    assert worker.take() is None
    may_answer.set()
    result: Any = None
    while result is None:
        result = worker.take()
    assert result.values.shape == (ROBOT.action.horizon, 7)
    assert worker.take() is None
    assert worker.close()
    assert not worker.submit(request)
