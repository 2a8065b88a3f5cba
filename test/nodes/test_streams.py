# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of each stream, and of messages that nobody stamped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from policy_rig import NS, ROBOT, Rig, policy_rig, wait_for
from sensing_rig import SENSING, message_of
from support.refused import assert_refusal

from hpt_ros.control import State
from hpt_ros.errors import Code, Refusal
from hpt_ros.nodes.common.fast_dds import profiles_variable
from hpt_ros.nodes.policy.kinds import Kind
from hpt_ros.nodes.policy.streams import KEPT, StreamMonitor
from hpt_ros.observation.track import too_old

START = 1_700_000_000 * NS
CAMERA = ROBOT.stream("front")
PERIOD = round(NS / CAMERA.rate_hz)


def fed(periods: list[float], delay_s: float = 0.01) -> tuple[StreamMonitor, int]:
    """A monitor that saw pictures so many periods apart, and the time of the last."""
    monitor, now = StreamMonitor(ROBOT), START
    for step in [0.0, *periods]:
        now += round(step * PERIOD)
        message = message_of(CAMERA, 0, now - round(delay_s * NS))
        assert monitor.saw(CAMERA, message, now) is None
    return monitor, now


def front(
    monitor: StreamMonitor, stale: str = "", absent: Refusal | None = None, age_s: float | None = 0.01
) -> Any:
    ages = {} if age_s is None else {"front": age_s}
    found = monitor.statuses(
        "n", ages, {"front": stale} if stale else {}, {"front": absent} if absent is not None else {}
    )
    (status,) = [item for item in found if item.name == "n: stream front"]
    return SimpleNamespace(
        level=status.level, message=status.message, values={item.key: item.value for item in status.values}
    )


def test_a_stream_that_comes_as_it_should_is_ok_with_its_figures():
    status = front(fed([1.0] * 20)[0])
    assert status.level == DiagnosticStatus.OK
    assert status.message == f"{CAMERA.rate_hz:.1f} Hz"
    assert float(status.values["rate [Hz]"]) == pytest.approx(CAMERA.rate_hz)
    assert float(status.values["jitter p99 [s]"]) == pytest.approx(0.0, abs=1e-9)
    assert float(status.values["delay median [s]"]) == pytest.approx(0.01)
    assert status.values["missing among the newest"] == "0"
    assert status.values["messages"] == "21"


def test_messages_that_did_not_come_are_counted_among_the_newest():
    monitor, _ = fed([1.0] * 10 + [4.0] + [1.0] * 30)
    assert front(monitor).values["missing among the newest"] == "3"
    assert front(fed([4.0] + [1.0] * KEPT)[0]).values["missing among the newest"] == "0"


@pytest.mark.parametrize(
    ("periods", "delay_s", "words"),
    [
        (
            [2.0] * 20,
            0.01,
            f"comes at {CAMERA.rate_hz / 2:.1f} Hz, expected {CAMERA.rate_hz:g} Hz",
        ),
        ([1.0] * 20, -0.5, "stamped 0.500 s in the future; synchronise the clocks"),
    ],
)
def test_when_a_stream_is_slow_or_ahead_expect_a_warning(periods, delay_s, words):
    status = front(fed(periods, delay_s)[0])
    assert status.level == DiagnosticStatus.WARN
    assert words in status.message


@pytest.mark.parametrize(
    ("size", "trained", "words"),
    [
        ((96, 128), [], ""),
        ((480, 640), [], ""),  # of the shape of the file
        ((72, 128), [], "are 128x72 pixels and become 128x96: what they show is 33% too high"),
        ((480, 640), [(480, 640)], ""),
        ((72, 128), [(480, 640), (72, 128)], ""),  # squashed in training as it is here
        ((96, 128), [(480, 640)], "but the policy was trained on 640x480: they are of the same shape"),
        (
            (720, 1280),
            [(480, 640)],
            "was trained on 640x480: what they show is 33% too high; set the camera's profile",
        ),
        ((480, 640), [(720, 1280)], "was trained on 1280x720: what they show is 33% too wide"),
        (
            (720, 1280),
            [(480, 640), (360, 640)],
            "was trained on 640x480 and 640x360: they are of the same shape",
        ),
    ],
)
def test_when_images_are_not_as_those_of_training_expect_a_warning_with_both_sizes(size, trained, words):
    monitor = StreamMonitor(ROBOT, {"front": trained})
    message = message_of(CAMERA, 0, START)
    message.height, message.width = size
    assert monitor.changed(CAMERA, message) is None
    found = monitor.warnings().get("front")
    assert (found is not None) is bool(words)
    if found is not None:
        assert_refusal(found, Kind.IMAGE, match=re.escape(words))


@pytest.mark.parametrize(
    ("encodings", "words"),
    [
        (["rgb8", "bgr8", "bayer_rggb8", "8UC3"], ""),
        (["mono8", "8UC1"], ""),
        (["rgb8", "mono8"], "have no colours any more"),
        (["mono8", "rgb8"], "have colours, and had none before"),
    ],
)
def test_when_a_cameras_colours_come_or_go_expect_a_refusal(encodings, words):
    monitor, refusals = StreamMonitor(ROBOT), []
    for encoding in encodings:
        message = message_of(CAMERA, 0, START)
        message.encoding = encoding
        refusals.append(monitor.changed(CAMERA, message))
    assert refusals[:-1] == [None] * (len(encodings) - 1)
    assert (refusals[-1] is not None) is bool(words)
    if refusals[-1] is not None:
        assert_refusal(refusals[-1], Code.MISMATCH, match=words)


def test_when_the_file_gives_the_encoding_expect_the_messages_own_not_compared():
    camera, monitor = replace(CAMERA, encoding="bgr8"), StreamMonitor(ROBOT)
    for encoding in ("rgb8", "mono8"):
        message = message_of(CAMERA, 0, START)
        message.encoding = encoding
        assert monitor.changed(camera, message) is None


def test_when_an_image_without_pixels_comes_between_expect_no_change_of_size():
    monitor = StreamMonitor(ROBOT)
    for height in (96, 0, 96):
        message = message_of(CAMERA, 0, START)
        message.height, message.width = height, 128
        assert monitor.changed(CAMERA, message) is None


@pytest.mark.parametrize(("same", "found"), [(1, 0), (4, 0), (5, 5), (9, 9)])
def test_messages_with_one_stamp_are_counted_until_another_comes(same, found):
    monitor = StreamMonitor(ROBOT)
    for at in range(same):
        monitor.saw(CAMERA, message_of(CAMERA, 0, START), START + at * PERIOD)
    assert monitor.one_stamp("front") == found
    monitor.saw(CAMERA, message_of(CAMERA, 0, START + PERIOD), START + same * PERIOD)
    assert monitor.one_stamp("front") == 0


@pytest.mark.parametrize(
    ("delay_s", "words"),
    [
        (-0.01, "stamped 0.010 s in the future: the robot's clock is ahead"),
        (0.2, "stamped 0.200 s before it comes: the robot's clock is behind"),
        (0.02, ""),
        (-0.001, ""),
    ],
)
def test_when_the_robots_clock_differs_expect_a_warning_of_its_own_kind_with_both_remedies(delay_s, words):
    joints, monitor = ROBOT.state_streams[0], StreamMonitor(ROBOT)
    for number in range(20):
        now = START + round(number * NS / joints.rate_hz)
        monitor.saw(joints, message_of(joints, 0, now - round(delay_s * NS)), now)
    found = monitor.warnings().get(joints.name)
    assert (found is not None) is bool(words)
    if found is not None:
        remedy = "synchronise the clocks, or set outputs.stamp_zero"
        assert_refusal(found, Kind.CLOCKS, problem=words, remedy=remedy)


@pytest.mark.parametrize(("type_", "profile", "hinted"), [
    ("sensor_msgs/msg/Image", "", True),
    ("sensor_msgs/msg/Image", "fastdds.xml", False),
    ("sensor_msgs/msg/CompressedImage", "", False),
])  # fmt: skip
def test_when_raw_images_are_slow_without_a_profile_of_fast_dds_expect_it_named(
    monkeypatch, type_, profile, hinted
):
    monkeypatch.setenv(profiles_variable(), profile)
    camera = replace(CAMERA, type=type_)
    monitor, now = StreamMonitor(replace(ROBOT, streams=(camera, *ROBOT.streams[1:]))), START
    for _ in range(20):
        now += round(2.0 * NS / camera.rate_hz)
        monitor.saw(camera, message_of(CAMERA, 0, now), now)
    slow = monitor.warnings()["front"]
    assert_refusal(slow, Kind.SLOW, expected=f"{camera.rate_hz:g} Hz")
    assert ("config/dds/fastdds.xml" in slow.remedy) is hinted


def test_stale_is_an_error_absent_a_warning_and_inactive_is_neither():
    monitor, _ = fed([1.0] * 5)
    assert (front(monitor, stale="too old").level, front(monitor, stale="too old").message) == (
        DiagnosticStatus.ERROR, "too old",
    )  # fmt: skip
    assert (
        front(monitor, absent=too_old("newest sample", 300_000_000, 150_000_000)).level
        == DiagnosticStatus.WARN
    )
    assert front(monitor, age_s=None).level == DiagnosticStatus.OK
    assert front(monitor, age_s=None).message == "not subscribed: the node is not active"


def test_when_nothing_was_seen_or_the_clock_went_back_expect_no_nonsense():
    assert math.isnan(float(front(StreamMonitor(ROBOT)).values["rate [Hz]"]))
    monitor, now = fed([1.0] * 5)
    monitor.saw(CAMERA, message_of(CAMERA, 0, now - 60 * NS), now - 60 * NS)
    assert math.isnan(float(front(monitor).values["rate [Hz]"]))
    assert front(monitor).values["missing among the newest"] == "0"


def test_messages_without_a_stamp_are_warned_of_but_not_types_that_have_none():
    monitor = StreamMonitor(SENSING)
    message = message_of(CAMERA, 0, 0)
    warning = monitor.saw(CAMERA, message, START)
    problem = "without a time stamp; their arrival is taken for it"
    assert_refusal(warning, Code.MISSING, subject="stream 'front' (topic", problem=problem)
    skin = SENSING.stream("skin")
    assert monitor.saw(skin, message_of(skin, 0, START), START) is None
    found = {item.name: item for item in monitor.statuses("n", {"front": 0.0, "skin": 0.0}, {}, {})}
    assert found["n: stream front"].level == DiagnosticStatus.WARN
    assert "1 messages without a time stamp" in found["n: stream front"].message
    assert found["n: stream skin"].level == DiagnosticStatus.OK


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def newest(rig: Rig, name: str) -> Any:
    found = [item for item in rig.robot.diagnostics if item.name == f"/policy_node: {name}"]
    return found[-1] if found else None


def test_diagnostics_of_the_node_judge_each_stream_and_name_the_one_that_died(rig):
    rig.start(active=False)
    rig.node.trigger_configure()
    wait_for(lambda: newest(rig, "stream front"), "diagnostics of an inactive node")
    assert newest(rig, "stream front").level == DiagnosticStatus.OK
    rig.node.trigger_activate()
    rig.until_moving()
    # On a busy machine the robot's own timer is slow, which is a warning; it names the rate too.
    wait_for(lambda: " Hz" in newest(rig, "stream joints").message, "a rate")
    assert newest(rig, "stream joints").hardware_id == "/joint_states"
    rig.robot.joints_on = False
    rig.until(State.FAULT)
    wait_for(lambda: newest(rig, "stream joints").level == DiagnosticStatus.ERROR, "the error")
    assert "stream 'joints' is" in newest(rig, "stream joints").message
    rig.robot.encoding = "8UC9"
    values = lambda: {item.key: item.value for item in newest(rig, "stream front").values}  # noqa: E731
    wait_for(lambda: int(values()["unusable"]) > 0, "unusable pictures")


def test_when_nobody_stamps_the_joint_states_expect_motion_and_one_warning(rig, capfd):
    rig.robot.stamped = False
    rig.start()
    rig.until_moving()
    rig.check_limits()
    wait_for(lambda: newest(rig, "stream joints"), "diagnostics")
    wait_for(lambda: "time stamp" in newest(rig, "stream joints").message, "the warning in the diagnostics")
    said = capfd.readouterr().err
    assert said.count("without a time stamp; their arrival is taken for it") == 1
    assert "[WARN]" in said
