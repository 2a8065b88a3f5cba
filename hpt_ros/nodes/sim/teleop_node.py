# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The scripted teleoperator as a ROS 2 node: the environment's expert, on the topics that a person's device uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from hpt_msgs.msg import ActionChunk
from hpt_msgs.srv import GetTaskResult
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.messages import time_ns
from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.expert import Target
from hpt_ros.nodes.common import parameters
from hpt_ros.nodes.common.parameters import StrictParameters
from hpt_ros.nodes.common.run import run_node
from hpt_ros.nodes.policy.outputs import Sender, robot_senders
from hpt_ros.nodes.sim.sim_node import EMBODIMENT_TOPIC, EXPERT_TOPIC, LATCHED
from hpt_ros.structured import field

COMMAND_DEPTH = 20
JUDGED_S = 0.5  # simulated time between looks at the task


@dataclass(frozen=True, slots=True)
class TeleopParameters:
    """ROS parameters of the node."""

    lead_s: float = field(
        "how much later than the expert means it each command is due, for the way from the simulator and back",
        default=0.1, unit="s", minimum=0.0, maximum=1.0,
    )  # fmt: skip


class TeleopNode(StrictParameters, Node):
    """Demonstrates once each time `~/start` (std_srvs/Trigger) is called, until the task is done.

    Needs sim_node: /sim/embodiment says what is commanded and how, /sim/expert_action what the expert does. Publishes
    the embodiment's commands, and says on the latched topic `~/done` (std_msgs/Bool) whether it has finished. After the
    end it sends nothing more, and the robot holds. `~/stop` (std_srvs/Trigger) ends it before.

    Attributes:
        ready: is done once it knows the robot.
    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        namespace: str = "",
        parameter_overrides: Sequence[Parameter[Any]] | None = None,
        watch: Callable[[Target], None] | None = None,
    ) -> None:
        """Wait for the simulator's embodiment; `watch` is shown each command."""
        overrides = [Parameter("use_sim_time", value=True), *(parameter_overrides or ())]
        super().__init__("teleop_node", context=context, namespace=namespace, parameter_overrides=overrides)
        settings = parameters.declare_fixed(self, TeleopParameters)
        self._lead_ns = round(settings.lead_s * NS_PER_S)
        self._watch = watch
        self.ready: Future[None] = Future()
        self._robot: Embodiment | None = None
        self._senders: list[tuple[Sender, Any]] = []
        self._actions: Any = None  # the subscription, while it demonstrates
        self._last: tuple[int, NDArray[np.float64]] | None = None
        self._judged_ns = 0
        self._done = self.create_publisher(Bool, "~/done", LATCHED)
        self._task: Any = self.create_client(GetTaskResult, "sim/task_result")
        self.create_subscription(String, EMBODIMENT_TOPIC, self._on_embodiment, LATCHED)
        self.create_service(Trigger, "~/start", self._on_start)
        self.create_service(Trigger, "~/stop", self._on_stop)

    def close(self) -> None:
        """Stop commanding; idempotent."""
        if self._actions is not None:
            self.destroy_subscription(self._actions)
            self._actions = None

    def _on_embodiment(self, message: String) -> None:
        robot = Embodiment.loads(str(message.data), where=f"the embodiment on {EMBODIMENT_TOPIC}")
        if robot == self._robot:
            return
        self.close()
        for _, publisher in self._senders:
            self.destroy_publisher(publisher)
        self._robot = robot
        self._senders = [
            (sender, self.create_publisher(sender.kind, sender.topic, QoSProfile(depth=COMMAND_DEPTH)))
            for sender in robot_senders(robot)
        ]
        if not self.ready.done():
            self.ready.set_result(None)

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._start()
        except HptError as error:
            response.message = str(error)
            return response
        response.success, response.message = True, "the demonstration goes on until the task is done"
        return response

    def _start(self) -> None:
        if self._actions is not None:
            raise HptError(
                Code.NOT_READY, "a demonstration", problem="is under way",
                remedy="wait until ~/done says true before starting the next",
            )  # fmt: skip
        if self._robot is None:
            raise HptError(
                Code.NOT_READY,
                f"no /{EMBODIMENT_TOPIC}",
                problem="has come yet",
                remedy="start sim_node first",
            )
        if not self.count_publishers(EXPERT_TOPIC):
            raise HptError(
                Code.UNSUPPORTED, "the simulator's environment", problem="has no expert",
                remedy="demonstrate by hand: 'hpt teleop'",
            )  # fmt: skip
        self._done.publish(Bool(data=False))
        self._last, self._judged_ns = None, self._now_ns()
        self._actions = self.create_subscription(ActionChunk, EXPERT_TOPIC, self._on_action, 10)

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._actions is not None
        response.message = "stopped" if response.success else "no demonstration is under way"
        self._finish()
        return response

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_action(self, message: ActionChunk) -> None:
        robot = self._robot
        if robot is None or self._actions is None:
            return
        action = np.array(message.values, dtype=np.float64)
        position = robot.space.to_control(action[None], np.empty(0))[0]
        period_ns = round(message.dt_s * NS_PER_S)
        due_ns = time_ns(message.observation_stamp) + self._lead_ns
        velocity = np.zeros_like(position)
        if self._last is not None and due_ns > self._last[0]:
            for turn in robot.space.turns:  # of a quaternion's two signs the one that is nearer
                if self._last[1][turn : turn + 4] @ position[turn : turn + 4] < 0.0:
                    position[turn : turn + 4] *= -1.0
            velocity = (position - self._last[1]) * (NS_PER_S / (due_ns - self._last[0]))
        self._last = due_ns, position
        now_ns = time_ns(message.header.stamp)
        target = Target(due_ns, position, velocity, period_ns)
        if self._watch is not None:
            self._watch(target)
        for sender, publisher in self._senders:
            publisher.publish(sender.message(target, now_ns))  # type: ignore[arg-type]
        if now_ns - self._judged_ns >= JUDGED_S * NS_PER_S:
            self._judged_ns = now_ns
            asked = self._actions  # an answer that comes late is not of the next demonstration
            self._task.call_async(GetTaskResult.Request()).add_done_callback(
                lambda future: self._on_result(future, asked)
            )

    def _on_result(self, future: Any, asked: Any) -> None:
        if asked is self._actions and future.exception() is None and future.result().success:
            self._finish()

    def _finish(self) -> None:
        if self._actions is not None:
            self.close()
            self._done.publish(Bool(data=True))


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(TeleopNode, "teleop_node", args)


if __name__ == "__main__":
    sys.exit(main())
