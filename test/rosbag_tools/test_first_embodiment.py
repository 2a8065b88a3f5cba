# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A first embodiment file from a bag: it says what is there, marks what it guessed, and converts the bag."""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from support.refused import refused
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.embodiment.estimates import MARGIN_LEAST, MARGIN_RATIO
from hpt_ros.errors import Code
from rosbag_tools.bag_schema import KEY_EMBODIMENT
from rosbag_tools.bootstrap.first_embodiment import first_embodiment
from rosbag_tools.bootstrap.sensors import CHECK
from rosbag_tools.converting.convert import convert
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag


def made(path, **options):
    with Bag.open(path) as bag:
        return first_embodiment(bag, **options).text


def without(robot, *topics):
    return [item for item in robot.messages() if item[0] not in topics]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_file_says_what_is_in_the_bag(robot, tmp_path, storage):
    found = Embodiment.loads(made(robot.write(tmp_path / "bag", storage=storage), name="tiny"))
    assert (found.name, found.tick_hz) == ("tiny", 10.0)
    left, right, joints = found.streams
    assert [stream.topic for stream in found.streams] == ["left", "right", "joint_states"]
    assert (left.name, right.name) == ("left", "right")
    assert (left.rate_hz, right.rate_hz, joints.rate_hz) == (10.0, 10.0, 50.0)
    assert joints.joints == ("b", "a")
    assert joints.fields == ("position",)
    assert (found.action.topic, found.action.names) == ("command", ("a", "b"))
    assert found.action.rate_hz == 50.0


def test_it_converts_the_same_bag_and_training_opens_the_result(bag, tmp_path, capsys):
    file, out = tmp_path / "first.yaml", tmp_path / "dataset"
    assert main(["embodiment", "init", str(bag), "--out", str(file)]) == 0
    assert f"marked {CHECK}" in capsys.readouterr().out
    schema = Path(file.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema="))
    Draft202012Validator(json.loads(schema.read_text())).validate(yaml.safe_load(file.read_text()))
    assert main(["embodiment", "check", str(file)]) == 1
    said = capsys.readouterr().out
    assert "my_robot: ticks at 10 Hz" in said
    for left in ("tick_hz: 10.0", 'name: "a", lower', 'name: "b", lower', "topic: command"):
        assert left in said, left
    file.write_text(file.read_text().replace(CHECK, "looked at"))
    assert main(["embodiment", "check", str(file)]) == 0
    assert main(["convert", str(bag), "--embodiment", str(file), "--out", str(out)]) == 0
    dataset = open_dataset(out)
    assert dataset.length >= 28
    # Joint b of the state and of the command are time and minus time.
    np.testing.assert_allclose(dataset.state[:, 0], -dataset.action[:, 1], atol=1e-5)


def test_limits_are_the_range_seen_with_a_margin_and_the_peaks(robot, tmp_path):
    messages = robot.messages()
    found = Embodiment.loads(made(robot.write(tmp_path / "bag", messages)))
    commands = np.array(
        [message.points[0].positions for topic, _, message in messages if topic == "/command"]
    )
    states = np.array([message.position[::-1] for topic, _, message in messages if topic == "/joint_states"])
    low = np.minimum(commands.min(axis=0), states.min(axis=0))
    high = np.maximum(commands.max(axis=0), states.max(axis=0))
    margin = np.maximum(MARGIN_RATIO * (high - low), MARGIN_LEAST)
    np.testing.assert_allclose(found.lower, low - margin, atol=1e-4)
    np.testing.assert_allclose(found.upper, high + margin, atol=1e-4)
    np.testing.assert_allclose(found.max_velocity, 1.0, atol=1e-3)  # both commands go at one unit a second


def test_what_was_guessed_is_marked(bag):
    text = made(bag)
    marked = [line for line in text.splitlines() if CHECK in line]
    for word in ("tick_hz", "unit", "topic", "velocity"):
        assert any(word in line for line in marked), word


def test_views_of_two_sizes_get_one(bag):
    # /left is 24x16, /right 48x32.
    text = made(bag)
    sizes = {(s.image.height, s.image.width) for s in Embodiment.loads(text).image_streams if s.image}
    assert sizes == {(16, 24)}
    assert "the camera gives 48x32" in text


def test_the_raw_topic_is_taken_of_raw_and_compressed(robot, tmp_path):
    messages = [
        ("/left/compressed" if topic == "/right" else topic, log_ns, message)
        for topic, log_ns, message in robot.messages()
    ]
    types = {"/left/compressed": "sensor_msgs/msg/CompressedImage"}
    text = made(robot.write(tmp_path / "bag", messages, types=types))
    assert [stream.topic for stream in Embodiment.loads(text).image_streams] == ["left"]
    assert "'/left/compressed': the same pictures as /left" in text


def test_pictures_that_cannot_be_decoded_are_left_out_and_said(robot, tmp_path):
    messages = robot.messages()
    for topic, _, message in messages:
        if topic == "/left":
            message.encoding = "8SC3"
    text = made(robot.write(tmp_path / "bag", messages))
    assert [stream.name for stream in Embodiment.loads(text).image_streams] == ["right"]
    assert "# " in text
    assert "'8SC3'" in text


def test_when_channels_have_no_order_expect_the_likely_one_to_be_confirmed(robot, tmp_path):
    messages = robot.messages()
    for topic, _, message in messages:
        if topic == "/left":
            message.encoding = "8UC3"
    path = robot.write(tmp_path / "bag", messages)
    text = made(path)
    left, right = Embodiment.loads(text).image_streams
    assert (left.encoding, right.encoding) == ("bgr8", "")
    assert f"encoding: bgr8  # {CHECK}" in text


def test_sixteen_bits_in_a_png_are_depth_whatever_the_message_says(senses, tmp_path):
    png = np.frombuffer(cv2.imencode(".png", np.full((20, 30), 700, np.uint16))[1].tobytes(), np.uint8)
    messages = senses.messages()
    for index in range(30):
        at_ns = senses.start_ns + index * 100 * 1_000_000
        message = senses.make(
            "sensor_msgs/msg/CompressedImage", header=senses.header(at_ns), format="png", data=png
        )
        messages.append(("/wrist/compressed", at_ns, message))
    types = {"/wrist/compressed": "sensor_msgs/msg/CompressedImage"}
    bag = senses.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]), types=types)
    found = Embodiment.loads(made(bag))
    assert [stream.topic for stream in found.streams_of("depth")] == ["wrist/compressed"]
    assert "wrist/compressed" not in [stream.topic for stream in found.image_streams]


def test_without_cameras_the_ticks_are_ten_a_second(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", without(robot, "/left", "/right"))
    found = Embodiment.loads(made(bag))
    assert (found.tick_hz, found.image_streams) == (10.0, ())
    assert Embodiment.loads(made(bag, tick_hz=5.0)).tick_hz == 5.0


@pytest.mark.parametrize("tick_hz", [0.0, 2.5, -1.0, float("nan"), float("inf")])
def test_when_the_tick_rate_is_not_whole_expect_it_refused(bag, tick_hz):
    with pytest.raises(EmbodimentError, match="whole number of at least 1"):
        made(bag, tick_hz=tick_hz)


@pytest.mark.parametrize("name", ["My Robot", "x\ny: 1", '"', "x" * 99])
def test_when_the_name_is_not_allowed_expect_it_refused(bag, name):
    with refused(EmbodimentError, Code.OUT_OF_RANGE, remedy="rename it"):
        made(bag, name=name)


def test_when_nothing_commands_the_robot_expect_a_sentence(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", without(robot, "/command", "/joint_states"))
    with pytest.raises(BagError, match="no usable command topic .* record the topic that commands the robot"):
        made(bag)


def test_a_trajectory_of_several_points_is_a_command(robot, tmp_path):
    messages = robot.messages()
    for topic, _, message in messages:
        if topic == "/command":
            message.points = message.points * 2
    assert "topic: command" in made(robot.write(tmp_path / "bag", messages))


def test_when_nothing_is_observed_expect_a_sentence(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", without(robot, "/left", "/right", "/joint_states"))
    with pytest.raises(BagError, match="no usable topic to observe"):
        made(bag)


def test_hostile_joint_names_are_quoted_or_left_out(robot, tmp_path):
    def renamed(name):
        messages = robot.messages()
        for topic, _, message in messages:
            if topic == "/joint_states":
                message.name = [name, "a"]
        return robot.write(tmp_path / f"bag{len(name)}", messages)

    odd = '}], name: "evil" # \\'
    (stream,) = Embodiment.loads(made(renamed(odd))).state_streams
    assert stream.joints == (odd, "a")
    assert "a file cannot have this name" in made(renamed("b\nname: evil"))


def test_when_the_file_exists_expect_status_2_and_it_kept(bag, tmp_path, capsys):
    file = tmp_path / "first.yaml"
    file.write_text("mine")
    assert main(["embodiment", "init", str(bag), "--out", str(file)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_when_the_folder_is_missing_expect_it_made_and_when_it_is_a_file_status_2(bag, tmp_path, capsys):
    out = tmp_path / "none/first.yaml"
    assert main(["embodiment", "init", str(bag), "--out", str(out)]) == 0
    assert main(["embodiment", "init", str(bag), "--out", str(out / "second.yaml")]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_when_a_file_is_wrong_expect_check_to_say_so(tmp_path, capsys):
    file = tmp_path / "wrong.yaml"
    file.write_text("format: other\n")
    assert main(["embodiment", "check", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hpt embodiment check: error: ")
    assert "format is 'other'" in error


def test_a_bag_that_carries_its_file_is_pointed_out(robot, tmp_path, capsys):
    bag = robot.write(tmp_path / "bag", custom={KEY_EMBODIMENT: robot.text})
    assert main(["embodiment", "init", str(bag), "--out", str(tmp_path / "first.yaml")]) == 0
    assert "carries the embodiment file" in capsys.readouterr().out


def test_the_bag_itself_keeps_within_the_limits_wherever_its_ticks_fall(robot, tmp_path):
    messages = robot.messages()
    for topic, log_ns, message in messages:
        if topic == "/command":
            time_s = (log_ns - robot.start_ns) * 1e-9
            message.points[0].positions = np.array([np.sin(7.0 * time_s), np.cos(11.0 * time_s)])
    bag = robot.write(tmp_path / "bag", messages)
    found = Embodiment.loads(made(bag))
    convert([bag], tmp_path / "dataset", found)
    action = open_dataset(tmp_path / "dataset").action.astype(np.float64)
    for order, limit in ((1, found.max_velocity), (2, found.max_acceleration)):
        peak = np.abs(np.diff(action, order, axis=0)).max(axis=0) * found.tick_hz**order
        assert (peak <= limit * 1.0001).all()
        assert (peak >= 0.5 * limit).all()  # and the limits are not far off
    assert (action >= found.lower).all()
    assert (action <= found.upper).all()


@pytest.fixture(scope="module")
def senses():
    return Senses()


def test_every_kind_of_topic_becomes_a_stream_that_converts(senses, tmp_path):
    bag = senses.write(tmp_path / "bag", senses.all_messages())
    text = made(bag, name="feels")
    found = Embodiment.loads(text)
    streams = {stream.topic: stream for stream in found.streams}
    assert set(streams) == {
        "left",
        "right",
        "joint_states",
        "near",
        "finger",
        "cloud",
        "tool",
        "task",
    }
    assert (streams["near"].modality, streams["near"].shape) == ("depth", (12, 16))
    assert (streams["finger"].modality, streams["finger"].shape) == ("tactile", (5,))
    assert (streams["cloud"].modality, streams["cloud"].shape) == ("pointcloud", (6, 3))
    assert (streams["tool"].modality, streams["tool"].dim) == ("wrench", 6)
    assert streams["task"].modality == "language"
    assert (streams["finger"].rate_hz, streams["tool"].rate_hz) == (20.0, 50.0)
    assert f"{CHECK}: touch?" in text
    convert([bag], tmp_path / "out", found)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.tasks == ("pour",)
    assert dataset.arrays["observation.depth.near"][0, 1, 0] >= 1000


def test_sizes_agree_within_a_modality_and_what_cannot_is_left_out(senses, tmp_path):
    more = []
    for topic, log_ns, message in senses.all_messages():
        if topic == "/near":
            near = copy.copy(message)
            near.height, near.data = 10, message.data[: 10 * message.step]
            more.append(("/nearer", log_ns, near))
        if topic == "/finger":
            more += [("/thumb", log_ns, message), ("/palm", log_ns, senses.array(np.arange(7)))]
            more.append(("/uneven", log_ns, senses.array(np.arange(1 + len(more) % 3))))
        if topic == "/cloud":
            cloud = copy.copy(message)
            cloud.width, cloud.row_step, cloud.data = 4, 48, message.data[:48]
            more.append(("/sparse", log_ns, cloud))
        if topic == "/task":
            more += [("/other_task", log_ns, message), ("/chatter", log_ns, message)]
    senses_types = {topic: senses.topics[of] for topic, of in (
        ("/nearer", "/near"), ("/thumb", "/finger"), ("/palm", "/finger"), ("/uneven", "/finger"),
        ("/sparse", "/cloud"), ("/other_task", "/task"), ("/chatter", "/task"),
    )}  # fmt: skip
    messages = sorted([*senses.all_messages(), *more], key=lambda item: item[1])
    text = made(senses.write(tmp_path / "bag", messages, types=senses_types))
    found = Embodiment.loads(text)
    sizes = {stream.topic: stream.shape for stream in found.streams}
    assert sizes["near"] == sizes["nearer"] == (10, 16)
    assert sizes["cloud"] == sizes["sparse"] == (4, 3)
    assert sizes["finger"] == sizes["thumb"] == (5,)
    assert "'/palm': its 7 values are not as many as of the other arrays" in text
    assert "'/uneven': its messages have 1 to 3 values" in text
    assert [stream.topic for stream in found.streams_of("language")] == ["other_task"]
    assert "'/task': /other_task is taken for the task" in text
    assert "'/chatter': a text; add it as a language stream" in text


@pytest.mark.parametrize("form", ["16UC1; compressedDepth", "32FC1; compressedDepth png"])
def test_compressed_depth_is_depth_of_its_pictures_size(senses, tmp_path, form):
    png = cv2.imencode(".png", np.full((20, 30), 700, np.uint16))[1].tobytes()
    data = np.frombuffer(struct.pack("<iff", 0, 100.0, 50.0) + png, np.uint8)
    messages = senses.messages()
    for index in range(30):
        at_ns = senses.start_ns + index * 100 * 1_000_000
        message = senses.make(
            "sensor_msgs/msg/CompressedImage", header=senses.header(at_ns), format=form, data=data
        )
        messages.append(("/camera/depth/compressedDepth", at_ns, message))
    types = {"/camera/depth/compressedDepth": "sensor_msgs/msg/CompressedImage"}
    bag = senses.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]), types=types)
    (stream,) = Embodiment.loads(made(bag)).streams_of("depth")
    assert stream.shape == (20, 30)


def two_arms(robot, path, topics):
    """A bag in which each arm's joints are those of the tiny robot; `topics` maps the tiny robot's to the arms'."""
    plain = [item for item in robot.messages() if item[0] not in topics]
    types = {other: robot.topics[topic] for topic, others in topics.items() for other in others}
    arms = [
        (other, log_ns + place, message)
        for topic, log_ns, message in robot.messages()
        for place, other in enumerate(topics.get(topic, ()))
    ]
    return robot.write(path, sorted(plain + arms, key=lambda item: item[1]), types=types)


def test_two_arms_with_equal_joint_names_get_prefixes_and_their_leaders_are_left_out(robot, tmp_path):
    states = [f"/{arm}_{side}/joint_states" for arm in ("master", "puppet") for side in ("left", "right")]
    commands = [f"/puppet_{side}/commands/joint_group" for side in ("left", "right")]
    path = two_arms(robot, tmp_path / "bag", {"/joint_states": states, "/command": commands})
    text = made(path)
    found = Embodiment.loads(text)
    assert [stream.topic for stream in found.state_streams] == [
        topic.removeprefix("/") for topic in states[2:]
    ]
    assert found.state_names == ("left/b.position", "left/a.position", "right/b.position", "right/a.position")
    assert sorted(found.action.names) == ["left/a", "left/b", "right/a", "right/b"]
    assert [part.message_names for part in found.action.parts] == [("a", "b"), ("a", "b")]
    assert text.count(f"prefix: left/  # {CHECK}") == 2
    assert (
        "'/master_right/joint_states': its name says that it is of a leader arm or of targets; /puppet_right"
        in text
    )
    assert convert([path], tmp_path / "out", found).kept > 20


def test_an_arm_without_a_word_of_its_own_keeps_its_names(robot, tmp_path):
    path = two_arms(robot, tmp_path / "bag", {"/joint_states": ["/joint_states", "/left/joint_states"]})
    found = Embodiment.loads(made(path))
    assert found.state_names == ("b.position", "a.position", "left/b.position", "left/a.position")
    assert found.action.names == ("a", "b")


def test_when_no_word_tells_two_arms_apart_expect_the_second_left_out(robot, tmp_path):
    path = two_arms(robot, tmp_path / "bag", {"/joint_states": ["/arm/joint_states", "/arm_joint/states"]})
    text = made(path)
    assert Embodiment.loads(text).state_names == ("b.position", "a.position")
    assert "'/arm_joint/states': it has the joint 'b', as /arm/joint_states does" in text


def test_one_arm_beside_its_leader_has_no_prefix(robot, tmp_path):
    path = two_arms(robot, tmp_path / "bag", {"/joint_states": ["/lead/joint_states", "/zz/joint_states"]})
    found = Embodiment.loads(made(path))
    assert [(stream.topic, stream.prefix) for stream in found.state_streams] == [("zz/joint_states", "")]
    assert found.action.names == ("a", "b")
