# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A mobile base, from the shipped file: the real node over real DDS drives it within limits and tells it to stand."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drive_rig import Changing, active
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from policy_rig import wait_for
from rclpy.qos import qos_profile_sensor_data
from support.arm import COBOT, Arm
from tool_rig import Script, shipped

from hpt_ros.control import State
from hpt_ros.embodiment import Embodiment

STAMPED = shipped("diff_drive")
PLAIN = Embodiment.loads(
    STAMPED.to_yaml().replace("geometry_msgs/msg/TwistStamped", "geometry_msgs/msg/Twist")
)
MOTORS = replace(COBOT, sag=0.0)
ZEROS = 10  # sent again after the first


class Base(Changing):  # type: ignore[misc]
    """Publishes odometry at 100 Hz, with noise, and drives as it is commanded, with a lag."""

    def __init__(self, context: Any, robot: Embodiment) -> None:
        super().__init__("base", context)
        self.drive = Arm(MOTORS, np.zeros(2), time.monotonic_ns())
        self.velocity = np.zeros(2)  # told last
        self.told: list[np.ndarray] = []
        self.times_s: list[float] = []
        self.frames: set[str] = set()
        self.odometry = self.create_publisher(Odometry, robot.state_streams[0].topic, qos_profile_sensor_data)
        stamped = robot is STAMPED
        kind: Any = TwistStamped if stamped else Twist
        self.create_subscription(
            kind, robot.action.parts[0].topic, self._on_stamped if stamped else self._on_twist, 1000
        )
        self.create_timer(0.01, self._publish)

    def _on_stamped(self, message: TwistStamped) -> None:
        self.frames.add(message.header.frame_id)
        self._on_twist(message.twist)

    def _on_twist(self, twist: Twist) -> None:
        other = (twist.linear.y, twist.linear.z, twist.angular.x, twist.angular.y)
        assert other == (0.0, 0.0, 0.0, 0.0)
        self.velocity = np.array([twist.linear.x, twist.angular.z])
        self.told.append(self.velocity)
        self.times_s.append(time.monotonic())

    def _publish(self) -> None:
        message = Odometry()
        message.header.stamp, message.header.frame_id = self.get_clock().now().to_msg(), "odom"
        self.drive.advance(time.monotonic_ns(), self.velocity)
        message.twist.twist.linear.x, message.twist.twist.angular.z = self.drive.measured().tolist()
        self.odometry.publish(message)


@pytest.mark.parametrize("robot", [STAMPED, PLAIN], ids=["stamped", "plain"])
def test_a_base_is_driven_within_its_limits_and_told_zero_several_times_in_the_end(robot: Embodiment) -> None:
    policy = Script(robot, {}, {0: 0.4, 1: -1.0})
    with active(lambda context: Base(context, robot), robot, policy) as (base, node):
        wait_for(lambda: len(base.told) and np.abs(base.told[-1] - [0.4, -1.0]).max() < 1e-6, "the velocity")
        policy.fixed = {0: -0.6, 1: 9.0}  # beyond both limits
        wait_for(lambda: np.abs(base.told[-1] - [-0.2, 1.5]).max() < 1e-6, "the limits")
        assert node.counters()["clamped_velocity"] > 0
        node.stop("enough")
        wait_for(lambda: node.runtime is not None and node.runtime.controller.at_rest, "rest")
        wait_for(lambda: len(base.told) > ZEROS and not np.any(base.told[-1 - ZEROS :]), "zeros")
        count = len(base.told)
        time.sleep(0.3)
        assert len(base.told) == count  # then nothing: somebody else may drive it
        assert node.state is State.FAULT
    path, limits = np.array(base.told), robot.space.limits
    assert (path >= robot.lower).all()
    assert (path <= robot.upper).all()
    # One command may be commanded a timer's jitter early: over five periods that is little.
    changes = np.abs(path[5:] - path[:-5]) * robot.action.rate_hz / 5
    assert (np.quantile(changes, 0.9, axis=0) <= limits.velocity * 1.25).all()
    assert base.frames == ({"base_link"} if robot is STAMPED else set())


def test_when_the_node_is_deactivated_in_motion_expect_the_base_to_stand() -> None:
    with active(lambda context: Base(context, STAMPED), STAMPED, Script(STAMPED, {}, {0: 0.4})) as (base, _):
        wait_for(lambda: len(base.told) and base.told[-1][0] > 0.3, "motion")
        assert base.deactivate()
        wait_for(lambda: not np.any(base.told[-1 - ZEROS :]), "zeros")


def test_when_a_base_has_narrower_limits_forwards_expect_the_smaller_of_both() -> None:
    (limit, _) = STAMPED.action.limits
    assert (limit.lower, limit.upper) == (-0.2, 0.5)
    tight = replace(STAMPED, action=replace(
        STAMPED.action, limits=(replace(limit, velocity=0.1), STAMPED.action.limits[1]),
    ))  # fmt: skip
    assert (tight.lower[0], tight.upper[0]) == (-0.1, 0.1)
