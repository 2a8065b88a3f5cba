# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The embodiment file: reading, checking, comparing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.embodiment import Embodiment, EmbodimentError, require_match
from hpt_ros.embodiment.streams import in_namespace
from hpt_ros.errors import Code, HptError
from hpt_ros.structured import StructureError, to_mapping

FEED_DOG = Path(__file__).parents[2] / "config" / "embodiments" / "feed_dog.yaml"


@pytest.fixture
def data() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FEED_DOG.read_text())
    return loaded


def read(data: dict[str, Any]) -> Embodiment:
    return Embodiment.loads(yaml.safe_dump(data))


def changed(data: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy of `data` with `value` at `path`."""
    other = copy.deepcopy(data)
    place: Any = other
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return other


def test_every_shipped_file_loads_and_survives_a_round_trip() -> None:
    files = sorted(FEED_DOG.parent.glob("*.yaml"))
    assert FEED_DOG in files
    for path in files:
        embodiment = Embodiment.load(path)
        assert Embodiment.loads(embodiment.to_yaml()) == embodiment
        assert Embodiment.loads(embodiment.to_yaml()).to_yaml() == embodiment.to_yaml()


def test_names_and_limits_follow_the_order_of_the_file() -> None:
    embodiment = Embodiment.load(FEED_DOG)
    assert [stream.name for stream in embodiment.image_streams] == ["front", "wrist"]
    assert len(embodiment.state_names) == 7
    assert embodiment.state_names[0] == "panda_joint1.position"
    assert embodiment.upper[3] == pytest.approx(-0.0698)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("tick_hz",), 0, "'tick_hz' is 0 Hz, expected more than 0 Hz"),
        (("tick_hz",), "ten", "'tick_hz' is 'ten'.*expected float"),
        (("tick_hz",), float("nan"), "finite number"),
        (("tick_hz",), 10**400, "finite number"),
        (("format",), "hpt_ros/embodiment/9", "format is 'hpt_ros/embodiment/9'"),
        (("name",), "../evil", "lower-case letter"),
        (("streams",), [], "no streams"),
        (("streams", 0, "topic"), "front camera", "a topic name such as"),
        (("streams", 0, "topic"), "front//camera", "a topic name such as"),
        (("streams", 0, "topic"), "~/camera", "a topic name such as"),
        (("streams", 0, "topic"), "joint_states", "stream topic '/joint_states' twice"),
        (("streams", 0, "modality"), "imge", "did you mean 'image'"),
        (("streams", 0, "modality"), "state", "has type sensor_msgs/msg/Image and modality 'state'"),
        (("streams", 0, "image"), None, "lacks the key 'image'"),
        (("streams", 0, "name"), "wrist", "'wrist' twice"),
        (("streams", 0, "colour"), "red", "unknown key 'colour'"),
        (("streams", 2, "joints"), [], "needs 'joints'"),
        (("streams", 2, "fields"), ["position", "position"], "twice"),
        (("action", "names"), ["panda_joint1"], "give one limit per name"),
        (("action", "horizon"), 0, "has horizon 0, expected 2 or more"),
        (("action", "horizon"), 1, "time of its observation, which is over when the chunk comes; raise it"),
        (("action", "limits", 0, "lower"), 3.0, "lower < upper"),
        (("action", "limits", 0, "velocity"), 0.0, "more than 0"),
        (("observation_horizon",), True, "expected int"),
    ],
)
def test_when_a_field_is_wrong_expect_one_sentence_that_names_it(
    data: dict[str, Any], path: tuple[Any, ...], value: Any, message: str
) -> None:
    with pytest.raises(HptError, match=message):
        read(changed(data, path, value))


def test_when_a_key_is_missing_expect_its_name_and_meaning(data: dict[str, Any]) -> None:
    del data["streams"][0]["rate_hz"]
    with pytest.raises(StructureError, match=r"item 0 lacks the key 'rate_hz' \(rate at which"):
        read(data)


def test_when_the_file_is_missing_expect_its_path() -> None:
    with pytest.raises(StructureError, match="'no/such.yaml' does not exist"):
        Embodiment.load("no/such.yaml")


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "a: [", "!!python/object/apply:os.system ['true']", "[" * 5000]
)
def test_when_the_text_is_no_mapping_expect_an_error_and_nothing_run(text: str) -> None:
    with pytest.raises(StructureError, match="mapping|not valid YAML"):
        Embodiment.loads(text)


def test_when_embodiments_agree_expect_silence(data: dict[str, Any]) -> None:
    other = copy.deepcopy(data)
    other["description"] = "another word for the same robot"
    require_match(read(data), read(other), a_name="bag 'a'", b_name="file 'b'")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("tick_hz",), 20.0, "tick_hz is 10.0 in the first and 20.0"),
        (("streams", 1, "topic"), "/hand/image", "streams.wrist.topic is /wrist_camera/image_raw"),
        (("action", "limits", 2, "velocity"), 1.0, "action.limits.panda_joint3.velocity is 2.175"),
    ],
)
def test_when_embodiments_differ_expect_the_field_and_both_values(
    data: dict[str, Any], path: tuple[Any, ...], value: Any, message: str
) -> None:
    other = changed(data, path, value)
    with pytest.raises(EmbodimentError, match=message):
        require_match(read(data), read(other), a_name="bag 'a'", b_name="file 'b'")


@pytest.mark.parametrize(
    ("path", "value", "settled_by"),
    [
        (("observation_horizon",), 4, {"all"}),
        (("action", "horizon"), 8, {"all"}),
        (("streams", 0, "rate_hz"), 30.0, {"all"}),
        (("streams", 2, "partial"), True, {"all"}),
        (("tick_hz",), 20.0, {"all", "dataset"}),
        (("streams", 0, "image"), {"height": 48, "width": 64}, {"all", "dataset"}),
        (("streams", 2, "unit"), "deg", {"all", "dataset", "bag"}),
        (("action", "topic"), "/other", {"all", "dataset", "bag"}),
    ],
)
def test_bags_and_datasets_leave_open_what_they_do_not_settle(
    data: dict[str, Any], path: tuple[Any, ...], value: Any, settled_by: set[str]
) -> None:
    other = changed(data, path, value)
    refused = set()
    for settled in ("all", "dataset", "bag"):
        try:
            require_match(read(data), read(other), a_name="a", b_name="b", settled=settled)
        except EmbodimentError:
            refused.add(settled)
    assert refused == settled_by


def test_when_the_order_of_views_differs_expect_an_error(data: dict[str, Any]) -> None:
    other = copy.deepcopy(data)
    other["streams"] = [other["streams"][1], other["streams"][0], other["streams"][2]]
    with refused(EmbodimentError, Code.MISMATCH, subject="bag 'a' and file 'b'", problem="order of streams"):
        require_match(read(data), read(other), a_name="bag 'a'", b_name="file 'b'")


@given(
    tick_hz=st.floats(0.1, 1000.0),
    horizon=st.integers(2, 256),
    joints=st.lists(st.from_regex(r"[a-z]{1,8}_joint", fullmatch=True), min_size=1, max_size=9, unique=True),
    description=st.text(max_size=60),
)
def test_any_valid_embodiment_survives_yaml(
    tick_hz: float, horizon: int, joints: list[str], description: str
) -> None:
    data = yaml.safe_load(FEED_DOG.read_text())
    data |= {"tick_hz": tick_hz, "description": description}
    data["action"] |= {
        "horizon": horizon,
        "names": joints,
        "limits": [{"name": j, "lower": -1, "upper": 1, "velocity": 1, "acceleration": 2} for j in joints],
    }
    embodiment = read(data)
    assert Embodiment.loads(embodiment.to_yaml()) == embodiment
    assert to_mapping(embodiment)["action"]["names"] == joints


def test_position_indices_find_each_commanded_joint(data: dict[str, Any]) -> None:
    joints = data["streams"][2]["joints"]
    assert read(data).space.states.joint_indices().tolist() == list(range(7))
    data["streams"][2] |= {"joints": joints[::-1], "fields": ["velocity", "position"]}
    assert read(data).space.states.joint_indices().tolist() == [13, 12, 11, 10, 9, 8, 7]


def test_when_a_commanded_joint_is_not_observed_expect_it_named(data: dict[str, Any]) -> None:
    data["streams"][2]["joints"].pop()
    with refused(
        EmbodimentError,
        Code.INVALID,
        subject="embodiment 'feed_dog'",
        value="panda_joint7",
        problem="but no stream has its position",
        remedy="position",
    ):
        read(data).space.states.joint_indices()


def test_when_only_joint_states_may_be_partial_expect_others_refused(data: dict[str, Any]) -> None:
    with refused(
        EmbodimentError,
        Code.UNEXPECTED,
        subject="embodiment text, stream 'front'",
        problem="is a stream of sensor_msgs/msg/Image with partial: true",
    ):
        read(changed(data, ("streams", 0, "partial"), True))
    assert read(changed(data, ("streams", 2, "partial"), True)).streams[2].partial


def test_when_the_rate_of_commands_is_left_out_expect_100_hz(data: dict[str, Any]) -> None:
    del data["action"]["rate_hz"]
    assert read(data).action.rate_hz == 100.0
    assert "rate_hz: 100.0" in read(data).to_yaml()


def test_when_limits_are_left_to_a_urdf_expect_the_file_read_and_the_first_said_when_they_are_needed(
    data: dict[str, Any],
) -> None:
    for key in ("lower", "velocity"):
        del data["action"]["limits"][2][key]
    robot = read(data)
    assert robot.action.limits[2].missing == ("lower", "velocity")
    assert Embodiment.loads(robot.to_yaml()) == robot
    for needed in (lambda: robot.lower, lambda: robot.space.limits):
        with refused(
            EmbodimentError,
            Code.MISSING,
            subject="embodiment 'feed_dog'",
            value="panda_joint3",
            problem="leaves the lower limit of",
        ):
            needed()


def test_when_an_acceleration_is_left_out_expect_error_since_no_urdf_has_one(data: dict[str, Any]) -> None:
    del data["action"]["limits"][2]["acceleration"]
    with pytest.raises(StructureError, match="lacks the key 'acceleration'"):
        read(data)


def test_when_a_limit_of_a_cartesian_axis_is_left_out_expect_error() -> None:
    servo = yaml.safe_load((FEED_DOG.parent / "ur5e_servo.yaml").read_text())
    del servo["action"]["limits"][1]["velocity"]
    with refused(
        EmbodimentError,
        Code.MISSING,
        subject="embodiment text, action, limit of 'tool.y'",
        value="velocity",
        problem="which only joints may leave",
    ):
        read(servo)


def test_a_relative_topic_and_the_absolute_one_that_it_is_outside_of_namespaces_agree(
    data: dict[str, Any],
) -> None:
    relative = Embodiment.loads(yaml.safe_dump(data))
    absolute = relative.with_topics(in_namespace)
    assert relative.to_yaml() != absolute.to_yaml()
    require_match(relative, absolute, a_name="a", b_name="b")
    assert relative.with_topics(lambda topic: in_namespace(topic, "/cell/left")).topics == {
        f"/cell/left/{topic}": type_ for topic, type_ in relative.topics.items()
    }
    with refused(
        EmbodimentError,
        Code.MISMATCH,
        subject="a and b",
        problem="topic is /cell/front_camera/image_raw in the first",
    ):
        require_match(
            relative.with_topics(lambda topic: in_namespace(topic, "/cell")), absolute, a_name="a", b_name="b"
        )
