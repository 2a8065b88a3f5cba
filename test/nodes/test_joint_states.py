# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real node with joint states as drivers send them that are not connected, published twice, or out of order."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from policy_rig import HOME, ROBOT, Rig, Robot, policy_rig, wait_for
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from second_publishers import SecondStates
from sensor_msgs.msg import JointState

from hpt_ros.control import State

TOPIC, NAMES = ROBOT.state_streams[0].topic, list(ROBOT.action.names)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def fault(rig: Rig) -> str:
    return str(rig.robot.statuses[-1].fault) if rig.robot.statuses else ""


def test_when_a_second_node_publishes_other_joint_states_while_moving_expect_rest_within_limits_and_a_fault(
    rig,
):
    rig.start()
    rig.until_moving()
    rig.composition.add(SecondStates(rig.composition.context, HOME + 1.0))
    rig.until(State.FAULT)
    rig.until_rest()
    rig.check_limits()
    wait_for(lambda: "contradicts itself" in fault(rig), "the reason in the status")
    assert "a second node publishes there" in fault(rig)


def test_when_a_second_node_publishes_other_joint_states_at_rest_expect_waiting_with_the_reason_until_it_ends(
    rig,
):
    second = rig.composition.add(SecondStates(rig.composition.context, HOME + 1.0))
    node = rig.start()
    wait_for(lambda: "a second node publishes there" in fault(rig), "the reason in the status")
    assert rig.state() is State.WAITING
    assert rig.robot.commands == []
    rig.composition.remove(second)
    rig.until(State.RUNNING)
    assert node.counters()["faults"] == 0


def test_when_one_message_of_many_is_all_zeros_expect_it_dropped_and_motion_all_the_same(rig):
    node = rig.start()
    rig.until_moving()
    second = SecondStates(rig.composition.context, HOME + 1.0)
    rig.composition.add(second)
    second.destroy_timer(next(iter(second.timers)))
    before = node.counters()["invalid_messages"]
    for _ in range(2):
        second.publish()
        time.sleep(1.2)
    assert node.counters()["invalid_messages"] >= before + 1
    seen = np.array([item.inputs["state"][0, -1] for item in rig.policy.seen])
    assert (seen < HOME + 0.9).all()
    assert node.counters()["faults"] == 0


def test_when_joint_states_are_kept_for_late_subscribers_expect_the_old_ones_to_start_nothing(rig):
    rig.robot.joints_on = False
    qos = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    driver = rig.composition.add(Node("driver", context=rig.composition.context))
    message = JointState(name=NAMES, position=HOME.tolist())
    message.header.stamp = driver.get_clock().now().to_msg()
    driver.create_publisher(JointState, TOPIC, qos).publish(message)
    time.sleep(0.5)
    rig.start()
    time.sleep(0.5)
    assert rig.state() is State.WAITING
    assert rig.robot.commands == []


class Unconnected(Robot):  # type: ignore[misc]
    """Its driver goes on with its last joint states, stamped anew, when the robot is not connected any more."""

    connected = True

    def _publish_joints(self) -> None:
        if self.connected:
            super()._publish_joints()
            return
        message = JointState(name=self.names, position=self.measured.tolist())
        message.header.stamp = self._now()
        self.joints.publish(message)


def test_when_a_driver_repeats_its_last_joint_states_expect_rest_within_limits_and_a_fault_that_names_the_joint():
    with policy_rig(Unconnected) as rig:
        rig.start()
        rig.until_moving()
        rig.robot.connected = False
        rig.until(State.FAULT)
        rig.until_rest()
        rig.check_limits()
        wait_for(lambda: "from what it was commanded" in fault(rig), "the reason")
