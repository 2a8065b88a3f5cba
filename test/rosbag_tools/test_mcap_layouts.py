# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every MCAP file that the format allows reads the same: any profile, with or without chunks and indexes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap_files import Layout, OddChannel, write_mcap
from rosbags.typesys import Stores, get_typestore

from rosbag_tools.errors import BagError
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.mcap_index import look_through, read_summary
from rosbag_tools.reading.reader import Bag

STRING = "std_msgs/msg/String"


def small(robot, count=200):
    """Channels of three topics, and messages out of order as of several publishers."""
    texts = [robot.store.serialize_cdr(robot.string(f"text {n}"), STRING) for n in range(count)]
    messages = [(n % 3, 1000 + (n ^ 1) * 10, bytes(data)) for n, data in enumerate(texts)]
    return [OddChannel(f"/t{n}", STRING, definition="string data\n") for n in range(3)], messages


def read(path, topics=("/t0", "/t1", "/t2")):
    with Bag.open(path) as bag:
        return [(item.topic, item.log_ns, item.content.data) for item in bag.messages(topics)]


def expected(messages, topics=(0, 1, 2)):
    found = [(f"/t{n}", log_ns, data[8:-1].decode()) for n, log_ns, data in messages if n in topics]
    return sorted(found, key=lambda item: item[1])


@pytest.mark.parametrize("chunks", ["all", "none", "mixed"])
@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_every_layout_reads_the_same(robot, tmp_path, chunks, compression):
    channels, messages = small(robot)
    flags = ("message_index", "chunk_index", "statistics", "repeated")
    for choice in itertools.product((True, False), repeat=len(flags)):
        layout = Layout(compression=compression, chunks=chunks, **dict(zip(flags, choice, strict=True)))
        path = write_mcap(tmp_path / "a.mcap", channels, messages, layout)
        assert read(path) == expected(messages), layout
        assert read(path, ["/t1"]) == expected(messages, [1]), layout
        with Bag.open(path) as bag:
            found = inspect(bag)
            assert {name: entry.count for name, entry in found.topics.items()} == {
                "/t0": 67, "/t1": 67, "/t2": 66,
            }, layout  # fmt: skip
            assert (bag.start_ns, bag.end_ns) == (1000, 2990)


@pytest.mark.parametrize("profile", ["", "ros1", "ros2", "foxglove", "x" * 300])
def test_the_profile_does_not_matter(robot, tmp_path, profile):
    channels, messages = small(robot)
    path = write_mcap(tmp_path / "a.mcap", channels, messages, Layout(profile=profile))
    assert read(path) == expected(messages)


def test_ros1_messages_in_mcap_read_as_ros2_ones(robot, tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    type_ = "sensor_msgs/msg/JointState"
    header = store.types["std_msgs/msg/Header"](
        7, store.types["builtin_interfaces/msg/Time"](sec=12, nanosec=34), "base"
    )
    message = store.types[type_](header, ["a"], *(robot.joints(1.0, 0).position[:1] for _ in range(3)))
    channels = [
        OddChannel("/joints", "sensor_msgs/JointState", "ros1", "ros1msg", store.generate_msgdef(type_)[0]),
        *small(robot)[0][1:],
    ]
    data = bytes(store.serialize_ros1(message, type_))
    others = [item for item in small(robot)[1] if item[0]]
    path = write_mcap(
        tmp_path / "a.mcap", channels, [(0, 12_000_000_099, data), *others], Layout(profile="ros1")
    )
    with Bag.open(path) as bag:
        (found,) = bag.messages(["/joints"])
        assert bag.require("/joints", type_, "the test").count == 1
        assert {item.stamp_ns for item in bag.records() if item.topic == "/joints"} == {12_000_000_034}
    assert (found.content.name, found.content.header.frame_id) == (["a"], "base")
    assert read(path, ["/t1", "/t2"]) == expected(others)


@pytest.mark.parametrize(
    "name",
    ["std_msgs/String", "std_msgs::msg::String", "std_msgs::msg::dds_::String_", "std_msgs/msg/String"],
)
def test_a_type_is_known_by_each_of_its_names(robot, tmp_path, name):
    channels, messages = small(robot)
    channels[1] = OddChannel("/t1", name, definition="string data\n")
    path = write_mcap(tmp_path / "a.mcap", channels, messages)
    with Bag.open(path) as bag:
        assert bag.require("/t1", STRING, "the test").type == STRING
    assert read(path) == expected(messages)


def test_two_definitions_of_one_type_each_hold_for_their_messages(robot, tmp_path):
    channels, messages = small(robot)
    channels[2] = OddChannel("/t1", STRING, definition="int32 data\nstring other\n")
    messages = [item if item[0] != 2 else (2, item[1], b"\0\1\0\0\7\0\0\0\2\0\0\0x\0") for item in messages]
    with Bag.open(write_mcap(tmp_path / "a.mcap", channels, messages)) as bag:
        found = {item.log_ns: item.content for item in bag.messages(["/t1"])}
    for number, log_ns, data in messages:
        if number == 1:
            assert found[log_ns].data == data[8:-1].decode()
        elif number == 2:
            assert (found[log_ns].data, found[log_ns].other) == (7, "x")


def test_when_fewer_messages_are_there_than_listed_expect_an_error_and_no_count_of_zero(robot, tmp_path):
    channels, messages = small(robot)
    path = write_mcap(tmp_path / "a.mcap", channels, messages)
    data = bytearray(path.read_bytes())
    at = data.index(b"text 7\0")  # the message becomes a record of a kind that must be skipped
    data[at - 8 - 22 - 9] = 0x80
    data = data.replace(data[data.index(b"\x06", 100) + 9 + 24 :][:4], bytes(4), 1)  # no checksum
    path.write_bytes(data)
    with (
        pytest.raises(BagError, match=r"lists 200 messages on /t0, /t1, /t2, but 199 could be read"),
        Bag.open(path) as bag,
    ):
        inspect(bag)


def test_when_a_chunk_is_damaged_expect_its_checksum_named(robot, tmp_path):
    channels, messages = small(robot)
    path = write_mcap(tmp_path / "a.mcap", channels, messages)
    data = bytearray(path.read_bytes())
    data[data.index(b"text 7\0")] ^= 1
    path.write_bytes(data)
    with pytest.raises(BagError, match="the checksum of a chunk is wrong"):
        read(path)


@given(data=st.data(), count=st.integers(0, 40), per_chunk=st.integers(1, 9))
def test_the_summary_and_looking_through_tell_the_same(robot, tmp_path_factory, data, count, per_chunk):
    channels, _ = small(robot)
    messages = [
        (data.draw(st.integers(0, 2)), data.draw(st.integers(0, 50)), bytes(data.draw(st.integers(0, 9))))
        for _ in range(count)
    ]
    chunks = data.draw(st.sampled_from(["all", "none", "mixed"]))
    index = data.draw(st.booleans())
    path = tmp_path_factory.mktemp("layout") / "a.mcap"
    write_mcap(path, channels, messages, Layout(chunks=chunks, per_chunk=per_chunk, message_index=index))
    quick, thorough = read_summary(path), look_through(path)
    assert quick is not None
    assert (quick.channels, quick.schemas, quick.counts) == (
        thorough.channels,
        thorough.schemas,
        thorough.counts,
    )
    assert list(quick.loose) == list(thorough.loose)
    if count:
        assert (quick.first_ns, quick.last_ns) == (thorough.first_ns, thorough.last_ns)
    assert [(item.start, item.length, item.size) for item in quick.chunks] == [
        (item.start, item.length, item.size) for item in thorough.chunks
    ]


@given(content=st.binary(max_size=300), start=st.integers(0, 400), seed=st.integers(0, 3))
def test_whatever_stands_in_a_file_expect_messages_or_one_sentence(
    robot, tmp_path_factory, content, start, seed
):
    channels, messages = small(robot, 20)
    path = tmp_path_factory.mktemp("odd") / "a.mcap"
    layout = Layout(chunks=("all", "none", "mixed", "all")[seed], message_index=seed != 3, per_chunk=7)
    whole = bytearray(write_mcap(path, channels, messages, layout).read_bytes())
    start = min(start * len(whole) // 400, len(whole))
    whole[start : start + len(content)] = content
    path.write_bytes(whole)
    for recover in (False, True):
        try:
            with Bag.open(path, recover=recover) as bag:
                inspect(bag)
        except BagError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
