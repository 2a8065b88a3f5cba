# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A first embodiment file takes the state from what controllers report, where nothing else measures it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg
from support.custom_bags import at, first, with_topics

from hpt_ros.dataset import open_dataset
from rosbag_tools.converting.convert import convert
from rosbag_tools.reading.reader import Bag

CONTROLLER = "control_msgs/msg/JointTrajectoryControllerState"


CONTROLLER_TEXT = "std_msgs/Header header\nstring[] joint_names\n" + "".join(
    f"trajectory_msgs/JointTrajectoryPoint {name}\n" for name in ("desired", "actual", "feedback")
)


def controller_state(robot, stamp_ns, names, positions, field):
    empty = {name: np.zeros(0) for name in ("velocities", "accelerations", "effort")}
    zero = robot.make("builtin_interfaces/msg/Duration", sec=0, nanosec=0)

    def point(values):
        return robot.make(
            "trajectory_msgs/msg/JointTrajectoryPoint",
            positions=np.asarray(values, float),
            time_from_start=zero,
            **empty,
        )

    points = {
        "desired": point(positions),
        "feedback": point([]),
        "actual": point([]),
        field: point(positions),
    }
    return robot.make(CONTROLLER, header=robot.header(stamp_ns), joint_names=list(names), **points)


@pytest.mark.parametrize("field", ["feedback", "actual"])
def test_joints_that_only_a_controller_reports_become_the_state(maker, tmp_path, field):
    maker.store.register(get_types_from_msg(CONTROLLER_TEXT, CONTROLLER))
    further, topic = [], "/arm_controller/controller_state"
    for index, ns in enumerate(at()):
        names, positions = ["b", "a"], [0.5, index * 0.01]
        if index == 20:  # between two starts of the controller
            names, positions = names[::-1], positions[::-1]
        message = controller_state(maker, ns, names, positions, field)
        if index == 0:  # before it is active
            message = controller_state(maker, ns, [], [], field)
        further.append((topic, ns, message))
    bag = with_topics(maker, tmp_path / "bag", further, {topic: CONTROLLER}, without=("/joint_states",))
    made, robot, _ = first(bag)
    (stream,) = robot.state_streams
    assert (stream.topic, stream.joints) == ("arm_controller/controller_state", ("b", "a"))
    assert stream.values == tuple(f"{field}.positions[joint_names={name}]" for name in ("b", "a"))
    assert not [line for line in made.left_out if topic in line]
    convert([bag], tmp_path / "data", robot)
    state = open_dataset(tmp_path / "data").state
    np.testing.assert_allclose(state[:, 0], 0.5)
    assert np.ptp(state[:, 1]) > 0.3


def test_of_what_controllers_report_only_what_nothing_else_measures_is_taken(maker, tmp_path):
    maker.store.register(get_types_from_msg(CONTROLLER_TEXT, CONTROLLER))
    with Bag.open(with_topics(maker, tmp_path / "plain", [], {})) as bag:
        (said,) = itertools.islice(bag.messages(["/joint_states"]), 1)
    further, topic = [], "/arm_controller/controller_state"
    for index, ns in enumerate(at()):
        names = [*said.content.name, "finger"]
        positions = [*said.content.position, index * 0.01]
        further.append((topic, ns, controller_state(maker, ns, names, positions, "feedback")))
        further.append(("/other", ns, controller_state(maker, ns, names[:1], positions[:1], "feedback")))
    made, robot, _ = first(
        with_topics(maker, tmp_path / "bag", further, {topic: CONTROLLER, "/other": CONTROLLER})
    )
    joints = {stream.topic: stream.joints for stream in robot.state_streams}
    assert joints["arm_controller/controller_state"] == ("finger",)
    assert "finger" not in joints["joint_states"]
    assert [line for line in made.left_out if line.startswith("'/other': /joint_states measures its joints")]
