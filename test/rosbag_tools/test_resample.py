# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from support.refused import refused

from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, ObservationBuffer, ObservationWindow
from hpt_ros.observation.time_series import Absence, Restart
from rosbag_tools.converting.resample import Resampler
from rosbag_tools.reading.decodable import MOST_ODD

MS = 1_000_000


def rows_of(robot, messages):
    resampler = Resampler(robot.embodiment)
    rows = []
    for topic, log_ns, message in messages:
        rows += resampler.push(topic, message, log_ns)
    return rows + resampler.finish()


def needed(robot, messages):
    return [item for item in messages if item[0] in Resampler(robot.embodiment).topics]


def test_rows_have_the_command_at_the_tick(robot):
    rows = [row for row in rows_of(robot, needed(robot, robot.messages())) if not row.missing]
    assert len(rows) >= 28
    for row in rows:
        time_s = (row.tick.stamp_ns - robot.start_ns) * 1e-9
        # position of joint a is sin(t), of b is t; velocity twice that; the command is t for a and -t for b
        np.testing.assert_allclose(row.tick.state[[1, 3]], [time_s, 2 * time_s], atol=1e-9)
        np.testing.assert_allclose(row.tick.state[0], np.sin(time_s), atol=1e-4)
        np.testing.assert_allclose(row.action, [-time_s, time_s], atol=1e-9)


def test_a_replayed_recording_gives_the_live_path_and_the_converter_identical_arrays(robot):
    messages = needed(robot, robot.messages(4.0))
    rows = {row.tick.index: row.tick for row in rows_of(robot, messages)}
    random = np.random.default_rng(1)
    live = ObservationBuffer(robot.embodiment)
    window = ObservationWindow(robot.embodiment)
    seen = 0
    by_topic = {stream.topic: stream.name for stream in robot.embodiment.streams}
    now = messages[0][1]
    for topic, log_ns, message in messages:
        while now < log_ns - 3 * MS:  # the node's timer asks at odd times
            now += int(random.integers(1, 9 * MS))
            for tick in live.ticks_ready(min(now, log_ns)):
                seen += _same(tick, rows.get(tick.index))
                if window.push(tick):
                    state = window.inputs()["state"]
                    np.testing.assert_array_equal(state[0, -1], rows[tick.index].state.astype(np.float32))
        if topic in by_topic:
            live.push_message(by_topic[topic], message, log_ns)
        now = log_ns
    assert seen >= 36


def _same(tick, other):
    if other is None:
        return 0  # a tick that the converter has not resolved at the recording's very end
    assert tick.missing == other.missing
    assert tick.ages_s == other.ages_s
    np.testing.assert_array_equal(tick.state, other.state)
    assert tick.arrays.keys() == other.arrays.keys()
    for name, picture in tick.arrays.items():
        np.testing.assert_array_equal(picture, other.arrays[name])
    return 1


def test_when_commands_pause_expect_the_action_missing(robot):
    messages = [
        item
        for item in needed(robot, robot.messages())
        if item[0] != "/command" or not 1000 * MS < item[1] - robot.start_ns < 2000 * MS
    ]
    missing = {
        (row.tick.stamp_ns - robot.start_ns) // (100 * MS): row.missing for row in rows_of(robot, messages)
    }
    lacking = [index for index, reasons in missing.items() if "action" in reasons]
    assert [index for index in lacking if 1 < index < 29] == list(range(11, 21))
    assert missing[15]["action"].code is Absence.TOO_OLD


def test_when_the_clock_goes_back_expect_nothing_of_before_used_after(robot):
    first = needed(robot, robot.messages(2.0))
    again = needed(robot, robot.messages(2.0))  # a simulation that was reset
    rows = rows_of(robot, first + again)
    restarts = [index for index, row in enumerate(rows) if row.tick.restart]
    assert len(restarts) == 1
    after = rows[restarts[0] :]
    assert after[0].tick.restart.code is Restart.BACK
    for row in after:
        if not row.missing:
            time_s = (row.tick.stamp_ns - robot.start_ns) * 1e-9
            np.testing.assert_allclose(row.action, [-time_s, time_s], atol=1e-9)
    assert sum(1 for row in after if not row.missing) >= 18


def test_refused_messages_are_told(robot):
    messages = needed(robot, robot.messages(1.0))
    for index, (topic, log_ns, message) in enumerate(messages):
        if topic == "/joint_states" and index % 2:
            message.velocity = np.array([np.nan, 0.0])
        if topic == "/command" and log_ns > robot.start_ns + 500 * MS:
            message.points[0].positions = np.array([np.inf, 0.0])
    resampler = Resampler(robot.embodiment)
    for topic, log_ns, message in messages:
        resampler.push(topic, message, log_ns)
    rows = resampler.finish()
    assert "'b.velocity'" in resampler.refused["joints"]
    assert "'a', expected a finite" in resampler.refused["action"]
    assert all(row.missing["action"].cause is not None for row in rows[-2:])


def stray(robot, topic):
    """A message of other joints."""
    if topic == "/joint_states":
        return robot.joints(0.0, 1, ("b", "z"))
    message = robot.command(0.0, 1)
    message.joint_names = ["a", "z"]
    return message


@pytest.mark.parametrize("count", [1, MOST_ODD, MOST_ODD + 1])
@pytest.mark.parametrize(
    ("topic", "subject", "value"),
    [
        ("/joint_states", "stream 'joints' (topic /joint_states)", "a"),
        ("/command", "the action (topic /command)", "b"),
    ],
)
def test_when_no_message_fits_expect_an_error(robot, topic, subject, value, count):
    resampler = Resampler(robot.embodiment)
    for _ in range(min(count, MOST_ODD)):
        assert resampler.push(topic, stray(robot, topic), 1) == []
    with refused(DecodeError, Code.UNKNOWN, subject=subject, value=value, problem="lacks the joint"):
        if count > MOST_ODD:
            resampler.push(topic, stray(robot, topic), 1)
        else:
            resampler.finish()


def test_when_others_fit_expect_a_stray_message_not_to_count(robot):
    resampler = Resampler(robot.embodiment)
    resampler.push("/joint_states", stray(robot, "/joint_states"), 1)
    resampler.push("/joint_states", robot.joints(0.0, 1), 1)
    resampler.finish()
    assert "lacks the joint 'a'" in resampler.refused["joints"]
