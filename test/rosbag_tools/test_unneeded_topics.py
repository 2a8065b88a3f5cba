# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A topic that nobody needs harms nobody, whatever its definition, encoding and bytes; one that is needed is named."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap_files import OddChannel, text, write_mcap
from rosbags.rosbag1 import Writer as Bag1Writer
from rosbags.typesys import Stores, get_typestore

from rosbag_tools.bootstrap.first_embodiment import write_first_embodiment
from rosbag_tools.converting.convert import convert
from rosbag_tools.errors import BagError, DamagedMessageError
from rosbag_tools.reading.channels import Channel
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.message_types import UnreadableTypeError, message_type
from rosbag_tools.reading.reader import Bag

FOO = "my_msgs/msg/Foo"
IDL_UNION = "module my_msgs { module msg { union Foo switch (long) { case 1: double x; }; }; };"
IDL_FILES = f"""{"=" * 80}
IDL: my_msgs/msg/Foo
// generated from rosidl_adapter/resource/msg.idl.em
#include "my_msgs/msg/Bar.idl"

module my_msgs {{
  module msg {{
    struct Foo {{
      my_msgs::msg::Bar x;
    }};
  }};
}};
{"=" * 80}
IDL: my_msgs/msg/Bar
module my_msgs {{ module msg {{ struct Bar {{ double y; }}; }}; }};
"""
QOS = text("offered_qos_profiles") + text("- history: [nonsense\n  depth: {")
HEADER = f"{'=' * 80}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
# Name: channel, and what is said of it.
ODD = {
    "no schema": (OddChannel("/odd", "", schema=None), "no definition of its type"),
    "definition left empty": (OddChannel("/odd", FOO), "no definition of its type my_msgs/msg/Foo"),
    "encoding left empty": (OddChannel("/odd", FOO, schema=""), "no definition"),
    "encoding unknown": (OddChannel("/odd", FOO, schema="unknown"), "no definition"),
    "action feedback": (OddChannel("/odd", "my_msgs/action/Foo_FeedbackMessage", schema=""), "no definition"),
    "service": (OddChannel("/odd", "a/srv/B_Event", definition="int64 a\n---\nint64 b\n"), "three hyphens"),
    "text about a definition": (
        OddChannel("/odd", FOO, definition="Definition of Foo"),
        "lacks my_msgs/msg/Definition",
    ),
    "nested type left out": (
        OddChannel("/odd", FOO, definition="geometry_msgs/Point p\n"),
        "lacks geometry_msgs",
    ),
    "no text": (OddChannel("/odd", FOO, definition="\xff\xfe\x00 what"), "cannot be parsed"),
    "wide string": (OddChannel("/odd", FOO, definition="wstring<=8 s\n"), "cannot be parsed"),
    "name with underscore": (OddChannel("/odd", FOO, definition="float64 _x\n"), "cannot be parsed"),
    "union": (OddChannel("/odd", FOO, schema="ros2idl", definition=IDL_UNION), "parsed as ros2idl"),
    "other type": (
        OddChannel("/odd", FOO, schema="ros2idl", definition="struct Bar { double x; };"),
        "not one of",
    ),
    "itself": (OddChannel("/odd", FOO, definition="Foo foo\n"), "cannot be parsed"),
    "field of a decoded type": (
        OddChannel(
            "/odd",
            "sensor_msgs/msg/JointState",
            definition="std_msgs/Header header\nstring[] name\n" + HEADER,
        ),
        "its definition of sensor_msgs/msg/JointState lacks the field 'position'",
    ),
    "json": (OddChannel("/odd", "Event", "json", "jsonschema", "{}"), "encoded as 'json'"),
    "protobuf": (OddChannel("/odd", "a.Event", "protobuf", "protobuf", b"\x0a\xff"), "encoded as 'protobuf'"),
    "cdr of an unknown language": (
        OddChannel("/odd", FOO, schema="xml", definition="<a/>"),
        "written in 'xml'",
    ),
    "nothing but encoding": (OddChannel("/odd", "", "cbor", schema=None), "encoded as 'cbor'"),
}
READABLE = {
    "carriage returns": OddChannel("/odd", FOO, definition="float64 x\r\n# y\r\n"),
    "comment in Latin-1": OddChannel("/odd", FOO, definition=b"float64 x  # 20 \xb0C\n"),
    "separator at the end": OddChannel("/odd", FOO, definition="float64 x\n" + "=" * 80 + "\n"),
    "two-part name": OddChannel("/odd", "my_msgs/Foo", definition="float64 x\n"),
    "odd quality of service": OddChannel("/odd", FOO, definition="float64 x\n", metadata=text(QOS)),
    "interface definitions of two files": OddChannel("/odd", FOO, schema="ros2idl", definition=IDL_FILES),
    "names of DDS": OddChannel(
        "/odd", "my_msgs::msg::dds_::Foo_", schema="omgidl",
        definition="module my_msgs { module msg { module dds_ { struct Foo_ { double x; }; }; }; };",
    ),
    "time is built in": OddChannel("/odd", FOO, definition="builtin_interfaces/Time x\n"),
}  # fmt: skip


def robot_channels(robot):
    """The robot's topics with whole definitions."""
    return [
        OddChannel(name, type_, definition=robot.store.generate_msgdef(type_, ros_version=2)[0])
        for name, type_ in robot.topics.items()
    ]


def with_odd(robot, path, channel, content=b"\0\1\0\0" + bytes(32)):
    """A file of the robot's topics and of an odd one, on which ten messages lie."""
    names = list(robot.topics)
    found = [
        (names.index(topic), log_ns, bytes(robot.store.serialize_cdr(message, robot.topics[topic])))
        for topic, log_ns, message in robot.messages(2.0)
    ]
    found += [(len(names), robot.start_ns + n * 100_000_000, content) for n in range(10)]
    return write_mcap(path, [*robot_channels(robot), channel], sorted(found, key=lambda item: item[1]))


def check(robot, path, reason, tmp_path):
    """The bag is inspected, made a file from and converted; the odd topic is counted and not readable for `reason`."""
    with Bag.open(path) as bag:
        topics = inspect(bag, robot.embodiment).topics
        assert reason in topics["/odd"].unreadable
        assert bool(reason) == bool(topics["/odd"].unreadable)
        assert topics["/odd"].count == 10
        assert topics["/left"].count == 20
        assert write_first_embodiment(bag)
        if reason:
            with pytest.raises(BagError, match=r"has the topic '/odd', which cannot be read: "):
                list(bag.messages(["/odd"]))
            with pytest.raises(BagError, match=r"has the topic '/odd' of the test, but "):
                bag.require("/odd", topics["/odd"].type, "the test")
    assert convert([path], tmp_path / "out", robot.embodiment).kept > 10


@pytest.mark.parametrize("name", ODD)
def test_an_odd_topic_that_is_not_needed_is_listed_with_the_reason(robot, tmp_path, name):
    channel, reason = ODD[name]
    check(robot, with_odd(robot, tmp_path / "a.mcap", channel), reason, tmp_path)


@pytest.mark.parametrize("name", READABLE)
def test_what_is_only_unusual_is_read(robot, tmp_path, name):
    path = with_odd(robot, tmp_path / "a.mcap", READABLE[name], b"\0\1\0\0" + bytes(8))
    check(robot, path, "", tmp_path)
    with Bag.open(path) as bag:
        assert len([message.content.x for message in bag.messages(["/odd"])]) == 10


def test_when_an_embodiment_needs_an_odd_topic_expect_it_missing(robot, tmp_path):
    channels = [ODD["wide string"][0] for _ in range(1)]
    odd = OddChannel("/unused", "sensor_msgs/msg/JointState", definition=channels[0].definition)
    path = write_mcap(tmp_path / "a.mcap", [odd], [(0, robot.start_ns, bytes(20))])
    needs = type(robot.embodiment).loads(robot.text.replace("/joint_states", "/unused"))
    with Bag.open(path) as bag:
        found = inspect(bag, needs)
        assert found.lacks
        assert found.topics["/unused"].notes[0].startswith("not readable: its definition cannot be parsed")


def test_two_types_on_a_topic_that_is_not_needed_are_listed(robot, tmp_path):
    names = list(robot.topics)
    string = bytes(robot.store.serialize_cdr(robot.string("x"), "std_msgs/msg/String"))
    channels = [
        *robot_channels(robot),
        OddChannel("/odd", "std_msgs/msg/String"),
        OddChannel("/odd", "std_msgs/msg/Bool"),
    ]
    found = [
        (names.index(topic), log_ns, bytes(robot.store.serialize_cdr(message, robot.topics[topic])))
        for topic, log_ns, message in robot.messages(2.0)
    ]
    found += [(len(names), robot.start_ns + n, string) for n in range(5)]
    found += [(len(names) + 1, robot.start_ns + n, b"\0\1\0\0\1") for n in range(5)]
    path = write_mcap(tmp_path / "a.mcap", channels, found)
    check(robot, path, "types std_msgs/msg/Bool, std_msgs/msg/String, of which one was expected", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\1\0\0\1", b"\0\1\0\0" + b"\xff" * 20])
def test_messages_shorter_than_their_header_are_counted_as_damaged(robot, tmp_path, content):
    type_ = "geometry_msgs/msg/PoseStamped"
    definition = robot.store.generate_msgdef(type_, ros_version=2)[0]
    path = with_odd(robot, tmp_path / "a.mcap", OddChannel("/odd", type_, definition=definition), content)
    with Bag.open(path) as bag:
        notes = inspect(bag).topics["/odd"].notes
        assert ("10 messages are damaged: shorter than their header" in notes) == (len(content) < 12)
        assert write_first_embodiment(bag)
        with pytest.raises(
            DamagedMessageError, match=r"on '/odd', 0\.\d\d s after its start, whose .* do not fit"
        ):
            list(bag.messages(["/odd"]))
    assert convert([path], tmp_path / "out", robot.embodiment).kept > 10


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DELETE FROM message_definitions WHERE topic_type = 'std_msgs/msg/String'", ""),  # a standard type
        ("UPDATE topics SET type = 'my_msgs/msg/Foo' WHERE name = '/odd'", "no definition of its type"),
        (
            "UPDATE message_definitions SET encoding = 'unknown', encoded_message_definition = ''"
            " WHERE topic_type = 'std_msgs/msg/String'",
            "",
        ),
        ("UPDATE topics SET offered_qos_profiles = '- {' WHERE name = '/odd'", ""),
        ("UPDATE topics SET serialization_format = 'json' WHERE name = '/odd'", "encoded as 'json'"),
        ("UPDATE topics SET type_description_hash = 'RIHS01_0' WHERE name = '/odd'", "has the hash RIHS01_"),
    ],
)
def test_an_odd_topic_of_a_sqlite3_bag_is_listed(robot, tmp_path, change, reason):
    odd = [("/odd", robot.start_ns + n, robot.string("x")) for n in range(10)]
    messages = sorted([*robot.messages(2.0), *odd], key=lambda item: item[1])
    types = {"/odd": "std_msgs/msg/String"}
    bag = robot.write(tmp_path / "bag", messages, storage="sqlite3", types=types)
    with sqlite3.connect(next(bag.glob("*.db3"))) as database:
        database.execute(change)
    database.close()
    (bag / "metadata.yaml").unlink()
    check(robot, bag, reason, tmp_path)


def with_odd_ros1(robot, folder, digest, definition):
    """A rosbag1 file of the robot's topics and of an odd one, on which ten messages lie."""
    store = get_typestore(Stores.ROS1_NOETIC)
    path = folder / "odd.bag"
    with Bag.open(robot.write_ros1(folder / "a.bag", robot.messages(2.0))) as bag, Bag1Writer(path) as writer:
        made = {}
        for channel, log_ns, data in bag._files.messages(bag._files.channels):
            if channel not in made:
                made[channel] = writer.add_connection(
                    channel.topic,
                    channel.type,
                    msgdef=channel.definition,
                    md5sum=channel.digest,
                    typestore=store,
                )
            writer.write(made[channel], log_ns, data)
        odd = writer.add_connection("/odd", FOO, msgdef=definition, md5sum=digest)
        for n in range(10):
            writer.write(odd, robot.start_ns + n, bytes(8))
    return path


@pytest.mark.parametrize(
    ("digest", "definition", "reason"),
    [
        ("ff6baa58985b528481871cbaf1bb342f", "", "no definition of its type my_msgs/msg/Foo"),
        ("ff6baa58985b528481871cbaf1bb342f", "Definition of my_msgs/Foo", "lacks my_msgs/msg/Definition"),
        ("ff6baa58985b528481871cbaf1bb342f", "float64 x", "has the hash"),
        ("*", "float64 x", ""),
        ("d41d8cd98f00b204e9800998ecf8427e", "", ""),  # a message without fields
        ("*", "geometry_msgs/Point p", "lacks geometry_msgs/msg/Point"),
    ],
)
def test_an_odd_topic_of_a_rosbag1_is_listed(robot, tmp_path, digest, definition, reason):
    check(robot, with_odd_ros1(robot, tmp_path, digest, definition), reason, tmp_path)


def test_a_comment_in_latin_1_does_not_spoil_a_rosbag1(robot, tmp_path):
    path = with_odd_ros1(robot, tmp_path, "*", "float64 x  # 20 \u00b0C")
    path.write_bytes(path.read_bytes().replace("\u00b0C".encode(), b"\xb0\xb0C"))
    check(robot, path, "", tmp_path)
    with Bag.open(path) as bag:
        assert [message.content.x for message in bag.messages(["/odd"])] == [0.0] * 10


@given(definition=st.text(max_size=200), schema=st.sampled_from(["ros2msg", "ros1msg", "ros2idl", "omgidl"]))
def test_any_text_is_a_type_or_one_sentence(definition, schema):
    type_of_text("cdr", schema, definition)


LINES = st.sampled_from(
    (
        "float64 x|Foo foo|string s 'a'|int8[3] a|uint8[<=9] b|byte C=1|# note|---|MSG: my_msgs/Bar|my_msgs/Bar bar|"
        "time t|Header header|string<=5[] w|@verbatim|| \t|float64[1000000000] d|bool class|module a {|};|"
        f"struct Foo {{|double x;|\x00|wstring w|{'=' * 80}"
    ).split("|")
)


@given(lines=st.lists(LINES, max_size=12), schema=st.sampled_from(["ros2msg", "ros2idl"]), ros1=st.booleans())
def test_any_lines_are_a_type_or_one_sentence(lines, schema, ros1):
    type_of_text("ros1" if ros1 else "cdr", schema, "\n".join(lines))


def type_of_text(encoding, schema, definition):
    channel = Channel("/odd", FOO, encoding, schema, definition, "", 1)
    try:
        found = message_type(channel)
    except UnreadableTypeError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400
    else:
        assert found.name in found.store.fielddefs
