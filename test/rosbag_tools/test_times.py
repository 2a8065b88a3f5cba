# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Recordings whose stamps or log times are wrong: found, said, and converted by the time that is right."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_robot import MS, START_NS

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.dataset.conversion_report import EpisodeReport
from hpt_ros.embodiment import Embodiment
from hpt_ros.observation.time_series import NEVER_SEEN, too_old
from rosbag_tools.bootstrap.first_embodiment import write_first_embodiment
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.timing import Timing
from rosbag_tools.errors import BagError
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag
from rosbag_tools.reading.set_back import find_set_backs

STORAGES = ("mcap", "sqlite3", "ros1")
ARRIVAL = Options(timing=Timing(ignore_arrival=True))


def stamp_of(message):
    stamp = getattr(message, "header", None) and message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec if stamp else None


def changed(robot, log_ns=None, stamp_ns=None, topics=None, **recording):
    """The robot's messages with other times: functions of log time and stamp."""
    found = []
    for topic, at_ns, message in robot.messages(**recording):
        was = stamp_of(message)
        if topics is None or topic in topics:
            if stamp_ns is not None and was is not None:
                message.header = robot.header(stamp_ns(at_ns, was))
            at_ns = log_ns(at_ns, was) if log_ns is not None else at_ns
        found.append((topic, at_ns, message))
    return found


def write(robot, path, messages, storage="mcap"):
    if storage == "ros1":
        return robot.write_ros1(path.with_suffix(".bag"), messages)
    return robot.write(path, messages, storage=storage)


def converted(robot, path, out, options=None):
    convert([path], out, robot.embodiment, options)
    return open_dataset(out)


def clock_notes(dataset):
    """What the conversion's report has of clocks."""
    report = json.loads((dataset / "meta/hpt/report.json").read_text())
    return report["episodes"][0]["clocks"]


def clock_findings(dataset):
    """What `hpt quality` finds of clocks."""
    page = dataset.with_suffix(".html")
    main(["quality", str(dataset), "--out", str(page), "--json"])
    found = json.loads(page.with_suffix(".json").read_text())["findings"]
    return [item for item in found if item["check"] == "clock"]


def same(one, other):
    assert one.length == other.length >= 25
    np.testing.assert_array_equal(one.state, other.state)
    np.testing.assert_array_equal(one.action, other.action)


# ---- the choice at conversion


def test_when_a_time_is_chosen_at_conversion_expect_the_data_as_by_the_embodiment_file(robot, tmp_path):
    boot = changed(robot, stamp_ns=lambda log, stamp: stamp - START_NS + 10**9, topics=("/left", "/command"))
    bag = robot.write(tmp_path / "bag", boot)
    with pytest.raises(
        BagError, match=r"clock of its own; pass --time left=arrival action=arrival, or state"
    ):
        convert([bag], tmp_path / "refused", robot.embodiment)
    zero = changed(robot, stamp_ns=lambda log, stamp: 0, topics=("/left", "/command"))
    right = converted(robot, robot.write(tmp_path / "zero", zero), tmp_path / "right")
    chosen = Options(timing=Timing.parse(["left=arrival", "action=arrival"]))
    same(right, converted(robot, bag, tmp_path / "chosen", chosen))


def test_when_an_offset_is_chosen_expect_stamps_to_be_moved_by_it(robot, tmp_path):
    right = converted(robot, robot.write(tmp_path / "bag", robot.messages()), tmp_path / "right")
    off = changed(robot, stamp_ns=lambda log, stamp: stamp + 300 * MS, topics=("/left", "/joint_states"))
    bag = robot.write(tmp_path / "off", off)
    convert([bag], tmp_path / "silent", robot.embodiment)
    clocks = clock_notes(tmp_path / "silent")
    assert "ahead of their arrival" in clocks["left"]
    assert "pass --time left=stamp-0.29" in clocks["left"]
    assert "right" not in clocks
    assert {item["subject"] for item in clock_findings(tmp_path / "silent")} == {"left", "joints"}
    chosen = Options(timing=Timing.parse(["left=-0.3", "joints=stamp-0.3"]))
    same(right, converted(robot, bag, tmp_path / "moved", chosen))
    assert not clock_notes(tmp_path / "moved")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("left", "NAME=stamp, NAME=arrival"),
        ("left=", "NAME=stamp, NAME=arrival"),
        ("left=boot", "NAME=stamp, NAME=arrival"),
        ("lefd=arrival", "did you mean 'left'"),
        ("action=-0.1", "expected one of left, right, joints"),
    ],
)
def test_when_a_chosen_time_means_nothing_expect_the_form(robot, tmp_path, text, said):
    with pytest.raises(BagError, match=said):
        Timing.parse([text]).over(robot.embodiment)


def test_when_a_time_is_chosen_twice_expect_that_refused():
    with pytest.raises(BagError, match="gives 'left' twice, the second time by 'left=stamp'"):
        Timing.parse(["left=arrival", "right=stamp", "left=stamp"])
    both = Timing.parse(["left=arrival", "left=-0.1"])
    assert (both.times, both.offsets_s) == ({"left": "arrival"}, {"left": -0.1})


# ---- samples that count by their stamps


@pytest.mark.parametrize(
    ("log_ns", "why"),
    [
        (lambda log, stamp: START_NS + ((log - START_NS) // (500 * MS) + 1) * 500 * MS, "--ignore-arrival"),
        (lambda log, stamp: START_NS, "hardly any log time passes"),
        (lambda log, stamp: log // 10**6, "--ignore-arrival"),
        (lambda log, stamp: START_NS - 10**15 + log // 1000, "--ignore-arrival"),
    ],
    ids=["bursts", "one time", "milliseconds", "microseconds"],
)
def test_when_log_times_are_wrong_expect_the_stamps_to_do_alone(robot, tmp_path, log_ns, why):
    expected = converted(robot, robot.write(tmp_path / "good", robot.messages()), tmp_path / "right", ARRIVAL)
    bag = robot.write(tmp_path / "bag", changed(robot, log_ns))
    with pytest.raises(BagError, match=why):
        convert([bag], tmp_path / "refused", robot.embodiment)
    found = converted(robot, bag, tmp_path / "found", ARRIVAL)
    same(expected, found)
    with Bag.open(bag) as opened:
        rates_hz = {name: entry.rate_hz for name, entry in inspect(opened).topics.items()}
        first = write_first_embodiment(opened)
    assert rates_hz["/left"] == pytest.approx(10.0, rel=0.05)
    assert rates_hz["/joint_states"] == pytest.approx(50.0, rel=0.05)
    assert convert([bag], tmp_path / "own", Embodiment.loads(first.text), ARRIVAL).kept >= 20


def test_when_a_simulation_begins_at_zero_and_is_recorded_in_wall_time_expect_that_said(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", changed(robot, stamp_ns=lambda log, stamp: max(stamp - START_NS, 0)))
    with pytest.raises(BagError, match="the log times are of another clock; pass --ignore-arrival"):
        convert([bag], tmp_path / "refused", robot.embodiment)
    assert converted(robot, bag, tmp_path / "found", ARRIVAL).length >= 25
    with Bag.open(bag) as opened:
        assert any(
            "convert it with --ignore-arrival" in line for line in write_first_embodiment(opened).advice
        )


def test_when_arrival_is_ignored_and_one_topic_has_another_clock_expect_it_named(robot, tmp_path):
    boot = changed(robot, stamp_ns=lambda log, stamp: stamp - START_NS + 10**9, topics=("/left",))
    with pytest.raises(BagError, match=r"'/left' whose times are \d+ s from the stamps of '/joint_states'"):
        convert([robot.write(tmp_path / "bag", boot)], tmp_path / "refused", robot.embodiment, ARRIVAL)


# ---- delays


def test_when_a_camera_is_late_expect_its_own_first_file_to_convert_the_bag(robot, tmp_path):
    late = changed(robot, lambda log, stamp: log + 180 * MS, topics=("/left", "/right"))
    bag = robot.write(tmp_path / "bag", sorted(late, key=lambda item: item[1]))
    with pytest.raises(BagError, match=r"most of them because newest sample is 0\.2\d\d s old"):
        convert([bag], tmp_path / "refused", robot.embodiment)
    with Bag.open(bag) as opened:
        robot_ = Embodiment.loads(write_first_embodiment(opened).text)
    assert all(stream.tolerance_s > 0.3 for stream in robot_.image_streams)
    assert convert([bag], tmp_path / "own", robot_).kept >= 25


def test_when_reasons_differ_in_numbers_alone_expect_one_kind_and_the_most_frequent_first():
    report = EpisodeReport("bag", "", "", "", "", "")
    old = [too_old("newest sample", age_ms * 1_000_000, 150_000_000) for age_ms in (200, 310)]
    for absence in (NEVER_SEEN, *old):
        report.drop({"left": absence})
    dropped = report.dropped["left"]
    assert dropped.ticks == 3
    assert dropped.most_frequent == str(old[0])
    assert [ticks for ticks, _ in dropped.reasons.values()] == [1, 2]


# ---- a clock that was set back


def set_back(robot, back_ns, at_s=2.0, duration_s=4.0):
    """Messages in the order in which they were written, of a clock that was set back after `at_s`."""
    at_ns = START_NS + int(at_s * 1e9)

    def moved(log, stamp):
        return log - back_ns if log > at_ns else log

    messages = robot.messages(duration_s)
    for _, log, message in messages:
        was = stamp_of(message)
        if was is not None and log > at_ns:
            message.header = robot.header(was - back_ns)
    return [(topic, moved(log, 0), message) for topic, log, message in messages]


@pytest.mark.parametrize("storage", STORAGES)
def test_when_a_clock_was_set_back_while_recording_expect_what_is_mixed_to_be_cut_out(
    robot, tmp_path, storage, capsys
):
    bag = write(robot, tmp_path / "bag", set_back(robot, 500 * MS), storage)
    data = converted(robot, bag, tmp_path / "data")
    # Joint b is the time since the start: within an episode nothing is skipped or comes twice.
    assert len(data.episodes) == 2
    for episode in data.episodes:
        steps = np.diff(data.state[episode.start : episode.stop, 1])
        np.testing.assert_allclose(steps, 0.1, atol=1e-3)
    with Bag.open(bag) as opened:
        (said,) = inspect(opened).notes
        assert opened.set_backs()[0].back_s == pytest.approx(0.5, abs=0.03)
        assert any("set back" in line for line in write_first_embodiment(opened).advice)
    assert "the clock was set back by 0.4" in said or "the clock was set back by 0.5" in said
    assert all("set back" in item["text"] for item in clock_findings(tmp_path / "data"))
    assert len(clock_findings(tmp_path / "data")) == 2
    main(["inspect", str(bag)])
    shown = capsys.readouterr().out
    assert "CHECK the clock was set back" in shown
    assert "messages have the stamp of another: the clock was set back" in shown


def test_when_a_bag_was_written_topic_by_topic_expect_no_clock_set_back(robot, tmp_path):
    messages = sorted(robot.messages(), key=lambda item: item[0])
    bag = robot.write(tmp_path / "bag", messages)
    with Bag.open(bag) as opened:
        assert not opened.set_backs()
    right = converted(robot, robot.write(tmp_path / "good", robot.messages()), tmp_path / "right")
    same(right, converted(robot, bag, tmp_path / "data"))


@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=60),
    st.integers(150, 10_000),
    st.integers(1, 59),
)
def test_whatever_is_set_back_expect_every_time_that_is_there_twice_to_be_cut(steps, back, place):
    times = np.cumsum(np.array(steps)) * MS
    place = min(place, len(times) - 1)
    times[place:] -= back * MS
    found = find_set_backs({"/a": [times.astype(np.int64)]})
    gone_back = times[place] < times[place - 1] - 100 * MS
    assert gone_back or not found
    if gone_back:
        before, after = times[:place], times[place:]
        for time in times:
            mixed = before.min() <= time <= before.max() and after.min() <= time <= after.max()
            assert mixed == any(item.start_ns <= time <= item.end_ns for item in found)


# ---- log times of zero


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_when_messages_came_before_the_first_clock_expect_them_left_out_and_said(robot, tmp_path, storage):
    messages = robot.messages()
    early = [(topic, 0, message) for topic, _, message in messages[:12]]
    bag = robot.write(tmp_path / "bag", early + messages, storage=storage)
    with Bag.open(bag) as opened:
        assert opened.duration_s < 5.0
        assert "12 messages with the log time 0" in opened.recovered
        assert sum(topic.count for topic in opened.topics.values()) == len(messages)
        assert len(list(opened.records())) == len(messages)
    right = converted(robot, robot.write(tmp_path / "good", messages), tmp_path / "right")
    same(right, converted(robot, bag, tmp_path / "data"))


# ---- stamps that do not tell


ALL = ("/left", "/right", "/joint_states", "/command")


@pytest.mark.parametrize(
    "stamp_ns",
    [lambda log, stamp: stamp // 10**9 * 10**9, lambda log, stamp: START_NS],
    ids=["whole seconds", "one stamp"],
)
def test_when_stamps_do_not_go_on_expect_arrivals_proposed_and_their_data(robot, tmp_path, stamp_ns):
    bag = robot.write(tmp_path / "bag", changed(robot, stamp_ns=stamp_ns, topics=ALL))
    with Bag.open(bag) as opened:
        topics = inspect(opened).topics
        own = Embodiment.loads(write_first_embodiment(opened).text)
    assert all(
        "have the stamp of another: the driver stamps too coarsely" in topics[name].notes[0] for name in ALL
    )
    assert topics["/joint_states"].rate_hz == pytest.approx(50.0, rel=0.05)
    assert {stream.time for stream in own.streams} | {own.action.time} == {"arrival"}
    with pytest.raises(BagError, match="--time left=arrival"):
        convert([bag], tmp_path / "refused", robot.embodiment)
    assert convert([bag], tmp_path / "own", own).kept >= 25
    chosen = Options(
        timing=Timing.parse([f"{name}=arrival" for name in ("left", "right", "joints", "action")])
    )
    unstamped = robot.write(tmp_path / "zero", changed(robot, stamp_ns=lambda *_: 0, topics=ALL))
    right = converted(robot, unstamped, tmp_path / "right")
    same(right, converted(robot, bag, tmp_path / "data", chosen))


def test_when_some_stamps_are_nonsense_expect_those_messages_not_to_count(robot, tmp_path):
    random = np.random.default_rng(5)

    def nonsense(log, stamp):
        return 2_142_000_000 * 10**9 if random.random() < 0.05 else stamp

    bag = robot.write(
        tmp_path / "bag", changed(robot, stamp_ns=nonsense, topics=("/joint_states", "/command"))
    )
    report = convert([bag], tmp_path / "data", robot.embodiment)
    assert report.kept >= 25
    assert not report.episodes[0].restarts
    assert "stamps more than 60 s from the log times, and do not count" in report.episodes[0].clocks["joints"]
    with Bag.open(bag) as opened:
        entry = inspect(opened).topics["/joint_states"]
    assert any("stamps more than 60 s from the others' clock" in note for note in entry.notes)
    assert entry.largest_gap_s < 0.2


def test_when_a_clock_drifts_expect_arrivals_and_not_an_offset(robot, tmp_path):
    drifting = changed(
        robot, stamp_ns=lambda log, stamp: stamp + (stamp - START_NS) // 10, topics=("/left",), duration_s=8.0
    )
    convert([robot.write(tmp_path / "bag", drifting)], tmp_path / "data", robot.embodiment)
    note = clock_notes(tmp_path / "data")["left"]
    assert "its clock drifts; pass --time left=arrival" in note


def test_when_every_message_was_recorded_twice_expect_the_rates_of_one(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", sorted(robot.messages() * 2, key=lambda item: item[1]))
    with Bag.open(bag) as opened:
        topics = inspect(opened).topics
    assert topics["/left"].rate_hz == pytest.approx(10.0, rel=0.05)
    assert "two publishers, or recorded twice" in topics["/left"].notes[0]


def test_when_recording_paused_expect_the_rates_without_it(robot, tmp_path):
    after = changed(robot, lambda log, stamp: log + 3600 * 10**9, lambda log, stamp: stamp + 3600 * 10**9)
    bag = robot.write(tmp_path / "bag", [*robot.messages(), *after])
    with Bag.open(bag) as opened:
        assert inspect(opened).topics["/left"].rate_hz == pytest.approx(10.0, rel=0.05)
        own = Embodiment.loads(write_first_embodiment(opened).text)
    assert own.tick_hz == 10.0
    assert convert([bag], tmp_path / "data", own).kept >= 50
