# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil

import numpy as np
import pytest

from rosbag_tools.bag_schema import KEY_EMBODIMENT
from rosbag_tools.errors import BagError, TruncatedBagError
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.mcap_index import is_complete
from rosbag_tools.reading.opening import NEWEST_LOG_NS
from rosbag_tools.reading.reader import Bag


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        ("mcap", ""),
        ("mcap", "storage"),
        ("mcap", "message"),
        ("mcap", "file"),
        ("sqlite3", ""),
        ("sqlite3", "message"),
    ],
)
def test_every_storage_gives_the_same_messages(robot, tmp_path, storage, compression):
    path = robot.write(tmp_path / "bag", storage=storage, compression=compression)
    wanted = [item for item in robot.messages() if item[0] in ("/left", "/joint_states")]
    with Bag.open(path) as bag:
        assert bag.topics["/left"].type == "sensor_msgs/msg/Image"
        assert bag.topics["/left"].count == 30
        found = list(bag.messages(["/left", "/joint_states"]))
    assert [(item.topic, item.log_ns) for item in found] == [(topic, log_ns) for topic, log_ns, _ in wanted]
    np.testing.assert_array_equal(found[0].content.position, wanted[0][2].position)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_single_file_is_a_bag_too(robot, tmp_path, storage):
    path = robot.write(tmp_path / "bag", storage=storage)
    (file,) = [child for child in path.iterdir() if child.suffix in (".mcap", ".db3")]
    with Bag.open(file) as bag:
        assert sum(1 for _ in bag.messages(["/joint_states"])) == 150


def test_a_time_range_is_half_open(robot, bag):
    times = [log_ns for topic, log_ns, _ in robot.messages() if topic == "/left"]
    with Bag.open(bag) as opened:
        found = [item.log_ns for item in opened.messages(["/left"], start_ns=times[3], stop_ns=times[6])]
    assert found == times[3:6]


def test_own_message_types_are_read_from_the_bag(robot, tmp_path):
    from rosbag_tools.bag_schema import EVENTS_TOPIC

    messages = [(EVENTS_TOPIC, 5, robot.event(1, 5, task="pour"))]
    with Bag.open(robot.write(tmp_path / "bag", messages)) as bag:
        (message,) = bag.messages([EVENTS_TOPIC])
    assert message.content.task == "pour"


def test_embodiment_text_comes_from_the_metadata_or_from_the_message(robot, tmp_path):
    messages = robot.messages(0.5)
    custom = {KEY_EMBODIMENT: "from metadata"}
    with Bag.open(robot.write(tmp_path / "a", messages, custom=custom)) as bag:
        assert bag.embodiment_text() == "from metadata"
    told = [("/hpt/embodiment", messages[0][1], robot.string("from message")), *messages]
    with Bag.open(robot.write(tmp_path / "b", told)) as bag:
        assert bag.embodiment_text() == "from message"
    with Bag.open(robot.write(tmp_path / "c", messages)) as bag:
        assert bag.embodiment_text() is None


def test_when_there_is_no_bag_expect_it_named(tmp_path):
    with (
        pytest.raises(BagError, match=r"bag '.*nothing' does not exist; give a rosbag2 folder"),
        Bag.open(tmp_path / "nothing"),
    ):
        pass
    with pytest.raises(BagError, match="is no bag; give a rosbag2 folder"), Bag.open(tmp_path):
        pass


def test_when_a_folder_of_bags_is_given_for_one_expect_the_first_of_them(robot, tmp_path):
    for name in ("b", "a"):
        robot.write(tmp_path / name, [])
    with (
        pytest.raises(BagError, match="is no bag, but holds 2; give one of them, as '.*a'"),
        Bag.open(tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"not a bag at all, but long enough to have a footer" * 3]
)
@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_when_a_file_is_no_bag_expect_one_sentence(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with (
        pytest.raises(
            BagError,
            match=r"x\.(mcap|db3)' (begins neither as MCAP, .*; give a bag|is an empty file, and no bag)",
        ),
        Bag.open(path),
    ):
        pass


def test_when_metadata_is_damaged_expect_one_sentence(bag):
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: [}")
    with pytest.raises(BagError, match="cannot be read"), Bag.open(bag):
        pass


def test_when_a_bag_is_cut_short_expect_the_remedy(robot, bag):
    robot.cut(bag)
    with pytest.raises(TruncatedBagError, match=r"was cut short .*bag\.mcap.* --recover"), Bag.open(bag):
        pass


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("compression", ["", "storage"])
def test_a_cut_bag_is_recovered_up_to_the_cut(robot, tmp_path, compression, metadata):
    random = np.random.default_rng(0)
    messages = robot.messages(8.0)
    for topic, _, message in messages:  # pictures that do not compress: several chunks of 1 MiB
        if topic == "/unused":
            message.data = random.bytes(6000).hex()
    path = robot.cut(robot.write(tmp_path / "bag", messages, compression=compression), 0.7)
    if not metadata:
        (path / "metadata.yaml").unlink()
    expected = [(topic, log_ns) for topic, log_ns, _ in messages if topic == "/joint_states"]
    with Bag.open(path, recover=True) as bag:
        found = [(item.topic, item.log_ns) for item in bag.messages(["/joint_states"])]
        assert "was cut short: recovered" in bag.recovered
    assert 0.4 * len(expected) < len(found) < 0.75 * len(expected)
    assert found == expected[: len(found)]


def test_recovery_of_every_cut_gives_a_prefix_or_one_sentence(robot, tmp_path):
    path = robot.write(tmp_path / "bag", robot.messages(0.4))
    (file,) = path.glob("*.mcap")
    data = file.read_bytes()
    place = tmp_path / "cut.mcap"
    counts = []
    for length in range(0, len(data), 997):
        place.write_bytes(data[:length])
        try:
            with Bag.open(place, recover=True) as bag:
                counts.append(sum(1 for _ in bag.messages(["/joint_states"])))
        except BagError:
            counts.append(0)
    assert counts == sorted(counts)
    assert set(counts) > {0, 1, 10, 20}  # within the one chunk too


def test_a_whole_file_needs_no_recovery(bag):
    (file,) = bag.glob("*.mcap")
    assert is_complete(file)
    with Bag.open(bag, recover=True) as opened:
        assert opened.recovered == ""


def test_when_bytes_inside_are_damaged_expect_one_sentence(robot, tmp_path):
    path = robot.write(tmp_path / "bag", compression="storage")
    (file,) = path.glob("*.mcap")
    data = bytearray(file.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 200] = bytes(200)
    file.write_bytes(data)
    with pytest.raises(BagError, match="cannot be read"), Bag.open(path) as bag:
        list(bag.messages(["/left", "/joint_states"]))


def test_when_records_vanish_in_damaged_bytes_expect_the_counts(robot, tmp_path):
    path = robot.write(tmp_path / "bag", robot.messages(1.0))
    (file,) = path.glob("*.mcap")
    data = file.read_bytes()
    name = b"/left"  # of the channel; the messages are found by their number
    start = data.index(b"\x05", data.index(name) + 400)
    damaged = bytearray(data)
    damaged[start : start + 30_000] = (
        b"\x80" + bytes(7) * 0 + (30_000 - 9).to_bytes(8, "little") + bytes(30_000 - 9)
    )
    file.write_bytes(damaged)
    with (
        pytest.raises(
            BagError, match=r"lists 60 messages on /left, /joint_states, but \d+ could be read|cannot be read"
        ),
        Bag.open(path) as bag,
    ):
        list(bag.messages(["/left", "/joint_states"]))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_when_a_log_time_is_impossible_expect_it_said(robot, tmp_path, storage):
    *usual, (topic, _, message) = robot.messages(1.0)
    bag = robot.write(tmp_path / "bag", [*usual, (topic, NEWEST_LOG_NS + 1, message)], storage=storage)
    with (
        pytest.raises(BagError, match=rf"bag' has the log time {NEWEST_LOG_NS + 1} ns, expected 0 to"),
        Bag.open(bag),
    ):
        pass


def test_require_names_what_is_wrong(robot, tmp_path):
    messages = [item for item in robot.messages(0.5) if item[0] != "/left"]
    with Bag.open(robot.write(tmp_path / "bag", messages)) as bag:
        with pytest.raises(
            BagError,
            match=r"lacks the topic '/left' \(sensor_msgs/msg/Image\) of stream 'left'; the bag has /command",
        ):
            bag.require("/left", "sensor_msgs/msg/Image", "stream 'left'")
        with pytest.raises(BagError, match="did you mean '/joint_states'"):
            bag.require("/joint_state", "sensor_msgs/msg/JointState", "stream 'joints'")
        with pytest.raises(
            BagError,
            match="of stream 'r' with type sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image",
        ):
            bag.require("/right", "sensor_msgs/msg/Image", "stream 'r'")
        assert bag.require("/right", "sensor_msgs/msg/CompressedImage", "stream 'r'").count == 5


def test_when_a_topic_is_empty_expect_it_named(robot, tmp_path):
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/left", "sensor_msgs/msg/Image", typestore=robot.store)
        topic = writer.add_connection("/unused", "std_msgs/msg/String", typestore=robot.store)
        writer.write(topic, 1, robot.store.serialize_cdr(robot.string("x"), "std_msgs/msg/String"))
    with (
        Bag.open(tmp_path / "bag") as bag,
        pytest.raises(BagError, match="'/left' of x without a single message"),
    ):
        bag.require("/left", "sensor_msgs/msg/Image", "x")


def test_find_bags_takes_bags_and_folders_of_bags(robot, tmp_path):
    one = robot.write(tmp_path / "all" / "b_second", robot.messages(0.1))
    two = robot.write(tmp_path / "all" / "a_first", robot.messages(0.1), storage="sqlite3")
    (tmp_path / "all" / "notes.txt").write_text("no bag")
    assert find_bags([tmp_path / "all"]) == [two, one]
    assert find_bags([one]) == [one]
    (one / "metadata.yaml").unlink()
    assert find_bags([tmp_path / "all"]) == [two, one]  # a killed recorder's folder
    shutil.rmtree(one)
    shutil.rmtree(two)
    with pytest.raises(BagError, match="all' is no bag and holds none"):
        find_bags([tmp_path / "all"])
