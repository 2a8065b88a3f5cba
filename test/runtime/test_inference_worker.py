# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The worker's thread and the observations's, without ROS: order of work, forgetting, bounds."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from policy_rig import NS, ROBOT, wait_for
from sensing_rig import message_of
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from support.refused import assert_refusal
from support.tiny_video import packets

from hpt_ros.control.refusals import Why
from hpt_ros.policies.baselines import HoldPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.runtime.inference_worker import InferenceResult, InferenceWorker, Request
from hpt_ros.runtime.observation_pipeline import WAITING_KEPT, ObservationPipeline

START = 1_000 * NS
FRONT = ROBOT.stream("front")


@dataclass
class Logged:
    """Writes down what it is asked; each call waits until it is let go."""

    log: list[str] = field(default_factory=list)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    raises: bool = False

    def _do(self, what: str) -> None:
        self.log.append(what)
        self.begun.release()
        assert self.go.acquire(timeout=20.0)
        if self.raises:
            raise ValueError("no\npicture")

    def predict(self, observation: Observation) -> np.ndarray:
        self._do(f"predict {observation.keys}")
        return np.zeros((1, 7))

    def observe(self, observation: Observation) -> None:
        self._do(f"observe {observation.keys}")

    def reset(self) -> None:
        self.log.append("reset")


def tick(key: int) -> Observation:
    return Observation(key, {}, keys=(key,))


def result_of(worker: InferenceWorker) -> InferenceResult:
    found: InferenceResult = wait_for(worker.take, "a result")
    return found


def test_a_request_is_served_before_the_ticks_that_wait_to_be_encoded():
    policy = Logged()
    worker = InferenceWorker(policy)
    worker.encode_ahead(tick(1))
    assert policy.begun.acquire(timeout=20.0)
    for key in (2, 3):
        worker.encode_ahead(tick(key))
    assert worker.idle
    assert worker.submit(Request(tick(9), 0, 0))
    for _ in range(4):
        policy.go.release()
    assert result_of(worker).values is not None
    wait_for(lambda: len(policy.log) == 4, "the ticks that waited")
    assert policy.log == ["observe (1,)", "predict (9,)", "observe (2,)", "observe (3,)"]
    assert worker.close()


def test_when_an_episode_begins_expect_the_policy_to_forget_first_and_old_ticks_dropped():
    policy = Logged()
    worker = InferenceWorker(policy)
    worker.encode_ahead(tick(1))
    assert policy.begun.acquire(timeout=20.0)
    worker.encode_ahead(tick(2))
    worker.reset()
    worker.encode_ahead(tick(7))
    policy.go.release()
    policy.go.release()
    wait_for(lambda: len(policy.log) == 3, "the new tick")
    assert policy.log == ["observe (1,)", "reset", "observe (7,)"]
    assert worker.close()


def test_when_ticks_come_faster_than_they_are_encoded_expect_the_oldest_dropped():
    policy = Logged()
    worker = InferenceWorker(policy, ahead_kept=2)
    worker.encode_ahead(tick(1))
    assert policy.begun.acquire(timeout=20.0)
    for key in range(2, 7):
        worker.encode_ahead(tick(key))
    for _ in range(3):
        policy.go.release()
    wait_for(lambda: len(policy.log) == 3, "the rest")
    assert policy.log == ["observe (1,)", "observe (5,)", "observe (6,)"]
    assert worker.close()


def test_when_encoding_ahead_fails_expect_it_said_once():
    policy = Logged(raises=True)
    worker = InferenceWorker(policy)
    worker.encode_ahead(tick(1))
    policy.go.release()
    failed = wait_for(worker.take_failure, "the failure")
    assert_refusal(failed, Why.INFERENCE, match="^the policy raised ValueError: no picture$")
    assert worker.take_failure() is None
    assert worker.close()


def test_a_policy_that_cannot_encode_ahead_is_left_alone():
    worker = InferenceWorker(HoldPolicy(ROBOT))
    worker.encode_ahead(tick(1))
    assert worker.take_failure() is None
    assert worker.close()


class SlowPipeline(ObservationPipeline):
    """Decoding waits until it is let go."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self.go = threading.Event()
        self.decoding = threading.Event()
        super().__init__(*args, **named)

    def _decode(self, *args: Any) -> Any:
        self.decoding.set()
        assert self.go.wait(20.0)
        return super()._decode(*args)


@pytest.fixture
def worker() -> Iterator[InferenceWorker]:
    made = InferenceWorker(HoldPolicy(ROBOT))
    yield made
    assert made.close()


def test_when_decoding_does_not_keep_up_expect_a_bound_on_what_waits_and_the_rest_counted(worker):
    observations = SlowPipeline(ROBOT, worker, horizon=1)
    picture = message_of(FRONT, 1, START)
    assert not observations.message(FRONT, picture, START, START)  # not known to be good yet
    assert observations.decoding.wait(20.0)
    for number in range(WAITING_KEPT + 10):
        observations.message(FRONT, picture, START + number, START + number)
    assert observations.overruns == 10
    observations.go.set()
    assert observations.flush()
    assert observations.message(FRONT, picture, START + NS, START + NS)  # good now
    assert observations.flush()
    assert not observations.report().internal
    observations.close()


def test_when_forgotten_while_decoding_expect_no_verdict_of_the_old_episode(worker):
    observations = SlowPipeline(ROBOT, worker, horizon=1)
    observations.message(FRONT, message_of(FRONT, 1, START), START, START)
    assert observations.decoding.wait(20.0)
    observations.reset(1)
    observations.go.set()
    assert observations.flush()
    assert observations.report().outcomes == ()
    assert not observations.message(FRONT, message_of(FRONT, 2, START), START, START)
    assert observations.flush()
    assert [outcome.problem for outcome in observations.report().outcomes] == [None]
    observations.close()


def test_only_pictures_that_a_tick_uses_are_decoded(worker):
    observations = SlowPipeline(ROBOT, worker, horizon=1)
    observations.go.set()
    observations.message(FRONT, message_of(FRONT, 0, START), START, START)
    assert observations.flush()
    observations.decoding.clear()
    bad = message_of(FRONT, 1, START + 1)
    bad.encoding = "nothing"
    assert observations.message(FRONT, bad, START + 1, START + 1)
    good = message_of(FRONT, 2, START + 2)
    assert observations.message(FRONT, good, START + 2, START + 2)
    assert observations.flush()
    assert not observations.decoding.is_set()
    observations.close()


def test_when_a_picture_proves_bad_only_when_a_tick_needs_it_expect_the_one_before_and_a_verdict(worker):
    observations = ObservationPipeline(ROBOT, worker, horizon=1)
    before = START - 10_000_000
    for stream in ROBOT.image_streams:
        observations.message(stream, message_of(stream, 3, before), before, before)
    observations.sample(ROBOT.stream("joints"), np.zeros(7), before, before)
    assert observations.flush()
    bad = message_of(FRONT, 4, before + 1)
    bad.encoding = "nothing"
    assert observations.message(FRONT, bad, before + 1, before + 1)
    observations.report()
    observations.poll(START + NS // 50, wanted=False, task="")
    assert observations.flush()
    (outcome,) = observations.report().outcomes
    assert "has images of encoding 'nothing'" in str(outcome.problem)
    tick = observations.window.latest
    assert tick is not None
    np.testing.assert_array_equal(tick.arrays["front"].tobytes(), message_of(FRONT, 3, before).data.tobytes())
    # From now on its messages count only once they are decoded.
    assert not observations.message(FRONT, message_of(FRONT, 5, START), START, START + NS // 50)
    observations.close()


def filmed(data: bytes, at_ns: int) -> Any:
    stamp = Time(sec=at_ns // NS, nanosec=at_ns % NS)
    return CompressedImage(header=Header(stamp=stamp), format="h264", data=data)


FILM = dataclasses.replace(FRONT, type="sensor_msgs/msg/CompressedImage")
FILMED = dataclasses.replace(
    ROBOT, streams=tuple(FILM if stream.name == "front" else stream for stream in ROBOT.streams)
)


def test_packets_of_a_video_count_from_a_key_frame_on_and_none_may_lack(worker):
    observations = ObservationPipeline(FILMED, worker, horizon=1)
    trusted, problems = [], []
    for index, data in enumerate(packets("h264", 20, every=8)[3:], 3):
        at_ns = START + index * NS // 30
        if index == 11:
            observations.note_loss(FILM)
            continue
        trusted.append(observations.message(FILM, filmed(data, at_ns), at_ns, at_ns))
        assert observations.flush()
        problems += [bool(outcome.problem) for outcome in observations.report().outcomes]
    # 3 to 7 have no key frame, 8 has; 11 is lost, 12 is found out; 12 to 15 are as 3 to 7.
    assert problems == [True] * 5 + [False] + [True] * 4 + [False]
    assert trusted == [False] * 6 + [True] * 3 + [False] * 4 + [True] * 3
    newest = observations.buffer.newest("front")
    assert newest is not None
    assert newest[1].shape == FILM.shape
    observations.close()
