# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags as `ros2 bag record` leaves them: no embodiment, no markers, and the metadata of each ROS 2 distribution."""

from __future__ import annotations

import json

import pytest
import yaml

from hpt_ros.cli.main import main
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag

# What rmw gives for "no deadline": the largest duration.
FOREVER = {"sec": 9223372036, "nsec": 854775807}
NUMBERS = {"history": 3, "depth": 0, "reliability": 2, "durability": 2, "liveliness": 1}
WORDS = {
    "history": "unknown", "depth": 0, "reliability": "best_effort", "durability": "volatile",
    "liveliness": "automatic",
}  # fmt: skip


def profiles(values):
    times = dict.fromkeys(("deadline", "lifespan", "liveliness_lease_duration"), FOREVER)
    return [{**values, **times, "avoid_ros_namespace_conventions": False}]


# Version of the metadata, and how it says a quality of service: as a text of numbers, or as words.
DISTRIBUTIONS = {
    "humble": (5, yaml.safe_dump(profiles(NUMBERS))),
    "iron": (7, yaml.safe_dump(profiles(NUMBERS))),
    "jazzy": (9, profiles(WORDS)),
    "kilted": (9, profiles(WORDS)),
}


@pytest.fixture(params=list(DISTRIBUTIONS))
def distribution(request):
    return request.param


@pytest.fixture(params=["mcap", "sqlite3"])
def recorded(robot, tmp_path, distribution, request):
    """A bag whose metadata are that distribution's; topics that nobody published are listed too."""
    bag = robot.write(tmp_path / "bag", storage=request.param)
    version, qos = DISTRIBUTIONS[distribution]
    place = bag / "metadata.yaml"
    content = yaml.safe_load(place.read_text())
    about = content["rosbag2_bagfile_information"]
    about["version"] = version
    if version < 6:
        del about["custom_data"], about["ros_distro"]
    else:
        about["custom_data"], about["ros_distro"] = None, distribution
    silent = [("/rosout", "rcl_interfaces/msg/Log"), ("/grip", "no_such_msgs/msg/Grip")]
    about["topics_with_message_count"] += [
        {
            "topic_metadata": {
                "name": name, "type": type_, "serialization_format": "cdr", "type_description_hash": "",
            },
            "message_count": 0,
        }
        for name, type_ in silent
    ]  # fmt: skip
    for entry in about["topics_with_message_count"]:
        entry["topic_metadata"]["offered_qos_profiles"] = qos
        if version < 7:
            del entry["topic_metadata"]["type_description_hash"]
    place.write_text(yaml.safe_dump(content))
    return bag


def test_it_is_inspected(robot, recorded):
    with Bag.open(recorded) as bag:
        topics = inspect(bag, robot.embodiment).topics
        assert bag.embodiment_text() is None
    assert (topics["/joint_states"].count, topics["/rosout"].count, topics["/grip"].count) == (150, 0, 0)
    assert topics["/grip"].type == "no_such_msgs/msg/Grip"
    assert "joints" in topics["/joint_states"].used_by


def test_it_is_converted_as_one_episode_with_the_embodiment_file(recorded, embodiment_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["convert", str(recorded), "--embodiment", str(embodiment_file), "--out", str(out)]) == 0
    assert "1 episode" in capsys.readouterr().out
    (episode,) = json.loads((out / "meta/hpt/report.json").read_text())["episodes"]
    assert (episode["outcome"], episode["task"]) == ("unknown", "push the button")


def test_without_an_embodiment_file_expect_the_remedy(recorded, tmp_path, capsys):
    assert main(["convert", str(recorded), "--out", str(tmp_path / "out")]) == 2
    assert "carries no embodiment; pass --embodiment FILE" in capsys.readouterr().err
