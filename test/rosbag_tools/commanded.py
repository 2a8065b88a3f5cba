# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags of a robot that is commanded in several ways: an arm with a gripper, and a tool by its pose or its twist."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation
from support.tiny_robot import MS, START_NS, Robot

ARM, FINGER = ("shoulder", "elbow", "wrist"), "robotiq_finger_joint"
LAG_S = 0.04  # the robot is where it was commanded to be, that much later


def arm_at(time_s):
    """Commanded joint positions."""
    return np.array([np.sin(time_s), 0.5 * np.cos(1.3 * time_s), 0.2 * time_s])


def grip_at(time_s):
    """The gripper's command: closed every other second."""
    return 0.7 * float(int(time_s) % 2)


def place_at(time_s):
    """Commanded position of the tool, m."""
    return np.array([0.4 + 0.1 * np.sin(time_s), 0.1 * np.cos(time_s), 0.3 + 0.02 * time_s])


def turn_at(time_s):
    """Commanded orientation of the tool."""
    return Rotation.from_rotvec([0.3 * np.sin(time_s), 0.4 * time_s, 0.1])


class Commanded(Robot):  # type: ignore[misc]
    """Messages of cameras, joints, measured pose and every kind of command."""

    def __init__(self) -> None:
        super().__init__()
        self.topics = {
            **Robot.topics,
            "/joint_states": "sensor_msgs/msg/JointState",
            "/arm_controller/joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
            "/arm_controller/joint_commands": "sensor_msgs/msg/JointState",
            "/gripper_controller/commands": "std_msgs/msg/Float64MultiArray",
            "/gripper/command": "std_msgs/msg/Float64",
            "/tcp_pose_broadcaster/pose": "geometry_msgs/msg/PoseStamped",
            "/servo_node/pose_target_cmds": "geometry_msgs/msg/PoseStamped",
            "/servo_node/delta_twist_cmds": "geometry_msgs/msg/TwistStamped",
            "/block/pose": "geometry_msgs/msg/PoseStamped",
        }

    def framed(self, stamp_ns, frame="base"):
        header = self.header(stamp_ns)
        header.frame_id = frame
        return header

    def joint_state(self, stamp_ns, joints, values):
        empty = np.zeros(0)
        return self.make(
            "sensor_msgs/msg/JointState", header=self.header(stamp_ns), name=list(joints),
            position=np.array(values, dtype=np.float64), velocity=empty, effort=empty,
        )  # fmt: skip

    def trajectory(self, stamp_ns, values):
        message = self.command(0.0, stamp_ns, ARM)
        message.points[0].positions = np.array(values)
        return message

    def numbers(self, values):
        layout = self.make("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
        return self.make("std_msgs/msg/Float64MultiArray", layout=layout, data=np.array(values, np.float64))

    def pose(self, stamp_ns, place, rotation, frame="base"):
        x, y, z, w = rotation.as_quat()
        spot = self.make("geometry_msgs/msg/Point", x=place[0], y=place[1], z=place[2])
        turn = self.make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
        pose = self.make("geometry_msgs/msg/Pose", position=spot, orientation=turn)
        return self.make("geometry_msgs/msg/PoseStamped", header=self.framed(stamp_ns, frame), pose=pose)

    def twist(self, stamp_ns, linear, angular):
        along, around = (
            self.make("geometry_msgs/msg/Vector3", x=v[0], y=v[1], z=v[2]) for v in (linear, angular)
        )
        twist = self.make("geometry_msgs/msg/Twist", linear=along, angular=around)
        return self.make("geometry_msgs/msg/TwistStamped", header=self.framed(stamp_ns), twist=twist)

    def record(self, *kinds, duration_s=6.0):
        """A recording at 50 Hz and 10 pictures a second, in log-time order.

        Kinds: "trajectory", "joint_commands" (of the arm); "array", "number" (of the gripper, when it changes); "pose",
        "twist" (of the tool).
        """
        found = []
        for index in range(int(duration_s * 10)):
            stamp = START_NS + index * 100 * MS - 7 * MS
            found.append(("/left", stamp + 3 * MS, self.image(index, stamp)))
        grip = None
        for index in range(int(duration_s * 50)):
            stamp = START_NS + index * 20 * MS - 10 * MS
            at_s = index * 0.02
            then_s = max(at_s - LAG_S, 0.0)
            # Two broadcasters in turn on one topic.
            arm = self.joint_state(stamp, ARM, arm_at(then_s))
            finger = self.joint_state(stamp + 2 * MS, [FINGER], [grip_at(then_s)])
            found += [("/joint_states", stamp + MS, arm), ("/joint_states", stamp + 3 * MS, finger)]
            measured = self.pose(stamp, place_at(then_s), turn_at(then_s))
            found.append(("/tcp_pose_broadcaster/pose", stamp + MS, measured))
            found.append(
                ("/block/pose", stamp + MS, self.pose(stamp, [1.0, 0.0, 0.0], turn_at(0.0), "camera"))
            )
            arrived, values = stamp + 2 * MS, arm_at(at_s)
            if "trajectory" in kinds:
                found.append(("/arm_controller/joint_trajectory", arrived, self.trajectory(stamp, values)))
            if "joint_commands" in kinds:
                message = self.joint_state(stamp, ARM, values)
                found.append(("/arm_controller/joint_commands", arrived, message))
            if "pose" in kinds:
                message = self.pose(stamp, place_at(at_s), turn_at(at_s))
                found.append(("/servo_node/pose_target_cmds", arrived, message))
            if "twist" in kinds:
                speed = (place_at(at_s + 1e-3) - place_at(at_s - 1e-3)) / 2e-3
                message = self.twist(stamp, speed, [0.0, 0.4, 0.1 * np.cos(at_s)])
                found.append(("/servo_node/delta_twist_cmds", arrived, message))
            if grip != grip_at(at_s):
                grip = grip_at(at_s)
                if "array" in kinds:
                    found.append(("/gripper_controller/commands", arrived, self.numbers([grip])))
                if "number" in kinds:
                    found.append(("/gripper/command", arrived, self.make("std_msgs/msg/Float64", data=grip)))
        return sorted(found, key=lambda item: item[1])
