# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who takes the commands, and who else sends some, on the real middleware."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from policy_rig import COMMANDS, Rig, policy_rig, wait_for
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from support.refused import assert_refusal
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.control import State
from hpt_ros.control.link import CommandLink, CommandTopic
from hpt_ros.control.refusals import Why


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def other(rig: Rig, name: str, namespace: str = "") -> Node:
    node: Node = rig.composition.add(Node(name, context=rig.composition.context, namespace=namespace))
    return node


def stop_listening(rig: Rig) -> None:
    for item in list(rig.robot.subscriptions):
        if item.topic_name == COMMANDS:
            rig.robot.destroy_subscription(item)


def reason(rig: Rig) -> str:
    assert rig.node is not None
    assert rig.node.runtime is not None
    return str(rig.node.runtime.controller.activation.waiting_for)


def test_when_nobody_takes_the_commands_expect_waiting_with_the_topic_and_holding_when_they_go(rig):
    stop_listening(rig)
    node = rig.start(safety__hold_timeout_s=30.0)
    wait_for(lambda: COMMANDS in reason(rig), "the reason")
    recorder = other(rig, "recorder_node")
    recorder.create_subscription(JointTrajectory, COMMANDS, lambda _: None, 10)
    wait_for(lambda: "/recorder_node only records" in reason(rig), "the recorder's name")
    mistaken = other(rig, "mistaken")
    latched = QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )  # which our commands do not offer
    mistaken.create_subscription(JointTrajectory, COMMANDS, lambda _: None, latched)
    wait_for(lambda: "/mistaken" in reason(rig), "the other quality of service")
    assert node.state is State.WAITING
    rig.robot.statuses.clear()
    wait_for(lambda: rig.robot.statuses, "the status")
    assert rig.robot.statuses[-1].reason == "command_unheard"
    assert rig.robot.statuses[-1].fault.endswith("[command_unheard]")
    taker = other(rig, "controller")
    taking = taker.create_subscription(JointTrajectory, COMMANDS, lambda _: None, 10)
    rig.until(State.RUNNING)
    taker.destroy_subscription(taking)
    rig.until(State.HOLDING)
    assert_refusal(
        node.runtime.controller.activation.reason, Why.UNSUBSCRIBED, match="^commands reach nobody, they want"
    )
    assert node.counters()["unheard_stops"] == 1
    taker.create_subscription(JointTrajectory, COMMANDS, lambda _: None, 10)
    rig.until(State.RUNNING)


@pytest.mark.parametrize(("name", "namespace"), [("teleop", ""), ("teleop", "/cell"), ("policy_node", "")])
def test_when_another_node_commands_expect_a_fault_that_names_it_until_it_is_gone(rig, name, namespace):
    node = rig.start()
    rig.until_moving()
    rival = other(rig, name, namespace)
    commanding = rival.create_publisher(JointTrajectory, COMMANDS, 10)
    rig.until(State.FAULT)
    contested = node.runtime.controller.latched
    assert_refusal(
        contested, Why.PUBLISHED, subject=f"{namespace}/{name}", problem=f"publishes on {COMMANDS} too"
    )
    wait_for(lambda: node.runtime.controller.filter.at_rest, "rest")
    assert node.clear_fault()[0]
    rig.until(State.FAULT)  # it is still there
    rival.destroy_publisher(commanding)
    wait_for(lambda: not node.runtime.controller.monitors.link.contested, "its end")
    wait_for(lambda: node.clear_fault()[0], "the fault's end")
    rig.until(State.RUNNING)


@pytest.mark.parametrize("permitted", ["/cell/teleop", "/**/teleop", "/*/teleop"])
def test_when_another_node_is_permitted_expect_motion(rig, permitted):
    node = rig.start(outputs__permitted_publishers=[permitted])
    other(rig, "teleop", "/cell").create_publisher(JointTrajectory, COMMANDS, 10)
    rig.until_moving()
    wait_for(lambda: rig.robot.count_publishers(COMMANDS) == 2, "the other publisher")
    time.sleep(0.5)  # more than two looks
    assert node.state is not State.FAULT
    assert not node.runtime.controller.monitors.link.contested


def test_a_link_that_was_told_nothing_stops_nothing_and_all_that_is_wrong_is_said():
    link = CommandLink()
    assert not link.unheard
    assert not link.contested
    link.note_topics(
        [CommandTopic("/arm", taken=False), CommandTopic("/hand", taken=False, rivals=("node /a", "node /b"))]
    )
    arm, hand = link.unheard.value
    assert_refusal(arm, Why.UNSUBSCRIBED, subject="a subscriber on /arm")
    assert_refusal(hand, Why.UNSUBSCRIBED, subject="a subscriber on /hand")
    rivals = ("node /a", "node /b")
    assert_refusal(
        link.contested, Why.PUBLISHED, value=rivals, match="^node /a, node /b publishes on /hand too, so"
    )
    link.note_topics([CommandTopic("/arm")])
    assert not link.unheard
    assert not link.contested
