# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The scripted teleoperator as a ROS 2 node: it commands the arm through the topic that a person's device would use."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common import parameters
from hpt_ros.nodes.common.clocks import NodeClock, paced_timer
from hpt_ros.nodes.common.conversions import to_time
from hpt_ros.nodes.common.parameters import StrictParameters
from hpt_ros.nodes.common.spinning import run_node
from hpt_ros.sim.movement import NO_SPREAD, Spread
from hpt_ros.sim.panda import JOINT_NAMES
from hpt_ros.sim.tasks.feed_dog.teleoperator import ScriptedTeleoperator
from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class TeleopParameters:
    """ROS parameters of the node."""

    rate_hz: float = field("command rate", default=50.0, unit="Hz", minimum=1.0, maximum=100.0)
    lead_s: float = field(
        "how far ahead of its publication each commanded point lies",
        default=0.04,
        unit="s",
        minimum=0.0,
        maximum=1.0,
    )
    varied: bool = field(
        "vary the way points, tilt and tempo from one demonstration to the next", default=True
    )
    seed: int = field(
        "seed of the first demonstration's variation; each next one adds 1", default=0, minimum=0
    )


class TeleopNode(StrictParameters, Node):
    """Plays one scripted demonstration each time `~/start` (std_srvs/Trigger) is called.

    Needs /sim/bowl_pose and /joint_states; publishes one-point joint trajectories to /arm_controller/joint_trajectory
    in simulated time, and says on the latched topic `~/done` (std_msgs/Bool) whether it has finished. After the end
    it sends nothing more, and the arm holds.
    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        namespace: str = "",
        parameter_overrides: Sequence[Parameter[Any]] | None = None,
    ) -> None:
        overrides = [Parameter("use_sim_time", value=True), *(parameter_overrides or ())]
        super().__init__("teleop_node", context=context, namespace=namespace, parameter_overrides=overrides)
        self._settings = parameters.declare_fixed(self, TeleopParameters)
        self._demonstrations = 0
        self._bowl_xy_m: np.ndarray | None = None
        self._joints_rad: dict[str, float] = {}
        self._plan: ScriptedTeleoperator | None = None
        self._start_ns = 0  # control time
        self._time = NodeClock(self)

        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._commands = self.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", 20)
        self._done = self.create_publisher(Bool, "~/done", latched)
        self.create_subscription(PoseStamped, "sim/bowl_pose", self._on_bowl, latched)
        self.create_subscription(JointState, "joint_states", self._on_joints, 10)
        self.create_service(Trigger, "~/start", self._on_start)
        paced_timer(self, 1.0 / self._settings.rate_hz, self._on_timer)

    def close(self) -> None:
        """Stop commanding; idempotent."""
        self._plan = None

    def _on_bowl(self, message: PoseStamped) -> None:
        self._bowl_xy_m = np.array([message.pose.position.x, message.pose.position.y])

    def _on_joints(self, message: JointState) -> None:
        self._joints_rad = dict(zip(message.name, message.position, strict=True))

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            plan = self._make_plan()
        except HptError as error:
            response.message = str(error)
            return response
        self._demonstrations += 1
        self._done.publish(Bool(data=False))
        self._start_ns = self._time.now().control_ns
        self._plan = plan
        response.success, response.message = (
            True,
            f"the demonstration takes {plan.duration_s:.1f} s of simulated time",
        )
        return response

    def _make_plan(self) -> ScriptedTeleoperator:
        if self._plan is not None:
            raise HptError(
                Code.NOT_READY, "a demonstration", problem="is under way",
                remedy="wait until ~/done says true before starting the next",
            )  # fmt: skip
        if self._bowl_xy_m is None:
            raise HptError(
                Code.NOT_READY, "no /sim/bowl_pose", problem="has come yet", remedy="start sim_node first"
            )
        missing = [name for name in JOINT_NAMES if not math.isfinite(self._joints_rad.get(name, math.nan))]
        if missing:
            raise HptError(
                Code.NOT_READY, f"no /joint_states with {', '.join(missing)}", problem="have come yet",
                remedy="start sim_node first",
            )  # fmt: skip
        start_rad = np.array([self._joints_rad[name] for name in JOINT_NAMES])
        seed = self._settings.seed + self._demonstrations
        spread = Spread() if self._settings.varied else NO_SPREAD
        return ScriptedTeleoperator(self._bowl_xy_m, start_rad, seed=seed, spread=spread)

    def _on_timer(self) -> None:
        if self._plan is None:
            return
        now = self._time.now()
        time_s = (now.control_ns - self._start_ns) * 1e-9
        lead_s = self._settings.lead_s
        message = JointTrajectory(joint_names=list(JOINT_NAMES))
        message.header.stamp = to_time(now.ros_ns)
        reach = Duration(sec=int(lead_s), nanosec=round(lead_s % 1.0 * 1e9))
        point = JointTrajectoryPoint(
            positions=self._plan.target(time_s + lead_s).tolist(), time_from_start=reach
        )
        message.points = [point]
        self._commands.publish(message)
        if self._plan.done(time_s):
            self._plan = None
            self._done.publish(Bool(data=True))


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(TeleopNode, "teleop_node", args)


if __name__ == "__main__":
    sys.exit(main())
