# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every modality through the buffer, and one answer for messages from a bag and from the robot."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from rosbags.typesys import Stores, get_typestore
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.observation import InvalidSampleError, ObservationBuffer, ObservationWindow, decode, stamp_ns
from hpt_ros.observation.track import NEVER_SEEN, Absence

MS = 1_000_000
BASE = 1_700_000_000_000_000_000
STORE = get_typestore(Stores.ROS2_KILTED)


def samples(number=0):
    """One sample of each stream of the robot `everything`."""
    return {
        "eye": np.full((8, 12, 3), number, np.uint8),
        "near": np.full((8, 12), 100 + number, np.uint16),
        "far": np.full((8, 12), 200 + number, np.uint16),
        "joints": np.array([1.0, 2.0, 3.0]) + number,
        "wrist": np.arange(6.0) + number,
        "skin": np.full(3, number, np.float32),
        "cloud": np.full((5, 3), number, np.float32),
        "instruction": np.array(f"task {number}"),
    }


def feed(buffer, stamp_ns, number=0, without=()):
    for name, value in samples(number).items():
        if name not in without:
            buffer.push(name, stamp_ns, stamp_ns + MS, value)


def at(buffer, time_ns):
    return next(tick for tick in buffer.ticks_ready(time_ns + 20 * MS) if tick.stamp_ns == time_ns)


def test_a_tick_has_every_modality(everything):
    buffer = ObservationBuffer(everything)
    feed(buffer, BASE - 10 * MS, 7)
    tick = at(buffer, BASE)
    assert tick.valid
    expected = samples(7)
    assert list(tick.arrays) == ["eye", "near", "far", "skin", "cloud"]
    for name, value in tick.arrays.items():
        np.testing.assert_array_equal(value, expected[name])
        assert value.dtype == expected[name].dtype
    np.testing.assert_array_equal(tick.state, expected["joints"])
    np.testing.assert_array_equal(tick.vectors["wrench"], expected["wrist"])
    assert tick.task == "task 7"
    assert dict(tick.absent) == {}


def test_only_states_are_interpolated(everything):
    buffer = ObservationBuffer(everything)
    feed(buffer, BASE - 10 * MS, 0)
    feed(buffer, BASE + 10 * MS, 10)
    tick = at(buffer, BASE)
    np.testing.assert_allclose(tick.state, [6, 7, 8])
    np.testing.assert_array_equal(tick.vectors["wrench"], np.arange(6.0))
    assert tick.arrays["near"][0, 0] == 100
    assert tick.arrays["skin"].tolist() == [0, 0, 0]
    assert tick.task == "task 0"


def test_several_wrenches_make_one_vector(everything):
    wrist = everything.stream("wrist")
    second = dataclasses.replace(wrist, name="left_wrist", topic="/left_wrench")
    robot = dataclasses.replace(everything, streams=(second, wrist))
    buffer = ObservationBuffer(robot)
    buffer.push("wrist", BASE, BASE, np.arange(6.0))
    buffer.push("left_wrist", BASE, BASE, np.arange(6.0) + 10)
    np.testing.assert_array_equal(
        at(buffer, BASE).vectors["wrench"], [10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5]
    )


@pytest.mark.parametrize("name", ["near", "wrist", "skin", "cloud", "instruction"])
def test_when_a_needed_stream_was_never_seen_expect_an_invalid_tick_without_data(everything, name):
    buffer = ObservationBuffer(everything)
    feed(buffer, BASE, without=(name,))
    tick = at(buffer, BASE)
    assert not tick.valid
    assert tick.missing == {name: NEVER_SEEN}
    assert (dict(tick.arrays), dict(tick.vectors), dict(tick.texts), tick.task) == ({}, {}, {}, "")
    assert tick.state.size == 0


@pytest.mark.parametrize(
    ("modality", "names"),
    [
        ("image", ["eye"]), ("depth", ["far"]), ("state", ["joints"]), ("wrench", ["wrist"]), ("tactile", ["skin"]),
        ("pointcloud", ["cloud"]), ("language", ["instruction"]),
    ],
)  # fmt: skip
def test_a_modality_that_the_policy_can_do_without_is_absent_with_the_reason(everything, modality, names):
    buffer = ObservationBuffer(everything, optional=frozenset({modality, "actions"}))
    feed(buffer, BASE, 3, without=names)
    tick = at(buffer, BASE)
    assert tick.valid
    assert dict(tick.missing) == {}
    assert list(tick.absent) == names
    assert {absence.code for absence in tick.absent.values()} == {Absence.NEVER_SEEN}
    left = set(tick.arrays)
    assert left == {"eye", "near", "far", "skin", "cloud"} - set(names)
    assert (tick.state.size, tick.vectors.get("wrench", np.empty(0)).size, tick.task) == (
        0 if modality == "state" else 3,
        0 if modality == "wrench" else 6,
        "" if modality == "language" else "task 3",
    )


def test_an_absent_stream_says_why_when_the_tick_is_invalid_too(everything):
    buffer = ObservationBuffer(everything, optional=frozenset({"tactile"}))
    feed(buffer, BASE, without=("skin", "eye"))
    tick = at(buffer, BASE)
    assert tick.missing == {"eye": NEVER_SEEN}
    assert tick.absent == {"skin": NEVER_SEEN}


def test_when_an_optional_modality_is_unknown_expect_the_known_ones(everything):
    with refused(
        HptError,
        Code.UNKNOWN,
        subject="the modality",
        value="dept",
        expected="image, depth",
        remedy="did you mean 'depth",
    ):
        ObservationBuffer(everything, optional=frozenset({"dept"}))


@pytest.fixture
def speaking(everything) -> ObservationBuffer:
    """A robot that only has ears."""
    return ObservationBuffer(dataclasses.replace(everything, streams=(everything.stream("instruction"),)))


def test_a_task_holds_until_the_next_one_however_old_it_is(speaking):
    speaking.push("instruction", BASE - 50 * MS, BASE - 50 * MS, np.array("first"))
    speaking.push("instruction", BASE + 9_050 * MS, BASE + 9_050 * MS, np.array("second"))
    ticks = {(tick.stamp_ns - BASE) // MS: tick for tick in speaking.ticks_ready(BASE + 18_020 * MS)}
    assert ticks[9_000].task == "first"
    assert ticks[9_000].ages_s["instruction"] == pytest.approx(9.05)
    assert ticks[9_100].task == ticks[18_000].task == "second"


@pytest.mark.parametrize("jump", ["back", "ahead", "reset"])
def test_a_task_holds_through_a_jump_of_the_clock(speaking, jump):
    speaking.push("instruction", BASE, BASE, np.array("go on"))
    if jump == "reset":
        speaking.reset("activated")
    now = BASE + {"back": -60_000, "ahead": 60_000, "reset": 500}[jump] * MS
    ticks = speaking.ticks_ready(now)
    ticks += speaking.ticks_ready(now + 100 * MS)
    assert not ticks  # they begin with the next message
    speaking.push("instruction", now + 250 * MS, now + 250 * MS, np.array("stop"))
    ticks = speaking.ticks_ready(now + 420 * MS)
    assert [tick.task for tick in ticks][-2:] == ["stop", "stop"]


def test_a_robot_with_a_task_from_before_a_jump_needs_no_new_one(everything):
    buffer = ObservationBuffer(everything)
    feed(buffer, BASE, 4)
    feed(buffer, BASE - 60_000 * MS, 5, without=("instruction",))
    tick = at(buffer, BASE - 60_000 * MS)
    assert tick.valid
    assert tick.task == "task 4"
    assert tick.ages_s["instruction"] == math.inf


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("near", np.zeros((8, 12), np.float32)),
        ("near", np.zeros((8, 13), np.uint16)),
        ("skin", np.zeros(3)),
        ("cloud", np.zeros((4, 3), np.float32)),
        ("instruction", np.array(["a", "b"])),
        ("wrist", np.zeros(6, np.float32)),
    ],
)
def test_when_an_array_does_not_fit_expect_error(everything, name, value):
    with pytest.raises(HptError, match=f"stream '{name}' was given an array of shape .* expected"):
        ObservationBuffer(everything).push(name, BASE, BASE, value)


def test_newest_is_the_newest_sample_by_its_stamp(robot):
    buffer = ObservationBuffer(robot)
    assert buffer.newest("joints") is None
    buffer.push("joints", BASE, BASE, np.array([1.0, 2, 3, 4]))
    buffer.push("joints", BASE - 10 * MS, BASE + MS, np.zeros(4))
    newest = buffer.newest("joints")
    assert newest is not None
    stamp, value = newest
    assert stamp == BASE
    assert value.tolist() == [1, 2, 3, 4]
    with refused(HptError, Code.MISSING, subject="embodiment 'tiny'", value="top", problem="no stream"):
        buffer.newest("top")


# From here on: real messages, serialized once, read as a bag is read and as the robot receives them.


def _live(kind, seed, stamp):
    """A message of a stream of `everything`, made by rclpy; sometimes one that is refused."""
    from geometry_msgs.msg import Vector3, Wrench, WrenchStamped
    from sensor_msgs.msg import CompressedImage, Image, JointState, PointCloud2, PointField
    from std_msgs.msg import Float32MultiArray, String

    random = np.random.default_rng(seed)
    if kind == "eye":
        data = random.integers(0, 256, 8 * 40, dtype=np.uint8).tobytes()
        message = Image(height=8, width=12, step=40, encoding=str(random.choice(["rgb8", "bgr8"])), data=data)
    elif kind == "near":
        metres = random.normal(1, 1, (9, 13)).astype(">f4")
        metres[random.random((9, 13)) < 0.2] = np.nan
        message = Image(height=9, width=13, step=52, encoding="32FC1", is_bigendian=1, data=metres.tobytes())
    elif kind == "far":
        picture = random.integers(0, 2**16, (8, 12), dtype=np.uint16)
        png = cv2.imencode(".png", picture)[1].tobytes()
        cut = len(png) - int(random.integers(0, 4) == 0)
        message = CompressedImage(format="16UC1; compressedDepth png", data=bytes(12) + png[:cut])
    elif kind == "joints":
        names = list(random.permutation(["a", "b", "gripper", "wheel"])[: random.integers(1, 5)])
        message = JointState(
            name=[str(name) for name in names], position=random.normal(size=len(names)).tolist()
        )
    elif kind == "wrist":
        numbers = random.normal(size=6)
        numbers[0] = np.nan if seed % 7 == 0 else numbers[0]
        force, torque = (
            Vector3(x=v[0], y=v[1], z=v[2]) for v in (numbers[:3].tolist(), numbers[3:].tolist())
        )
        message = WrenchStamped(wrench=Wrench(force=force, torque=torque))
    elif kind == "skin":
        return Float32MultiArray(data=random.normal(size=3).tolist())
    elif kind == "cloud":
        points = random.normal(size=(30, 4))
        points[random.random(30) < (1.0 if seed % 5 == 0 else 0.5), 1] = np.nan
        fields = [
            PointField(name=name, offset=8 * place, datatype=PointField.FLOAT64, count=1)
            for place, name in enumerate("zixy")
        ]
        message = PointCloud2(
            height=5, width=6, fields=fields, point_step=32, row_step=200,
            data=np.pad(points.reshape(5, 24), ((0, 0), (0, 1))).tobytes(),
        )  # fmt: skip
    else:
        return String(data=" ".join(random.choice(["feed", "the", "dog"], 3)) if seed % 4 else "")
    message.header.stamp.sec, message.header.stamp.nanosec = stamp // 10**9, stamp % 10**9
    return message


def _from_bag(message, type_):
    # Past `deserialize_cdr`, since rclpy's serialize_message leaves bytes after the message, which no recording has.
    definition = STORE.get_msgdef(type_)
    return definition.deserialize_cdr_le(serialize_message(message)[4:], 0, definition.cls, STORE)[0]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["eye", "near", "far", "joints", "joints", "wrist", "skin", "cloud", "instruction"]
            ),
            st.integers(0, 2**31),
            st.integers(0, 30 * MS),  # arrival after the message before
            st.integers(-5 * MS, 40 * MS),  # age when it arrives
        ),
        min_size=10,
        max_size=60,
    ),
    st.sets(st.sampled_from(["image", "depth", "state", "wrench", "tactile", "pointcloud", "language"])),
    st.randoms(use_true_random=False),
)
def test_a_bag_and_the_robot_give_identical_ticks(everything, messages, optional, clock):
    robot = everything
    bag = ObservationBuffer(robot, optional=frozenset(optional))
    live = ObservationBuffer(robot, optional=frozenset(optional))
    from_bag, from_robot = [], []
    arrival = BASE
    for name, seed, step, age in messages:
        now = arrival
        arrival += step
        while now < arrival:  # the node's timer asks at times of its own
            now = min(arrival, now + clock.randint(1, 20 * MS))
            from_robot += live.ticks_ready(now)
        stream = robot.stream(name)
        message = _live(name, seed, arrival - age)
        bag.push_message(name, _from_bag(message, stream.type), arrival, defer=True)
        # As the node does: decode first, on whatever thread, then push.
        try:
            value = decode(stream, message)
        except InvalidSampleError:
            continue
        live.push(name, stamp_ns(message, arrival), arrival, value)
    from_bag = bag.ticks_ready(arrival + 100 * MS)
    from_robot += live.ticks_ready(arrival + 100 * MS)
    one, other = ObservationWindow(robot), ObservationWindow(robot)
    known = {tick.index: tick for tick in from_robot}
    assert len(from_bag) >= 1
    for tick in from_bag:
        if from_robot and tick.index < from_robot[0].index:
            assert not tick.valid  # a message that cannot be used began the bag's ticks, not the robot's
            continue
        twin = known[tick.index]
        assert set(tick.missing) == set(twin.missing)
        assert set(tick.absent) == set(twin.absent)
        assert tick.ages_s == twin.ages_s
        assert one.push(tick) == other.push(twin)
        assert one.keys == other.keys
        if one.keys:
            a, b = one.inputs(), other.inputs()
            assert a.keys() == b.keys()
            for key in a:
                assert a[key].dtype == b[key].dtype
                np.testing.assert_array_equal(a[key], b[key])


def test_a_second_of_every_stream_gives_whole_and_equal_inputs(everything):
    bag, live = ObservationBuffer(everything), ObservationBuffer(everything)
    events = []
    for stream in everything.streams:
        period = round(10**9 / stream.rate_hz)
        # Seeds of which none is refused; joint states that come in parts, each joint in some.
        events += [(BASE + count * period, stream, 5 * count + 1) for count in range(10**9 // period)]
    for stamp, stream, number in sorted(events, key=lambda event: (event[0], event[1].name)):
        arrival = stamp + 3 * MS
        message = _live(stream.name, number if number % 7 else number + 5, stamp)
        bag.push_message(stream.name, _from_bag(message, stream.type), arrival, defer=True)
        try:
            value = decode(stream, message)
        except InvalidSampleError:  # one of four depth pictures is cut short
            assert stream.name == "far"
            continue
        live.push(stream.name, stamp_ns(message, arrival), arrival, value)
    ticks, twins = bag.ticks_ready(BASE + 1_020 * MS), live.ticks_ready(BASE + 1_020 * MS)
    whole = 0
    for tick, twin in zip(ticks, twins, strict=True):
        assert set(tick.missing) == set(twin.missing)
        windows = [ObservationWindow(everything), ObservationWindow(everything)]
        if windows[0].push(tick) and windows[1].push(twin):
            whole += 1
            one, other = windows[0].inputs(), windows[1].inputs()
            assert set(one) == set(other) == {
                "image", "depth", "state", "wrench", "tactile", "pointcloud", "actions", "task",
            }  # fmt: skip
            for key, array in one.items():
                np.testing.assert_array_equal(array, other[key])
    assert whole >= 5


@given(st.integers(0, 2**31))
def test_every_type_decodes_alike_from_a_bag_and_from_the_robot(seed):
    from geometry_msgs.msg import PoseStamped, TwistStamped
    from std_msgs.msg import Float64MultiArray, MultiArrayDimension

    from hpt_ros.embodiment import Stream

    random = np.random.default_rng(seed)
    pose, twist = PoseStamped(), TwistStamped()
    for place in (pose.pose.position, twist.twist.linear, twist.twist.angular):
        place.x, place.y, place.z = random.normal(size=3).tolist()
    turn = pose.pose.orientation
    turn.x, turn.y, turn.z, turn.w = random.normal(size=4).tolist()
    numbers = Float64MultiArray(data=random.normal(size=4).tolist())
    numbers.layout.dim = [MultiArrayDimension(label="x", size=2, stride=4), MultiArrayDimension(size=2)]
    kinds: tuple[tuple[Any, str, dict[str, Any]], ...] = (
        (pose, "geometry_msgs/msg/PoseStamped", {}),
        (twist, "geometry_msgs/msg/TwistStamped", {}),
        (numbers, "std_msgs/msg/Float64MultiArray", {"length": 4}),
    )
    for message, type_, keys in kinds:
        stream = Stream("s", "state", "/s", type_, rate_hz=10.0, tolerance_s=0.1, **keys)
        live, recorded = decode(stream, message), decode(stream, _from_bag(message, type_))
        assert live.dtype == recorded.dtype == np.float64
        np.testing.assert_array_equal(live, recorded)
