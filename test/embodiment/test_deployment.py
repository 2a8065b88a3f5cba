# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The deployment file: what a cell may change of an embodiment, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.dataset.layout import features_of
from hpt_ros.embodiment import (
    Deployment,
    Embodiment,
    EmbodimentError,
    list_deployed_fields,
    require_deployable,
)
from hpt_ros.errors import Code, HptError

FILES = Path(__file__).parents[2] / "config" / "embodiments"
FEED_DOG, UR5E, SERVO = (
    Embodiment.load(FILES / f"{name}.yaml") for name in ("feed_dog", "ur5e_robotiq", "ur5e_servo")
)
JOINT = FEED_DOG.action.names[0]
LIMIT = FEED_DOG.action.limits[0]


def cell(**keys: Any) -> Deployment:
    return Deployment.loads(yaml.safe_dump({"format": "hpt_ros/deployment/1", **keys}))


def test_when_it_is_empty_expect_the_embodiment_itself() -> None:
    for robot in (FEED_DOG, UR5E, SERVO):
        assert cell().over(robot) == robot
        assert list_deployed_fields(robot, cell().over(robot)) == ()


def test_when_a_driver_stamps_otherwise_or_compresses_expect_the_stream_so_and_the_same_observation() -> None:
    here = cell(
        streams={
            "front": {
                "topic": "/cam/image/compressed", "type": "sensor_msgs/msg/CompressedImage", "stamp_offset_s": -0.08
            },
            "joints": {"time": "arrival"},
        }
    ).over(FEED_DOG)  # fmt: skip
    front = here.stream("front")
    assert (front.type, front.stamp_offset_s, front.time) == (
        "sensor_msgs/msg/CompressedImage",
        -0.08,
        "stamp",
    )
    assert here.stream("joints").time == "arrival"
    assert features_of(here) == features_of(FEED_DOG)
    assert Embodiment.loads(here.to_yaml()) == here
    told = "\n".join(list_deployed_fields(FEED_DOG, here))
    assert "streams.front.stamp_offset_s: 0.0 -> -0.08" in told
    assert "streams.joints.time: stamp -> arrival" in told
    # An embodiment file that states the same beside a checkpoint is the same.
    assert require_deployable(FEED_DOG, here, a_name="a", b_name="b") == here
    # What few robots have is not in the text of the others.
    assert "stamp_offset_s" not in FEED_DOG.to_yaml()
    assert "time:" not in FEED_DOG.to_yaml()


def test_when_a_type_has_another_content_expect_both_named() -> None:
    with refused(
        EmbodimentError,
        Code.INVALID,
        subject="the deployment",
        value="joints",
        problem="whose type sensor_msgs/msg/JointState has another",
    ):
        cell(streams={"joints": {"type": "sensor_msgs/msg/Image"}}).over(FEED_DOG)


@pytest.mark.parametrize(
    "keys",
    [
        {"type": "sensor_msgs/msg/JointStat"},
        {"time": "boot"},
        {"stamp_offset_s": 6.0},
        {"stamp_offset_s": float("nan")},
        {"stamp_offset_s": "80 ms"},
    ],
)
def test_when_a_streams_timing_is_no_timing_expect_a_refusal(keys: dict[str, Any]) -> None:
    with pytest.raises(HptError, match=f"{next(iter(keys))}"):
        cell(streams={"front": keys})


def test_when_names_rates_and_latencies_differ_expect_them_and_nothing_else() -> None:
    here = cell(
        embodiment=UR5E.name,
        joint_prefix="left_",
        rate_hz=125.0,
        streams={
            "joints": {
                "topic": "/left/joint_states",
                "qos": "reliable",
                "rate_hz": 125.0,
                "tolerance_s": 0.05,
            }
        },
        outputs={
            "arm": {
                "topic": "/left/arm/commands",
                "type": "std_msgs/msg/Float64MultiArray",
                "latency_s": 0.02,
            }
        },
        limits={"elbow_joint": {"lower": -1.0, "velocity": 0.5}},
    ).over(UR5E)
    stream = here.stream("joints")
    assert stream.joints == tuple(f"left_{name}" for name in UR5E.stream("joints").joints)
    assert (stream.topic, stream.qos, stream.rate_hz, stream.tolerance_s) == (
        "/left/joint_states", "reliable", 125.0, 0.05,
    )  # fmt: skip
    assert here.action.rate_hz == 125.0
    assert here.action.grippers == ("left_robotiq_85_left_knuckle_joint",)
    assert (here.action.parts[0].topic, here.action.parts[0].latency_s) == ("/left/arm/commands", 0.02)
    assert here.action.parts[1].topic == UR5E.action.parts[1].topic
    assert (here.lower[2], here.max_velocity[2]) == (-1.0, 0.5)
    assert here.upper[2] == UR5E.upper[2]
    np.testing.assert_array_equal(here.space.states.joint_indices(), UR5E.space.states.joint_indices())
    told = "\n".join(list_deployed_fields(UR5E, here))
    assert "streams.joints.topic: joint_states -> /left/joint_states" in told
    assert "joint elbow_joint: left_elbow_joint" in told
    assert "action.limits.elbow_joint.velocity: 3.1415 -> 0.5" in told


def test_when_the_action_is_one_command_expect_it_under_the_name_action() -> None:
    here = cell(outputs={"action": {"topic": "/b/command", "latency_s": 0.03}}, joint_prefix="b_").over(
        FEED_DOG
    )
    assert (here.action.topic, here.action.latency_s) == ("/b/command", 0.03)
    assert here.action.names == tuple(f"b_{name}" for name in FEED_DOG.action.names)


def test_when_a_cartesian_command_is_deployed_expect_its_frame_and_turns() -> None:
    (part,) = (part for part in SERVO.action.parts if part.cartesian)
    assert part.rotation_limit is not None
    here = cell(
        outputs={part.name: {"frame_id": "left_base"}},
        rotation_limits={part.name: {"velocity": part.rotation_limit.velocity / 2}},
    ).over(SERVO)
    (now,) = (part for part in here.action.parts if part.cartesian)
    assert now.frame_id == "left_base"
    assert now.rotation_limit is not None
    assert now.rotation_limit.velocity == part.rotation_limit.velocity / 2
    with pytest.raises(
        EmbodimentError, match=rf"velocity limit 99 of the orientation of '{part.name}'.* wider"
    ):
        cell(rotation_limits={part.name: {"velocity": 99.0}}).over(SERVO)
    with refused(
        EmbodimentError,
        Code.INVALID,
        subject="the deployment over embodiment 'ur5e_servo', action, output 'tool', frame_id",
        value="map",
        problem="which jumps",
    ):
        cell(outputs={part.name: {"frame_id": "map"}}).over(SERVO)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"embodiment": "other"}, "is for the embodiment 'other', but this one is 'feed_dog'"),
        ({"streams": {"jonts": {}}}, "has the stream 'jonts', which .* has not, .*did you mean 'joints'"),
        ({"outputs": {"arm": {}}}, "has the output 'arm', which .* has not, expected one of action"),
        ({"limits": {"panda_joint": {}}}, "has the limit 'panda_joint'"),
        ({"joints": {"panda": "b"}}, "has the joint 'panda'"),
        ({"joints": {JOINT: "panda_joint2"}}, "two joints one name"),
        ({"joints": {"panda_joint1": "panda_joint2", "panda_joint2": "panda_joint1"}}, "never exchanges"),
        ({"joint_prefix": "a_", "joints": {}}, "joint_prefix and joints, expected one of them"),
        ({"streams": {"joints": {"topic": "bad name"}}}, "topic is 'bad name'"),
        ({"outputs": {"action": {"topic": FEED_DOG.action.topic, "type": "geometry_msgs/msg/PoseStamped"}}},
         "PoseStamped"),
        ({"streams": {"joints": {"topic": FEED_DOG.image_streams[0].topic}}}, "twice"),
        ({"limits": {JOINT: {"acceleration": 16.0}}}, r"acceleration limit 16 of 'panda_joint1'.* wider than .* 15"),
    ],
)  # fmt: skip
def test_when_it_does_not_fit_the_embodiment_expect_a_sentence(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(HptError, match=message):
        cell(**keys).over(FEED_DOG)


@pytest.mark.parametrize(
    "keys",
    [
        {"streams": {"joints": {"joints": ["panda_joint2"]}}},  # another order
        {"streams": {"joints": {"unit": "deg"}}},
        {"streams": {"joints": {"modality": "wrench"}}},
        {"streams": {"front": {"image": {"height": 8, "width": 8}}}},
        {"outputs": {"action": {"mode": "delta"}}},
        {"outputs": {"action": {"kind": "cartesian_pose"}}},
        {"tick_hz": 20.0},
        {"horizon": 4},
        {"stream": {}},
    ],
)
def test_when_it_changes_what_the_policy_means_expect_an_unknown_key(keys: dict[str, Any]) -> None:
    with pytest.raises(HptError, match="unknown key"):
        cell(**keys)


def test_when_a_key_is_misspelt_expect_the_nearest() -> None:
    with pytest.raises(HptError, match="unknown key 'joint_prefx'.*did you mean 'joint_prefix'"):
        cell(joint_prefx="left_")
    with refused(
        HptError,
        Code.INVALID,
        subject="deployment text, format",
        value="hpt_ros/embodiment/1",
        expected="hpt_ros/deployment/1",
        remedy="deployment",
    ):
        Deployment.loads(FEED_DOG.to_yaml())


fractions = st.floats(0.01, 1.0)


@given(velocity=fractions, acceleration=fractions, low=st.floats(0.0, 0.49), high=st.floats(0.0, 0.49))
def test_limits_are_never_wider_than_the_embodiments(
    velocity: float, acceleration: float, low: float, high: float
) -> None:
    assert LIMIT.lower is not None
    assert LIMIT.upper is not None
    assert LIMIT.velocity is not None
    span = LIMIT.upper - LIMIT.lower
    wanted = {
        "lower": LIMIT.lower + low * span,
        "upper": LIMIT.upper - high * span,
        "velocity": LIMIT.velocity * velocity,
        "acceleration": LIMIT.acceleration * acceleration,
    }
    deployment = cell(limits={JOINT: wanted})
    here = deployment.over(FEED_DOG)
    assert (here.lower >= FEED_DOG.lower).all()
    assert (here.upper <= FEED_DOG.upper).all()
    assert (here.max_velocity <= FEED_DOG.max_velocity).all()
    assert here.action.limits[0].velocity == wanted["velocity"]
    assert Deployment.loads(deployment.to_yaml()) == deployment
    assert deployment.over(here) == here  # laid over itself it changes nothing
    wider = cell(limits={JOINT: {"velocity": LIMIT.velocity * (1.0 + velocity)}})
    with refused(EmbodimentError, Code.OUT_OF_RANGE, subject="the deployment", problem="wider"):
        wider.over(FEED_DOG)


def edited(*pairs: tuple[str, str]) -> Embodiment:
    text = (FILES / "feed_dog.yaml").read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return Embodiment.loads(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("topic: joint_states", "topic: /robot2/joint_states"),
        ("panda_joint", "left_panda_joint"),
        ("qos: sensor_data", "qos: reliable"),
        ("acceleration: 15.0", "acceleration: 10.0"),
        ("  horizon: 16\n", "  horizon: 16\n  latency_s: 0.04\n"),
    ],
)
def test_when_an_embodiment_file_differs_as_a_deployment_may_expect_it_taken(old: str, new: str) -> None:
    robot = edited((old, new))
    assert require_deployable(FEED_DOG, robot, a_name="checkpoint 'c'", b_name="file 'f'") == robot


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("acceleration: 15.0", "acceleration: 16.0")], "acceleration limit 16 .* wider than the embodiment's 15"),
        ([("panda_joint1", "x"), ("panda_joint2", "panda_joint1"), ("x", "panda_joint2")], "joint"),
        ([("panda_joint7", "wrist_7")], "wrist_7"),
        ([("tick_hz: 10.0", "tick_hz: 5.0")], "tick_hz is 10.0 in the first and 5.0"),
        ([("modality: image", "modality: depth")], "modality"),
    ],
)  # fmt: skip
def test_when_it_differs_otherwise_expect_the_field_and_both_values(
    pairs: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(HptError, match=message):
        require_deployable(FEED_DOG, edited(*pairs), a_name="checkpoint 'c'", b_name="file 'f'")
