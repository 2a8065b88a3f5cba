# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Why the robot does not move is said: one sentence with a code, the same in log, status and diagnostics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from policy_rig import PERIOD_S, ROBOT, Ramp, Rig, Robot, policy_rig, wait_for
from rclpy.logging import get_logger
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage

from hpt_ros.control import State
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.kinds import Kind
from hpt_ros.nodes.policy.state_logger import AGAIN_S, StateLogger
from hpt_ros.nodes.policy.waiting import Code, Reason
from hpt_ros.policies.loading import LoadedPolicy


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def fault(rig: Rig) -> str:
    return str(rig.robot.statuses[-1].fault) if rig.robot.statuses else ""


def entry(rig: Rig, name: str) -> Any:
    found = [item for item in rig.robot.diagnostics if item.name == f"/policy_node: {name}"]
    return found[-1] if found else None


def require_said(rig: Rig, capfd: Any, code: str, *words: str, stream: str = "") -> None:
    """One sentence with the code and the words, in status, diagnostics, and log; others may come before it."""

    def said(sentence: str) -> bool:
        return f"[{code}]" in sentence and all(part in sentence for part in words)

    wait_for(lambda: said(fault(rig)), f"{code} in the status, with {words}")
    assert (rig.robot.statuses[-1].state_name, rig.robot.statuses[-1].reason) == ("WAITING", code)
    wait_for(lambda: entry(rig, "policy") and f"[{code}]" in entry(rig, "policy").message, "diagnostics")
    assert {item.key: item.value for item in entry(rig, "policy").values}["reason"] == code
    if stream:
        wait_for(lambda: f"[{code}]" in entry(rig, f"stream {stream}").message, "diagnostics of the stream")
    log = ""

    def logged() -> int:
        nonlocal log
        log += capfd.readouterr().err
        return sum("WAITING: " in line and said(line) for line in log.splitlines())

    wait_for(logged, "the reason in the log")
    assert logged() == 1


def robot_of(**changes: Any) -> LoadedPolicy:
    """The policy of a robot whose camera `front` is described otherwise than it is."""
    front = replace(ROBOT.streams[0], **changes)
    other = replace(ROBOT, streams=(front, *ROBOT.streams[1:]))
    return LoadedPolicy(Ramp(), other, "", other.observation_horizon)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"topic": "/front_camra/image_raw"},
            "stream_no_publisher",
            ("stream 'front' (topic /front_camra/image_raw) has no publisher", "/front_camera/image_raw (sensor_msgs"),
        ),
        (
            {"type": "sensor_msgs/msg/CompressedImage"},
            "stream_wrong_type",
            ("is published as sensor_msgs/msg/Image, expected sensor_msgs/msg/CompressedImage",),
        ),
        ({"qos": "reliable"}, "stream_wrong_qos", ("is published as best effort, expected reliable",)),
    ],
)  # fmt: skip
def test_when_a_stream_is_not_published_as_described_expect_what_to_correct(rig, capfd, changes, code, words):
    # One DDS participant refuses two types of a topic by itself, so the node gets its own.
    with Composition() as rig.composition:
        rig.start(loaded=robot_of(**changes))
        require_said(rig, capfd, code, *words, stream="front")


def test_when_a_publisher_sends_nothing_expect_it_and_its_driver_named(rig, capfd):
    rig.robot.camera_on = False
    rig.start()
    require_said(rig, capfd, "stream_silent", "has 1 publishers, but no message came", stream="front")


def test_when_messages_are_refused_expect_that_and_not_never_seen(rig, capfd):
    rig.robot.encoding = "8UC9"
    rig.start()
    require_said(rig, capfd, "stream_refused", "has images of encoding '8UC9'", stream="front")
    assert "never seen" not in fault(rig)


def test_when_streams_are_back_and_only_the_start_is_refused_expect_waiting_and_motion_when_the_policy_comes_near(
    rig, capfd
):
    node = rig.start(queue__request_fraction=1.0)
    rig.until_moving()
    rig.robot.camera_on = False
    rig.until(State.HOLDING)
    rig.policy.value = 0.6
    rig.robot.camera_on = True
    require_said(rig, capfd, "start", "from its pose", "move the robot")
    rig.policy.value = 0.0
    rig.until(State.RUNNING)
    assert node.counters()["faults"] == 0


def test_when_a_camera_becomes_later_than_its_tolerance_expect_the_latched_fault_to_say_so(capfd):
    with policy_rig(LateCamera) as rig:
        rig.robot.late_s = 0.0
        rig.start(watchdog__timeout_s=1.5)
        rig.until_moving()
        rig.robot.late_s = 0.2
        rig.until(State.FAULT)
        assert "no observation is complete: stream 'front'" in str(rig.node.runtime.controller.latched)


class LateCamera(Robot):  # type: ignore[misc]
    """Its images come a fifth of a second after their stamp."""

    late_s = 0.2

    def _publish_images(self) -> None:
        self.clock_off_s = -self.late_s
        super()._publish_images()
        self.clock_off_s = 0.0


@pytest.mark.parametrize("late_s", [0.2, 0.25, 0.35])
def test_when_a_camera_is_later_than_its_tolerance_expect_its_age_and_tolerance_all_the_time(capfd, late_s):
    """Its images are up to a period older just before the next: beyond the watchdog's 0.3 s, in part or always."""
    with policy_rig(LateCamera) as rig:
        rig.robot.late_s = late_s
        rig.start()
        require_said(
            rig,
            capfd,
            "observation",
            f"stream 'front' comes {late_s:.1f}"[:-1],
            "later than its tolerance of 0.15 s",
        )
        rig.robot.statuses.clear()
        wait_for(lambda: len(rig.robot.statuses) > 15, "more than a second of status")
        assert {status.reason for status in rig.robot.statuses} == {"observation"}


def test_when_the_robot_is_stamped_by_another_kind_of_clock_expect_use_sim_time_named(rig, capfd):
    rig.robot.clock_off_s = 10.0 - time.time()
    rig.start()
    require_said(rig, capfd, "stream_other_clock", "use_sim_time", stream="front")


def short_policy(horizon: int, delay_s: float = 0.0) -> LoadedPolicy:
    action = replace(ROBOT.action, horizon=horizon)
    robot = replace(ROBOT, action=action)

    class Short(Ramp):  # type: ignore[misc]
        def predict(self, observation: Any) -> np.ndarray:
            time.sleep(delay_s)
            return super().predict(observation)[:horizon]

    return LoadedPolicy(Short(), robot, "", robot.observation_horizon)


def test_when_the_policy_takes_longer_than_its_chunk_expect_both_durations(rig, capfd):
    rig.start(loaded=short_policy(4, delay_s=0.5))
    require_said(
        rig, capfd, "chunk_late", "cover 0.3 s; make the policy faster, or train with a longer horizon"
    )


def test_when_no_task_was_given_expect_what_to_call(rig, capfd):
    rig.start(start_on_activate=False)
    require_said(rig, capfd, "task", "send a goal to ~/run")


def test_when_only_the_node_itself_names_a_topic_expect_it_not_proposed(rig):
    """Pinned: of two cameras that were both not there, each was proposed for the other."""
    while rig.robot.cameras:
        rig.robot.destroy_publisher(rig.robot.cameras.pop())
    rig.start()
    wait_for(lambda: rig.robot.statuses and rig.robot.statuses[-1].reason == "stream_no_publisher", "why")
    assert fault(rig).count("no topic is similar; start its driver") == 2


def test_when_only_the_compressed_topic_is_there_expect_it_proposed(rig, capfd):
    topic = f"{ROBOT.streams[0].topic}/compressed"
    rig.robot.create_publisher(CompressedImage, topic, qos_profile_sensor_data)
    rig.robot.destroy_publisher(rig.robot.cameras.pop(0))
    rig.start()
    require_said(
        rig, capfd, "stream_no_publisher", f"{topic} (sensor_msgs/msg/CompressedImage)", stream="front"
    )


def test_when_commands_are_sent_too_late_expect_a_warning_that_names_the_margin(rig, capfd):
    node = rig.start()
    rig.until_moving()
    wait_for(lambda: rig.robot.statuses[-1].lead_s > 0.0, "the lead in the status")
    log = ""

    def logged() -> bool:
        nonlocal log
        with node.lock:
            time.sleep(2.5 * PERIOD_S)  # late by more than the margin of a period
        time.sleep(5 * PERIOD_S)
        log += capfd.readouterr().err
        said = [item.message for item in rig.robot.diagnostics if item.name.endswith(": policy")]
        return "raise lead_margin_s" in log and any("[lead]" in words for words in said)

    wait_for(logged, "the warning")
    assert "expected 0.02 s; lower" in log


def test_when_the_robots_clock_is_a_little_ahead_expect_motion_and_a_warning(rig, capfd):
    rig.robot.clock_off_s = 0.015
    rig.start()
    rig.until_moving()
    log = ""

    def logged() -> bool:
        nonlocal log
        log += capfd.readouterr().err
        return "the robot's clock is ahead of this machine's" in log

    wait_for(logged, "the warning")
    wait_for(
        lambda: entry(rig, "stream joints") and "is ahead" in entry(rig, "stream joints").message,
        "the diagnostics",
    )


class Lines:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.info = self.warning = self.error = self.lines.append


def test_when_a_problem_comes_again_and_again_expect_few_lines_that_count_it():
    now, log = [0.0], Lines()
    state_log = StateLogger(log, lambda: now[0])
    for number in range(500):
        state_log.complain(Kind.UNUSABLE, "front", f"{number} is not what was expected")
        state_log.complain(Kind.UNUSABLE, "wrist", f"{number} is not what was expected")
        now[0] += 0.05
    front = log.lines[::2]
    assert len(log.lines) == 6
    assert front[0] == "0 is not what was expected"
    assert front[1] == "200 is not what was expected (200 of this kind in the last 10 s)"


def test_when_waiting_lasts_expect_each_reason_once_and_again_every_ten_seconds():
    now, log = [0.0], Lines()
    state_log = StateLogger(log, lambda: now[0])
    reasons = [Reason(Code.TASK, "waiting for a task"), Reason(Code.POSE, "waiting for the pose")]
    for _ in range(int(2.5 * AGAIN_S / 0.02)):
        state_log.waiting(State.WAITING, lambda: reasons[int(now[0] / 2.0) % 2])
        now[0] += 0.02
    for line in ("WAITING: waiting for a task [task]", "WAITING: waiting for the pose [pose]"):
        assert 2 <= log.lines.count(line) <= 3
    assert len(log.lines) == 5
    log.lines.clear()
    for _ in range(int(3 * AGAIN_S / 0.02)):
        state_log.waiting(State.RUNNING, lambda: reasons[0])
        now[0] += 0.02
    assert log.lines == []


def test_when_reasons_of_other_levels_follow_each_other_expect_all_of_them_logged(capfd):
    """rclpy refuses a line of code that logs at another level than before: the node went from waiting to a fault."""
    now = [0.0]
    state_log = StateLogger(get_logger("state_log"), lambda: now[0])
    for reason in (
        Reason(Code.TASK, "no task"),
        Reason(Code.POSE, "no pose"),
        Reason(Code.RELEASED, "no hand"),
    ):

        def given(reason: Reason = reason) -> Reason:
            return reason

        for _ in range(100):
            state_log.waiting(State.WAITING, given)
            now[0] += 0.02
    for log, level in (
        (state_log.complain, "complained"),
        (state_log.warn, "warned"),
        (state_log.complain, "again"),
    ):
        log(Kind.UNUSABLE, level, level)
    logged = capfd.readouterr().err
    for line in (
        *(
            "[INFO]",
            "WAITING: no task [task]",
            "[WARN]",
            "WAITING: no pose [pose]",
            "WAITING: no hand",
        ),
        *("complained", "warned", "again"),
    ):
        assert line in logged
