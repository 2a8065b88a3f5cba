# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages of any type and transforms at the live node: the policy sees them as a bag's are converted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped, Twist
from policy_rig import ROBOT, Ramp, Rig, Robot, policy_rig, wait_for
from rclpy.qos import DurabilityPolicy, QoSProfile
from support.interfaces import provide

from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.policies.loading import LoadedPolicy

provide("tf2_msgs")
from tf2_msgs.msg import TFMessage  # noqa: E402  # the stand-in is built first

FURTHER = (
    Stream(
        "touch",
        "state",
        "/touch",
        "geometry_msgs/msg/Twist",
        50.0,
        0.5,
        values=("linear.x", "angular.z"),
        unit="N",
    ),
    Stream(
        "tool", "state", "/tf", "tf2_msgs/msg/TFMessage", 50.0, 0.5, frame="base", child="tool0", unit="m"
    ),
)
WIDER = Embodiment.loads(replace(ROBOT, streams=(*ROBOT.streams, *FURTHER)).to_yaml())


def link(parent: str, child: str, stamp: Any, x: float) -> TransformStamped:
    found = TransformStamped(child_frame_id=child)
    found.header.frame_id, found.header.stamp = parent, stamp
    found.transform.translation.x, found.transform.rotation.w = x, 1.0
    return found


class Sending(Robot):  # type: ignore[misc]
    """Publishes a twist that is a touch, and its tool's pose as transforms, of which one was sent once, before."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.static = self.create_publisher(TFMessage, "/tf_static", latched)
        self.static.publish(
            TFMessage(transforms=[link("flange", "tool0", self.get_clock().now().to_msg(), 0.25)])
        )
        self.moving = self.create_publisher(TFMessage, "/tf", 10)
        self.touch = self.create_publisher(Twist, "/touch", 10)
        self.create_timer(0.02, self._send)

    def _send(self) -> None:
        touch = Twist()
        touch.linear.x, touch.angular.z = 1.5, -2.0
        self.touch.publish(touch)
        now = self.get_clock().now().to_msg()
        self.moving.publish(
            TFMessage(transforms=[link("base", "flange", now, 0.5), link("world", "base", now, 3.0)])
        )


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig(Sending) as made:
        yield made


def test_the_policy_sees_numbers_of_any_type_and_poses_of_frames(rig: Rig) -> None:
    policy = Ramp(rig.policy.rad_s)
    rig.policy = policy
    rig.start(loaded=LoadedPolicy(policy, WIDER, "", WIDER.observation_horizon), watchdog__timeout_s=10.0)
    wait_for(lambda: policy.seen, "an observation")
    state = np.asarray(policy.seen[-1].inputs["state"]).reshape(-1)
    joints = len(ROBOT.state_names)
    assert state.shape == (joints + 2 + 9,)
    np.testing.assert_allclose(state[joints:], [1.5, -2.0, 0.75, 0, 0, 1, 0, 0, 0, 1, 0], atol=1e-6)
