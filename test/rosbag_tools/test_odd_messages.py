# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One odd message, or one odd file beside a bag, costs itself and nothing else."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from support.refused import refused
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from rosbag_tools.bootstrap.first_embodiment import first_embodiment
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.timing import Timing
from rosbag_tools.errors import BagError
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag


def changed(robot, topic, change, every):
    """The tiny robot's messages, of which some on a topic are changed."""
    found, count = [], 0
    for name, log_ns, message in robot.messages():
        if name == topic:
            if count % every == every // 2:
                change(message)
            count += 1
        found.append((name, log_ns, message))
    return found


def shorten(message):
    message.position = message.position[:1]


def test_a_joint_state_that_is_cut_short_does_not_count(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", changed(robot, "/joint_states", shorten, 40))
    report = convert([bag], tmp_path / "data", robot.embodiment)
    assert report.kept == report.ticks
    ((said, *_),) = [list(entry.refused.values()) for entry in report.episodes]
    assert "has 1 values of 'position' for" in said
    with Bag.open(bag) as opened:
        made = Embodiment.loads(first_embodiment(opened).text)
    assert made.state_streams


def test_when_all_are_cut_short_expect_the_topic_left_out(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", changed(robot, "/joint_states", shorten, 1))
    with Bag.open(bag) as opened:
        assert any("has 1 positions for" in line for line in first_embodiment(opened).left_out)


def test_when_a_driver_leaves_a_field_empty_expect_an_error(robot, tmp_path):
    def empty(message):
        message.position = np.zeros(0)

    bag = robot.write(tmp_path / "bag", changed(robot, "/joint_states", empty, 1))
    with refused(BagError, Code.WRONG_SHAPE, value=0, problem="values of 'position'"):
        convert([bag], tmp_path / "data", robot.embodiment)


def unnamed(message):
    message.name = []


def other_joints(message):
    message.name = ["x", "y"]


def fewer_joints(message):
    message.name, message.position, message.velocity = (
        message.name[:1],
        message.position[:1],
        message.velocity[:1],
    )


def without_velocity(message):
    message.velocity = np.zeros(0)


def commands_of_others(message):
    message.joint_names = ["x", "y"]


def commands_of_nobody(message):
    message.joint_names = []


def speeds_alone(message):
    for point in message.points:
        point.positions = np.zeros(0)


ODD = [
    ("/joint_states", "joints", change) for change in (unnamed, other_joints, fewer_joints, without_velocity)
] + [("/command", "action", change) for change in (commands_of_others, commands_of_nobody, speeds_alone)]


@pytest.mark.parametrize(("topic", "name", "change"), ODD)
def test_when_one_message_does_not_fit_the_file_expect_the_others_converted(
    robot, tmp_path, topic, name, change
):
    bag = robot.write(tmp_path / "bag", changed(robot, topic, change, 40))
    report = convert([bag], tmp_path / "data", robot.embodiment)
    assert report.kept == report.ticks
    (entry,) = report.episodes
    assert list(entry.refused) == [name]


@pytest.mark.parametrize(("topic", "name", "change"), ODD)
def test_when_no_message_fits_the_file_expect_an_error(robot, tmp_path, topic, name, change):
    bag = robot.write(tmp_path / "bag", changed(robot, topic, change, 1))
    with pytest.raises(BagError, match="lacks the joint|values of|positions for"):
        convert([bag], tmp_path / "data", robot.embodiment)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("count", [1, 5, 15])
def test_when_a_driver_begins_with_empty_fields_expect_what_follows(robot, tmp_path, count):
    seen = []

    def begin(message):
        seen.append(message)
        if len(seen) <= count:
            message.velocity = np.zeros(0)

    bag = robot.write(tmp_path / "bag", changed(robot, "/joint_states", begin, 1))
    report = convert([bag], tmp_path / "data", robot.embodiment)
    assert report.kept > 20


def test_seconds_before_1970_are_read_as_they_are(robot, tmp_path):
    def before(message):
        message.header.stamp.sec = -5

    with Bag.open(robot.write(tmp_path / "bag", changed(robot, "/left", before, 1))) as bag:
        (note,) = [text for text in inspect(bag).topics["/left"].notes if "two clocks" in text]
    assert "behind" in note


def test_what_macos_leaves_beside_bags_is_passed_over(robot, bag, tmp_path):
    place = tmp_path / "from_a_mac"
    shutil.copytree(bag, place / "ep")
    hidden = b"\x00\x05\x16\x07" + bytes(50)
    for name in ("._ep", "ep/._bag.mcap", "__MACOSX/ep/._bag.mcap"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(hidden)
    (place / "ep/metadata.yaml").unlink()  # then the folder's files tell
    assert find_bags([place]) == [place / "ep"]
    with Bag.open(place / "ep") as opened:
        assert opened.topics["/left"].count
    with refused(BagError, Code.UNREADABLE, value=1, remedy="give one of them"), Bag.open(place):
        pass


@pytest.mark.parametrize("recover", [False, True])
def test_when_a_part_of_a_bag_is_missing_expect_the_remedy_and_that_it_helps(bag, recover):
    metadata = bag / "metadata.yaml"
    (file,) = bag.glob("*.mcap")
    metadata.write_text(metadata.read_text().replace(f"- {file.name}", f"- {file.name}\n  - gone.mcap", 1))
    if not recover:
        with refused(BagError, Code.NOT_FOUND, value=["gone.mcap"], remedy="--recover"), Bag.open(bag):
            pass
        return
    with Bag.open(bag, recover=True) as opened:
        assert "1 of its files are missing" in opened.recovered


def first_file(bag):
    with Bag.open(bag) as opened:
        return first_embodiment(opened)


@pytest.mark.parametrize("every", [40, 125])
@pytest.mark.parametrize(
    ("topic", "name", "change"), [item for item in ODD if item[2] is not without_velocity]
)
def test_a_first_file_uses_what_fits_and_says_what_does_not(robot, tmp_path, topic, name, change, every):
    bag = robot.write(tmp_path / "bag", changed(robot, topic, change, every))
    first = first_file(bag)
    made = Embodiment.loads(first.text)
    assert (sorted(made.action.names), len(made.state_names)) == (["a", "b"], 2)
    said = [line for line in first.left_out if line.startswith(f"'{topic}, some messages'")]
    assert len(said) == 1
    assert "messages do not fit: " in said[0]
    report = convert([bag], tmp_path / "data", made)
    assert report.kept >= report.ticks - 1


def test_where_two_teleoperators_take_turns_expect_the_topic_left_out(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", changed(robot, "/command", commands_of_others, 2))
    assert any("'/command'" in line and "commands the joints" in line for line in first_file(bag).left_out)


@pytest.mark.parametrize(("every", "fits"), [(7, True), (1, False)])
def test_an_image_of_another_encoding_costs_itself(robot, tmp_path, every, fits):
    def odd(message):
        message.encoding = "odd"

    bag = robot.write(tmp_path / "bag", changed(robot, "/left", odd, every))
    if not fits:
        with refused(BagError, Code.UNKNOWN, value="odd"):
            convert([bag], tmp_path / "data", robot.embodiment)
        return
    report = convert([bag], tmp_path / "data", robot.embodiment)
    assert report.episodes[0].unfit["left"] >= 3
    assert any("messages of left did not count" in note for note in report.sample_notes())


@pytest.mark.parametrize("leap_s", [5, 30])
def test_log_times_that_leap_against_the_stamps_are_no_second_clock(robot, tmp_path, leap_s):
    messages = robot.messages(4.0)
    late = [(topic, log_ns + (index > len(messages) // 2) * leap_s * 10**9, message)
            for index, (topic, log_ns, message) in enumerate(messages)]  # fmt: skip
    bag = robot.write(tmp_path / "bag", late)
    with Bag.open(bag) as opened:
        notes = inspect(opened).topics["/left"].notes
        first = first_embodiment(opened)
    assert [f"leap ahead of the stamps by {leap_s} s" in note for note in notes] == [True]
    assert any("--ignore-arrival" in line for line in first.advice)
    made = Embodiment.loads(first.text)
    assert made.tick_hz == 10
    report = convert([bag], tmp_path / "data", made)
    assert any("leap ahead" in note for note in report.clock_notes())
    report = convert([bag], tmp_path / "again", made, Options(timing=Timing(ignore_arrival=True)))
    assert report.kept == report.ticks


@pytest.mark.parametrize("value", [0, 700])
def test_depth_that_shows_nothing_is_named_with_its_first_time(tmp_path, value, capsys):
    senses = Senses()

    def blank(message):
        message.data = np.full(12 * 16, value, "<u2").view(np.uint8).reshape(-1)

    found, count = [], 0
    for topic, log_ns, message in senses.all_messages(2.5):
        if topic == "/near":
            count += 1
            if count > 10:
                blank(message)
        found.append((topic, log_ns, message))
    report = convert([senses.write(tmp_path / "bag", found)], tmp_path / "data", senses.embodiment)
    (note,) = report.sample_notes()
    assert "60% of the depth images of near have no distance, or one everywhere, the first 1.0 s" in note
    assert main(["quality", str(tmp_path / "data"), "--out", str(tmp_path / "quality.html")]) in (0, 1)
    assert "near have hardly a distance, or one everywhere, the first at 1.0 s" in capsys.readouterr().out


def add_joint(name, position=None):
    def change(message):
        message.name = [*message.name, name]
        message.position = np.append(message.position, message.position[0] if position is None else position)
        message.velocity = np.append(message.velocity, message.velocity[0])

    return change


@pytest.mark.parametrize(
    ("change", "dims", "words"),
    [
        (add_joint(""), 2, "a file cannot have this name"),
        (add_joint("b"), 2, ""),
        (add_joint("b", 9.0), 1, "joint b': it is twice in a message, with two positions"),
    ],
)
def test_a_name_that_is_empty_or_there_twice_costs_that_joint_alone(robot, tmp_path, change, dims, words):
    bag = robot.write(tmp_path / "bag", changed(robot, "/joint_states", change, 1))
    first = first_file(bag)
    made = Embodiment.loads(first.text)
    assert len(made.state_names) == dims
    assert any(words in line for line in first.left_out)
    report = convert([bag], tmp_path / "data", made)
    assert report.kept == report.ticks


def test_lists_of_bytes_that_are_images_are_named_as_such(robot, tmp_path):
    layout = robot.make("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
    kind, found = "std_msgs/msg/UInt8MultiArray", []
    for topic, log_ns, message in robot.messages():
        if topic == "/right":
            message = robot.make(kind, layout=layout, data=np.asarray(message.data))
        elif topic == "/left":
            message = robot.make(kind, layout=layout, data=np.zeros(1152, np.uint8))
        found.append((topic, log_ns, message))
    bag = robot.write(tmp_path / "bag", found, types={**robot.topics, "/left": kind, "/right": kind})
    said = first_file(bag).left_out
    assert any("'data' is a PNG image of 48x32: let its sender" in line for line in said)
    assert any("'data' is a list of 1152 bytes, as of an image" in line for line in said)
