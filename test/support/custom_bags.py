# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags with topics of types that only the bag knows."""

from __future__ import annotations

import pytest
from rosbags.typesys import get_types_from_msg
from support.tiny_robot import MS, START_NS

from hpt_ros.embodiment import Embodiment
from rosbag_tools import bag_schema
from rosbag_tools.bootstrap.first_embodiment import first_embodiment
from rosbag_tools.reading.reader import Bag

CUSTOM = {
    "control_msgs/msg/GripperCommand": "float64 position\nfloat64 max_effort\n",
    "control_msgs/msg/InterfaceValue": "string[] interface_names\nfloat64[] values\n",
    "control_msgs/msg/DynamicJointState": (
        "std_msgs/Header header\nstring[] joint_names\ncontrol_msgs/InterfaceValue[] interface_values\n"
    ),
    "my_msgs/msg/Hand": "std_msgs/Header header\nmy_msgs/Finger[2] fingers\nstring name\n",
    "my_msgs/msg/Finger": "float32 bend\nbool touches\n",
}


OWN = {bag_schema.EVENTS_TOPIC, bag_schema.EMBODIMENT_TOPIC}


@pytest.fixture
def maker(robot):
    """The tiny robot, whose messages may be of further types."""
    for name, text in CUSTOM.items():
        robot.store.register(get_types_from_msg(text, name))
    return robot


def at(count=60, every_ms=50):
    return [START_NS + index * every_ms * MS for index in range(count)]


def with_topics(robot, path, further, types, without=()):
    messages = [item for item in robot.messages() if item[0] not in without] + further
    return robot.write(path, sorted(messages, key=lambda item: item[1]), types=types)


def first(bag, **options):
    with Bag.open(bag) as opened:
        made = first_embodiment(opened, **options)
        with_messages = {name for name, topic in opened.topics.items() if topic.count} - OWN
    return made, Embodiment.loads(made.text), with_messages
