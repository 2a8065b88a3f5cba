# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The scripted teleoperator on real DDS, with the simulated robot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from hpt_msgs.srv import GetTaskResult, ResetScene
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.sim.sim_node import SimNode
from hpt_ros.nodes.sim.teleop_node import TeleopNode
from hpt_ros.sim.panda import JOINT_NAMES, VELOCITY_RAD_S

WAIT_S = 120.0


class Operator(Node):
    """Starts demonstrations and watches them."""

    def __init__(self, context) -> None:
        super().__init__("operator", context=context)
        self.done: list[bool] = []
        self.sent: list[JointTrajectory] = []
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(
            Bool, "/teleop_node/done", lambda message: self.done.append(message.data), latched
        )
        self.create_subscription(JointTrajectory, "/arm_controller/joint_trajectory", self.sent.append, 100)
        self.known = {
            kind: self.create_client(kind, name)
            for kind, name in (
                (Trigger, "/teleop_node/start"),
                (ResetScene, "/sim/reset_scene"),
                (GetTaskResult, "/sim/task_result"),
            )
        }

    def call(self, kind, **fields):
        assert self.known[kind].wait_for_service(timeout_sec=WAIT_S)
        answered = threading.Event()
        future = self.known[kind].call_async(kind.Request(**fields))
        future.add_done_callback(lambda _: answered.set())
        assert answered.wait(WAIT_S)
        return future.result()

    def start(self):
        """Ask until the teleoperator has heard from the robot."""
        end_s = time.monotonic() + WAIT_S
        while "yet" in (answer := self.call(Trigger)).message:
            assert time.monotonic() < end_s, answer.message
            time.sleep(0.05)
        return answer


@pytest.fixture
def composition() -> Iterator[Composition]:
    with Composition() as found:
        yield found


def test_when_asked_expect_the_dog_fed_through_the_command_topic(composition):
    fast = [Parameter("real_time_factor", value=3.0)]
    sim = composition.add(SimNode(context=composition.context, parameter_overrides=fast))
    composition.add(TeleopNode(context=composition.context))
    operator = composition.add(Operator(composition.context))
    sim.start()
    assert operator.call(ResetScene, seed=3).success
    assert not operator.call(GetTaskResult).success
    assert operator.start().success
    again = operator.call(Trigger)
    assert not again.success
    assert "under way" in again.message
    end_s = time.monotonic() + WAIT_S
    while operator.done[-1:] != [True]:
        assert time.monotonic() < end_s
        time.sleep(0.02)
    assert operator.done == [False, True]
    assert operator.call(GetTaskResult).success

    sent = list(operator.sent)
    assert len(sent) > 100
    assert all(tuple(message.joint_names) == JOINT_NAMES for message in sent)
    due_s = np.array(
        [
            m.header.stamp.sec + (m.header.stamp.nanosec + m.points[0].time_from_start.nanosec) * 1e-9
            for m in sent
        ]
    )
    targets = np.array([message.points[0].positions for message in sent])
    assert (np.diff(due_s) > 0).all()
    speed = np.abs(np.diff(targets, axis=0)) / np.diff(due_s)[:, None]
    assert (speed < 0.55 * VELOCITY_RAD_S).all()
    assert sim.counters["refused"] == 0
    assert sim.counters["position_limit"] == 0


def test_when_no_robot_is_there_expect_the_start_refused_with_the_reason(composition):
    composition.add(TeleopNode(context=composition.context))
    operator = composition.add(Operator(composition.context))
    answer = operator.call(Trigger)
    assert not answer.success
    assert answer.message == "no /sim/embodiment has come yet; start sim_node first"
