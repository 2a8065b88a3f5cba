# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A message read by a learned layout is the one that the library's parser makes, to the bit, or is refused alike."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from rosbag_tools.reading.learned_layouts import MOST_LEARNED, REPEATED, LearnedLayouts

STORE = get_typestore(Stores.ROS2_KILTED)
NUMBERS = [
    "bool",
    "byte",
    "char",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
]
TYPES = [
    "sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseStamped", "trajectory_msgs/msg/JointTrajectory",
    "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage",
    "nav_msgs/msg/Odometry", "std_msgs/msg/Float64MultiArray", "std_msgs/msg/String", "std_msgs/msg/Empty",
    "sensor_msgs/msg/PointCloud2", "diagnostic_msgs/msg/DiagnosticArray", "sensor_msgs/msg/Joy",
]  # fmt: skip


def made(store, name, random):
    """A message of random texts, lengths and numbers."""
    definition = store.get_msgdef(name)
    return definition.cls(*[value(store, kind, random) for _, kind in definition.fields])


def value(store, kind, random):
    node, detail = int(kind[0]), kind[1]
    if node == 2:
        return made(store, detail, random)
    if node == 1:
        return text(random) if detail[0] == "string" else array(detail[0], 1, random).tolist()[0]
    count = detail[1] if node == 3 else int(random.integers(0, 4))
    inner = detail[0]
    if int(inner[0]) == 1 and inner[1][0] != "string":
        return array(inner[1][0], count, random)
    return [value(store, inner, random) for _ in range(count)]


def text(random):
    return "".join(random.choice(list("ab_é/")) for _ in range(random.integers(0, 5)))


def array(kind, count, random):
    dtype = np.dtype({"bool": "bool", "byte": "uint8", "char": "uint8"}.get(kind, kind))
    if kind == "bool":
        return random.integers(0, 2, count).astype(bool)
    if kind == "byte":
        return random.integers(0, 127, count).astype(np.uint8)
    found = np.frombuffer(random.bytes(count * dtype.itemsize), dtype)
    if (
        kind == "float32"
    ):  # its single NaNs may be changed on the way through Python's floats, which is the library's
        found = np.nan_to_num(found)
    return found


def renumbered(store, name, message, random):
    """Another message with the same texts and lengths."""
    definition = store.get_msgdef(name)
    return definition.cls(
        *[again(store, kind, getattr(message, key), random) for key, kind in definition.fields]
    )


def again(store, kind, was, random):
    node, detail = int(kind[0]), kind[1]
    if node == 2:
        return renumbered(store, detail, was, random)
    if isinstance(was, str):
        return was
    if isinstance(was, np.ndarray):
        return array(detail[0][1][0], was.size, random)
    if node == 1:
        return value(store, kind, random)
    return [again(store, detail[0], item, random) for item in was]


def outcome(read, *arguments):
    try:
        return plain(read(*arguments))
    except Exception as error:
        return type(error), str(error)


def plain(item):
    """A message as values that are equal only if all bits and types are."""
    if isinstance(item, np.ndarray):
        return "array", item.dtype.str, item.shape, item.tobytes()
    if isinstance(item, float):
        return "float", struct.pack("<d", item)
    if isinstance(item, (list, str, int, bool)):
        return type(item), [plain(part) for part in item] if isinstance(item, list) else item
    return type(item), [(key, plain(part)) for key, part in vars(item).items()]


def agree(store, name, random, messages=12):
    layouts = LearnedLayouts(store, name)
    message = made(store, name, random)
    for number in range(messages):
        sent = bytearray(store.serialize_cdr(renumbered(store, name, message, random), name))
        if number % 3 == 2 and number > REPEATED:  # one byte is another, anywhere
            sent[int(random.integers(0, len(sent)))] ^= 1 << int(random.integers(0, 8))
        if number % 4 == 3:
            sent += bytes(int(random.integers(0, 5)))  # up to three are padding
        data = bytes(sent)
        assert outcome(layouts.deserialize, data) == outcome(store.deserialize_cdr, data, name)
    assert layouts._found


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(TYPES), st.integers(0, 2**32))
def test_messages_of_ros_are_those_of_the_library(name, seed):
    agree(STORE, name, np.random.default_rng(seed))


FORMS = st.sampled_from(["", "[]", "[1]", "[3]", "[<=4]"])
INNER = [*NUMBERS, "string", "builtin_interfaces/Time"]


def fields(kinds):
    return st.lists(st.tuples(st.sampled_from(kinds), FORMS), min_size=1, max_size=6)


def definition(found):
    return "".join(f"{kind}{form} field_{index}\n" for index, (kind, form) in enumerate(found))


@settings(deadline=None, max_examples=150)
@given(fields([*INNER, "Inner"]), fields(INNER), st.integers(0, 2**32))
def test_messages_of_any_type_are_those_of_the_library(outer, inner, seed):
    rule = "=" * 80
    parts = (
        definition(outer),
        "MSG: any/msg/Inner\n" + definition(inner),
        "MSG: builtin_interfaces/msg/Time\nint32 sec\nuint32 nanosec\n",
    )
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(f"{rule}\n".join(parts), "any/msg/Outer"))
    agree(store, "any/msg/Outer", np.random.default_rng(seed))


def joint_state(names, random):
    header = STORE.types["std_msgs/msg/Header"](
        STORE.types["builtin_interfaces/msg/Time"](int(random.integers(0, 9)), 5), "base"
    )
    empty = np.zeros(0)
    return STORE.types["sensor_msgs/msg/JointState"](
        header, names, random.normal(size=len(names)), empty, empty
    )


def read(layouts, message):
    return layouts.deserialize(bytes(STORE.serialize_cdr(message, layouts.name)))


def test_when_a_topic_repeats_its_names_expect_the_library_to_be_asked_no_more(monkeypatch):
    random, layouts = np.random.default_rng(0), LearnedLayouts(STORE, "sensor_msgs/msg/JointState")
    for _ in range(REPEATED):
        read(layouts, joint_state(["a", "b"], random))
    sent = (
        joint_state(["a", "b"], random),
        joint_state(["b", "a"], random),
        joint_state(["a", "b", "c"], random),
    )
    data = [bytes(STORE.serialize_cdr(message, layouts.name)) for message in sent]
    expected = [plain(STORE.deserialize_cdr(item, layouts.name)) for item in data]
    asked = []
    library = type(STORE).deserialize_cdr

    def deserialize(item, name):
        asked.append(item)
        return library(STORE, item, name)

    monkeypatch.setattr(STORE, "deserialize_cdr", deserialize)
    assert [plain(layouts.deserialize(item)) for item in data] == expected
    assert data[0] not in asked
    assert {data[1], data[2]} <= set(asked)


def test_a_message_that_is_changed_changes_no_other():
    random, layouts = np.random.default_rng(0), LearnedLayouts(STORE, "sensor_msgs/msg/JointState")
    for _ in range(REPEATED + 1):
        first = read(layouts, joint_state(["a", "b"], random))
    first.name.append("c")
    first.header.frame_id = "tool"
    second = read(layouts, joint_state(["a", "b"], random))
    assert (second.name, second.header.frame_id) == (["a", "b"], "base")


def test_when_names_never_repeat_expect_few_layouts():
    random, layouts = np.random.default_rng(0), LearnedLayouts(STORE, "sensor_msgs/msg/JointState")
    for number in range(2000):
        read(layouts, joint_state([f"{number % 997:04d}", "x" * (number % 40)], random))
    assert 0 < sum(map(len, layouts._found.values())) <= MOST_LEARNED
