# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Streams of every modality: what the file must say of them, and what their elements are named."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from support.refused import refused

from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.embodiment.schema import require_match
from hpt_ros.errors import Code, HptError

TEXT = """
format: hpt_ros/embodiment/1
name: everything
tick_hz: 10.0
streams:
  - {name: eye, modality: image, topic: /eye, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 8, width: 12}}
  - {name: near, modality: depth, topic: /near, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 8, width: 12}}
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 50.0,
     tolerance_s: 0.1, joints: [a, b], fields: [position, velocity]}
  - {name: hand, modality: state, topic: /hand, type: geometry_msgs/msg/PoseStamped, rate_hz: 50.0, tolerance_s: 0.1}
  - {name: speed, modality: state, topic: /speed, type: geometry_msgs/msg/TwistStamped, rate_hz: 50.0,
     tolerance_s: 0.1}
  - {name: numbers, modality: state, topic: /numbers, type: std_msgs/msg/Float64MultiArray, rate_hz: 50.0,
     tolerance_s: 0.1, length: 2}
  - {name: wrist, modality: wrench, topic: /wrench, type: geometry_msgs/msg/WrenchStamped, rate_hz: 100.0,
     tolerance_s: 0.05}
  - {name: skin, modality: tactile, topic: /skin, type: std_msgs/msg/Float32MultiArray, rate_hz: 20.0,
     tolerance_s: 0.15, length: 3}
  - {name: cloud, modality: pointcloud, topic: /cloud, type: sensor_msgs/msg/PointCloud2, rate_hz: 10.0,
     tolerance_s: 0.15, points: 5}
  - {name: instruction, modality: language, topic: /task, type: std_msgs/msg/String, rate_hz: 1.0, tolerance_s: 1.0}
action: {topic: /c, type: trajectory_msgs/msg/JointTrajectory, names: [a], rate_hz: 10.0, horizon: 2,
  limits: [{name: a, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 1.0}]}
"""


@pytest.fixture
def data() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(TEXT)
    return loaded


def read(data: dict[str, Any]) -> Embodiment:
    return Embodiment.loads(yaml.safe_dump(data))


def with_stream(data: dict[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    """A copy in which a stream has other values; None takes a key out."""
    other = copy.deepcopy(data)
    stream = next(item for item in other["streams"] if item["name"] == name)
    for key, value in changes.items():
        if value is None:
            del stream[key]
        else:
            stream[key] = value
    return other


def test_elements_of_vectors_are_named_after_joints_or_streams() -> None:
    robot = Embodiment.loads(TEXT)
    assert robot.state_names[:6] == (
        "a.position",
        "b.position",
        "a.velocity",
        "b.velocity",
        "hand.x",
        "hand.y",
    )
    assert robot.state_names[-2:] == ("numbers.0", "numbers.1")
    assert robot.names_of("wrench")[3] == "wrist.torque.x"
    assert robot.names_of("language") == ()
    assert [stream.name for stream in robot.streams_of("state")] == ["joints", "hand", "speed", "numbers"]
    assert robot.stream("instruction").shape == ()


def test_every_modality_survives_yaml() -> None:
    robot = Embodiment.loads(TEXT)
    assert Embodiment.loads(robot.to_yaml()) == robot


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("near", {"image": None}, "'near' lacks the key 'image'"),
        ("near", {"modality": "wrench"}, "gives 'image' or 'depth'"),
        ("hand", {"modality": "wrench"}, "type geometry_msgs/msg/PoseStamped and modality 'wrench'"),
        ("hand", {"joints": ["a"]}, "takes no key 'joints'"),
        ("skin", {"length": None}, "tactile stream of std_msgs/msg/Float32MultiArray, which needs the key 'length'"),
        ("skin", {"points": 4}, "takes no key 'points'"),
        ("cloud", {"points": None}, "needs the key 'points'"),
        ("cloud", {"points": 20_000}, "16384"),
        ("cloud", {"image": {"height": 8, "width": 8}}, "takes no key 'image'"),
        ("instruction", {"length": 4}, "takes no key 'length'"),
        ("instruction", {"partial": True}, "only JointState can be"),
        ("joints", {"length": 4}, "takes no key 'length'"),
    ],
)  # fmt: skip
def test_when_a_stream_contradicts_itself_expect_the_key_named(
    data: dict[str, Any], name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(HptError, match=message):
        read(with_stream(data, name, **changes))


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        (
            "skin",
            {"length": 4},
            r"tactile streams of the shapes skin \[3\], second \[4\], expected one shape for all",
        ),
        ("cloud", {"points": 6}, r"pointcloud streams of the shapes cloud \[5, 3\], second \[6, 3\]"),
        ("instruction", {}, "language streams instruction, second, expected one at most"),
        ("eye", {"topic": "/eye"}, "stream topic '/eye' twice"),
        ("joints", {"joints": ["c", "a"]}, "state element 'a.position' twice"),
    ],
)
def test_when_two_streams_do_not_go_together_expect_why(
    data: dict[str, Any], name: str, other: dict[str, Any], message: str
) -> None:
    first = next(item for item in data["streams"] if item["name"] == name)
    data["streams"].append({**first, "name": "second", "topic": "/second", **other})
    with pytest.raises(EmbodimentError, match=message):
        read(data)


def test_a_second_stream_of_the_same_shape_is_welcome(data: dict[str, Any]) -> None:
    for name in ("eye", "near", "wrist", "skin", "cloud"):
        first = next(item for item in data["streams"] if item["name"] == name)
        data["streams"].append({**first, "name": f"{name}2", "topic": f"/{name}2"})
    robot = read(data)
    assert robot.stream("skin2").shape == (3,)
    assert len(robot.names_of("wrench")) == 12


@pytest.mark.parametrize(
    ("name", "encoding", "expected"),
    [
        (
            "near",
            "bgr8",
            "depth stream with the encoding 'bgr8', expected one of 16UC1, 16SC1, mono16, 32FC1",
        ),
        ("eye", "32FC1", "image stream with the encoding '32FC1', expected one of rgb8, bgr8"),
        ("joints", "bgr8", "state stream with the encoding 'bgr8', expected none"),
    ],
)
def test_when_an_encoding_is_not_of_the_modality_expect_those_that_are(
    data: dict[str, Any], name: str, encoding: str, expected: str
) -> None:
    with pytest.raises(EmbodimentError, match=expected):
        read(with_stream(data, name, encoding=encoding))


def test_an_encoding_is_in_the_text_of_the_stream_that_has_one_and_is_no_matter_of_a_dataset(
    data: dict[str, Any],
) -> None:
    plain, given = read(data), read(with_stream(data, "eye", encoding="bgr8"))
    assert "encoding" not in plain.to_yaml()
    assert given.to_yaml().count("encoding: bgr8") == 1
    assert Embodiment.loads(given.to_yaml()) == given
    require_match(plain, given, a_name="a", b_name="b", settled="dataset")
    with refused(EmbodimentError, Code.MISMATCH, subject="a and b", problem="streams.eye.encoding"):
        require_match(plain, given, a_name="a", b_name="b")
