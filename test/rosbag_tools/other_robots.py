# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Robots that are commanded otherwise than by a trajectory of joints, and their bags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg
from scipy.spatial.transform import Rotation
from support.tiny_robot import MS, START_NS

from rosbag_tools.bootstrap.first_embodiment import first_embodiment
from rosbag_tools.reading.reader import Bag

from .commanded import Commanded

JOG = Path(__file__).parents[1] / "support/control_msgs/msg/JointJog.msg"


NO_TURN = Rotation.identity()


FEEDBACK = "unique_identifier_msgs/UUID goal_id\nfloat64 position\n"  # only the name is used


ACTIONS = {
    "GripperCommand": "/hand/gripper_cmd",
    "ParallelGripperCommand": "/hand/driver",
    "FollowJointTrajectory": "/arm_controller/follow_joint_trajectory",
}


class Others(Commanded):
    """Messages of robots that are driven otherwise."""

    def __init__(self) -> None:
        super().__init__()
        types = get_types_from_msg(JOG.read_text(), "control_msgs/msg/JointJog")
        for action in ACTIONS:
            types |= get_types_from_msg(FEEDBACK, f"control_msgs/action/{action}_FeedbackMessage")
        self.store.register({name: types[name] for name in types if name.startswith("control_msgs")})
        self.topics |= {
            "/cmd_vel": "geometry_msgs/msg/TwistStamped",
            "/cmd_vel_nav": "geometry_msgs/msg/TwistStamped",
            "/drive/command": "geometry_msgs/msg/Twist",
            "/mecanum/reference": "geometry_msgs/msg/TwistStamped",
            "/odom": "nav_msgs/msg/Odometry",
            "/odometry/filtered": "nav_msgs/msg/Odometry",
            "/servo_node/delta_joint_cmds": "control_msgs/msg/JointJog",
            "/robot_description": "std_msgs/msg/String",
            "/hand/gripper_cmd/target": "sensor_msgs/msg/JointState",
            "/tf": "tf2_msgs/msg/TFMessage",
            **{
                f"{name}/_action/feedback": f"control_msgs/action/{kind}_FeedbackMessage"
                for kind, name in ACTIONS.items()
            },
        }

    def velocity(self, vx, vy, wz):
        linear, angular = (
            self.make("geometry_msgs/msg/Vector3", x=v[0], y=v[1], z=v[2])
            for v in ((vx, vy, 0.0), (0.0, 0.0, wz))
        )
        return self.make("geometry_msgs/msg/Twist", linear=linear, angular=angular)

    def odometry(self, stamp_ns, twist):
        pose = self.make("geometry_msgs/msg/PoseWithCovariance", pose=self.pose(0, (0, 0, 0), NO_TURN).pose,
                         covariance=np.zeros(36))  # fmt: skip
        twist = self.make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36))
        header = self.framed(stamp_ns, "odom")
        return self.make(
            "nav_msgs/msg/Odometry", header=header, child_frame_id="base_link", pose=pose, twist=twist
        )

    def drive(self, *topics, frame="base_link", vy=0.0, odometry=("/odom",), duration_s=6.0):
        """A base driven by these topics, with a camera."""
        found = self.pictures(duration_s)
        for index in range(int(duration_s * 50)):
            stamp, at_s = START_NS + index * 20 * MS, index * 0.02
            twist = self.velocity(0.3 * np.sin(at_s) ** 2, vy, 0.5 * np.cos(at_s))
            found += [(topic, stamp + MS, self.odometry(stamp, twist)) for topic in odometry]
            for topic in topics:
                message = twist
                if self.topics[topic].endswith("Stamped"):
                    message = self.make(
                        "geometry_msgs/msg/TwistStamped", header=self.framed(stamp, frame), twist=twist
                    )
                found.append((topic, stamp + 2 * MS, message))
        return sorted(found, key=lambda item: item[1])

    def pictures(self, duration_s):
        stamps = [START_NS + index * 100 * MS for index in range(int(duration_s * 10))]
        return [("/left", stamp + 3 * MS, self.image(index, stamp)) for index, stamp in enumerate(stamps)]

    def jog(self, stamp_ns, names, *, velocities=(), displacements=()):
        return self.make(
            "control_msgs/msg/JointJog", header=self.framed(stamp_ns, ""), joint_names=list(names),
            displacements=np.array(displacements), velocities=np.array(velocities), duration=0.02,
        )  # fmt: skip

    def feedback(self, kind):
        name = f"control_msgs/action/{kind}_FeedbackMessage"
        uuid = self.make("unique_identifier_msgs/msg/UUID", uuid=np.zeros(16, np.uint8))
        return f"{ACTIONS[kind]}/_action/feedback", self.make(name, goal_id=uuid, position=0.0)


@pytest.fixture(scope="module")
def others():
    return Others()


def first(path):
    with Bag.open(path) as bag:
        return first_embodiment(bag)
