# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Grippers and arms that are commanded by actions, and jogged joints: real action servers over real DDS."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from support.interfaces import provide

provide()
from control_msgs.action import FollowJointTrajectory, GripperCommand, ParallelGripperCommand  # noqa: E402
from drive_rig import Changing, active, sent_by_another  # noqa: E402
from policy_rig import wait_for  # noqa: E402
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse  # noqa: E402
from rclpy.callback_groups import ReentrantCallbackGroup  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from rclpy.task import Future  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from support.arm import COBOT, Arm  # noqa: E402
from tool_rig import Script, shipped  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from hpt_ros.control import State  # noqa: E402
from hpt_ros.embodiment import Embodiment  # noqa: E402
from hpt_ros.nodes.common.composition import Composition  # noqa: E402
from hpt_ros.nodes.policy.waiting import Code  # noqa: E402

FRANKA = shipped("franka_gripper")
PARALLEL = Embodiment.loads(
    FRANKA.to_yaml().replace("action/GripperCommand", "action/ParallelGripperCommand")
)
ARM_NAMES, FINGER = FRANKA.action.names[:7], FRANKA.action.names[7]
HOME = np.array([0.0, -0.8, 0.0, -2.0, 0.0, 1.8, 0.7, 0.02])
KINDS: dict[str, Any] = {
    "control_msgs/action/GripperCommand": GripperCommand,
    "control_msgs/action/ParallelGripperCommand": ParallelGripperCommand,
    "control_msgs/action/FollowJointTrajectory": FollowJointTrajectory,
}


class Hand(Changing):  # type: ignore[misc]
    """An arm that lags and sags, and a hand behind an action server: one that ends a goal when a newer one comes."""

    def __init__(self, context: Any, robot: Embodiment, *, server: bool = True) -> None:
        super().__init__("hand", context)
        self.robot = robot
        self.arm, self.fingers = Arm(COBOT, HOME[:7], time.monotonic_ns()), HOME[7]
        self.told_arm = HOME[:7] - COBOT.sag
        self.rejects = self.aborts = self.holds = False
        self.never: Any = None  # what a driver waits for that does not come back
        self.goals: list[tuple[float, Any]] = []
        self.targets: list[float] = []
        self.cancels = 0
        self.server: Any = None
        arm, hand = robot.action.parts
        self.create_subscription(JointTrajectory, arm.topic, self._on_arm, 100)
        self.create_subscription(
            JointState, f"{hand.topic}/target", lambda m: self.targets.append(m.position[0]), 1000
        )
        self.states = self.create_publisher(JointState, "/joint_states", qos_profile_sensor_data)
        self.create_timer(0.01, self._publish)
        if server:
            self.serve()

    def serve(self) -> None:
        hand = self.robot.action.parts[1]
        self.server = ActionServer(
            self, KINDS[hand.type], hand.topic, self._execute, goal_callback=self._on_goal,
            cancel_callback=self._on_cancel, callback_group=ReentrantCallbackGroup(),
        )  # fmt: skip

    def _on_goal(self, request: Any) -> GoalResponse:
        self.goals.append((time.monotonic(), request))
        return GoalResponse.REJECT if self.rejects else GoalResponse.ACCEPT

    def _on_cancel(self, handle: Any) -> CancelResponse:
        self.cancels += 1
        return CancelResponse.ACCEPT

    async def _execute(self, handle: Any) -> Any:
        if self.never is not None:
            await self.never
        result = KINDS[self.robot.action.parts[1].type].Result()
        if self.aborts or self.holds:
            result.stalled = self.holds  # the driver's word for an object between the fingers
            handle.abort()
            return result
        command = handle.request.command
        position = command.position if isinstance(command.position, float) else command.position[0]
        self.fingers = position
        handle.succeed()
        return result

    def _on_arm(self, message: JointTrajectory) -> None:
        self.told_arm = np.array(message.points[-1].positions)

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        self.arm.advance(time.monotonic_ns(), self.told_arm)
        for names, values in ((ARM_NAMES, self.arm.measured().tolist()), ([FINGER], [float(self.fingers)])):
            message = JointState(name=list(names), position=values)
            message.header.stamp = stamp
            self.states.publish(message)

    def positions(self) -> list[float]:
        return [_position(goal) for _, goal in self.goals]


def _position(goal: Any) -> float:
    found = goal.command.position
    return float(found if isinstance(found, float) else found[0])


@pytest.mark.parametrize("robot", [FRANKA, PARALLEL], ids=["GripperCommand", "ParallelGripperCommand"])
def test_a_hand_is_told_where_to_go_once_and_keeps_it_through_a_stop(robot: Embodiment) -> None:
    policy = Script(robot, {}, {})
    with active(lambda context: Hand(context, robot), robot, policy) as (hand, node):
        wait_for(lambda: node.state is State.RUNNING, "RUNNING")
        time.sleep(0.5)
        assert hand.goals == []  # where its fingers are is nothing to tell it: it would let go of an object
        for target in (0.0, 0.035):
            count = len(hand.goals)
            policy.fixed = {7: target}
            wait_for(lambda count=count: len(hand.goals) > count, "a goal")
            time.sleep(0.7)
            assert hand.positions()[-1] == pytest.approx(target, abs=1e-9)
            assert len(hand.goals) <= count + 2
        assert hand.targets[-1] == pytest.approx(0.035)
        node.stop("enough")
        time.sleep(0.5)
        assert hand.cancels == 0
        assert hand.positions()[-1] == pytest.approx(0.035)
        goal = hand.goals[-1][1].command
        effort = goal.max_effort if robot is FRANKA else goal.effort[0]
        assert effort == 20.0
        if robot is PARALLEL:
            assert list(goal.name) == [FINGER]


def test_many_targets_become_goals_no_faster_than_the_file_says() -> None:
    policy = Script(FRANKA, {}, {7: 0.0})
    with active(lambda context: Hand(context, FRANKA), FRANKA, policy) as (hand, _):
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            policy.fixed = {7: float(0.04 * (1 - policy.fixed[7] / 0.04))}
            time.sleep(0.15)
        policy.fixed = {7: 0.01}
        wait_for(lambda: hand.positions()[-1:] == [pytest.approx(0.01)], "the last target")
        times = np.array([at for at, _ in hand.goals])
    assert len(times) <= 8
    assert (np.diff(times) > 0.4).all()  # 2 Hz, less what the transport varies


def test_when_a_driver_does_not_come_back_from_a_goal_expect_the_arm_to_move_on_and_the_next_target_sent() -> (
    None
):
    """frankarobotics/franka_ros#281: two minutes of silence."""
    policy = Script(FRANKA, {0: 0.1}, {7: 0.0})
    with active(lambda context: Hand(context, FRANKA), FRANKA, policy) as (hand, node):
        hand.never = Future()
        wait_for(lambda: hand.goals, "a goal")
        count, moved = len(hand.goals), hand.arm.position[0]
        policy.fixed = {7: 0.03}
        wait_for(lambda: len(hand.goals) > count and hand.arm.position[0] > moved + 0.05, "both go on")
        assert hand.positions()[-1] == pytest.approx(0.03, abs=1e-9)
        assert node.state is State.RUNNING
        hand.never.set_result(None)


def test_without_a_server_the_robot_waits_and_says_which_action_and_goes_on_when_it_comes() -> None:
    policy = Script(FRANKA, {}, {7: 0.0})
    with active(lambda context: Hand(context, FRANKA, server=False), FRANKA, policy) as (hand, node):

        def why() -> Any:
            with node.lock:
                return node.reason(node.now_ns)

        wait_for(lambda: why() is not None and why().code is Code.ACTION_SERVER, "the reason")
        assert "/fr3_gripper/gripper_action" in why().text
        assert node.state is State.WAITING
        hand.serve()
        wait_for(lambda: node.state is State.RUNNING, "RUNNING")
        wait_for(lambda: hand.goals, "a goal")
        hand.server.destroy()
        wait_for(lambda: node.state is State.HOLDING, "HOLDING")
        count = len(hand.goals)
        hand.serve()
        wait_for(lambda: len(hand.goals) > count, "the last target again")
        assert hand.positions()[-1] == 0.0


@pytest.mark.parametrize("how", ["rejects", "aborts", "holds"])
def test_a_goal_that_fails_is_told_and_nothing_crashes(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    policy = Script(FRANKA, {}, {7: 0.0})
    with active(lambda context: Hand(context, FRANKA), FRANKA, policy) as (hand, node):
        setattr(hand, how, True)
        wait_for(lambda: hand.goals, "a goal")
        if how == "rejects":
            wait_for(lambda: len(hand.goals) > 1, "the goal again")
            assert hand.goals[1][0] - hand.goals[0][0] > 0.8
        time.sleep(0.5)
        assert node.state is State.RUNNING
    said = capfd.readouterr().err
    words = {"rejects": "rejected a goal", "aborts": "aborted its goal", "holds": ""}[how]
    assert ("gripper_action" in said and words in said) if words else ("aborted its goal" not in said)


@pytest.mark.parametrize("robot", [FRANKA, PARALLEL], ids=["GripperCommand", "ParallelGripperCommand"])
def test_when_another_node_sends_the_hand_a_goal_expect_a_fault_that_names_it(robot: Embodiment) -> None:
    policy = Script(robot, {}, {7: 0.0})
    with Composition() as composition:  # of the other's, whose client was there before and did nothing
        rival = composition.add(Node("moveit", context=composition.context, namespace="/cell"))
        hand_output = robot.action.parts[1]
        kind = KINDS[hand_output.type]
        idle = ActionClient(rival, kind, f"/{hand_output.topic}")
        with active(lambda context: Hand(context, robot), robot, policy) as (hand, node):
            wait_for(lambda: hand.goals, "a goal")
            policy.fixed = {7: 0.03}
            wait_for(lambda: len(hand.goals) > 1, "another goal")
            time.sleep(0.5)
            assert node.state is State.RUNNING  # neither goals of ours nor a client that sends none
            sent_by_another(rival, kind, f"/{hand_output.topic}", kind.Goal())
            wait_for(lambda: node.state is State.FAULT, "FAULT")
            assert node.runtime is not None
            why = f"node /cell/moveit sends goals to the action /{hand_output.topic} too"
            assert why in str(node.runtime.controller.latched)
            assert node.counters()["contested_stops"] == 1
            link = node.runtime.controller.monitors.link
            wait_for(lambda: not link.contested, "the end of it")  # that goal is done with
            wait_for(lambda: node.clear_fault()[0], "the fault's end")
            wait_for(lambda: node.state is State.RUNNING, "RUNNING")
            assert idle.server_is_ready()


def test_when_another_node_is_permitted_to_send_goals_expect_motion() -> None:
    policy, name = Script(FRANKA, {}, {7: 0.0}), f"/{FRANKA.action.parts[1].topic}"
    with Composition() as composition:
        rival = composition.add(Node("teleop", context=composition.context, namespace="/cell"))
        permitted = {"outputs__permitted_publishers": ["/**/teleop"]}
        with active(lambda context: Hand(context, FRANKA), FRANKA, policy, **permitted) as (hand, node):
            wait_for(lambda: hand.goals, "a goal")
            sent_by_another(rival, GripperCommand, name, GripperCommand.Goal())
            wait_for(lambda: len(hand.goals) > 1, "the other's goal")
            time.sleep(1.5)
            assert node.state is State.RUNNING


def test_goals_of_before_are_no_rivals_of_a_hand_that_holds() -> None:
    policy, name = Script(FRANKA, {}, {7: 0.03}), f"/{FRANKA.action.parts[1].topic}"
    with Composition() as composition:
        hand = composition.add(Hand(composition.context, FRANKA))
        sent_by_another(hand, GripperCommand, name, GripperCommand.Goal())
        with active(lambda context: Changing("operator", context), FRANKA, policy) as (_, node):
            wait_for(lambda: len(hand.goals) > 1, "a goal of ours")
            time.sleep(1.5)
            assert node.state is State.RUNNING
