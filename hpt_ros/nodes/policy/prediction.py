# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the policy means to go, for RViz and Foxglove: the way of the newest chunk, as nav_msgs/Path.

Of a Cartesian command it is the way of its pose. Of joints it is that of one link, which needs a model of the robot,
the parameter robot_description: without one nothing is drawn, and the log says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode

from hpt_ros.control.chunk import NS_PER_S, Chunk, Vector
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.conversions import to_time
from hpt_ros.runtime.policy_config import PolicyNodeConfig
from hpt_ros.runtime.policy_runtime import PolicyRuntime


@dataclass(frozen=True, slots=True)
class Drawing:
    """How chunks become paths.

    Attributes:
        place: x, y, z in m, and where it is known the quaternion x, y, z, w, of a control vector (dim,).
        frame_id: that they are in.
    """

    place: Callable[[Vector], Vector]
    frame_id: str

    def path(self, chunk: Chunk, now_ns: int) -> Any:
        """nav_msgs/Path of a chunk: a pose for each action, stamped with its time; not turned where a link is drawn."""
        message = Path()
        message.header.frame_id, message.header.stamp = self.frame_id, to_time(now_ns)
        for number, action in enumerate(chunk.values):
            values = [float(value) for value in self.place(action)]
            pose = PoseStamped()
            pose.header.frame_id = self.frame_id
            pose.header.stamp = to_time(chunk.observation_ns + round(number * chunk.dt_s * NS_PER_S))
            pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = values[:3]
            if len(values) > 3:
                turn = pose.pose.orientation
                turn.x, turn.y, turn.z, turn.w = values[3:]
            message.poses.append(pose)
        return message


def drawing_of(runtime: PolicyRuntime, config: PolicyNodeConfig) -> Drawing | None:
    """How to draw for this robot; None for joints without a robot_description.

    Raises:
        HptError: a link that the robot does not have, or an output that is not Cartesian.
    """
    wanted, frame = config.prediction.link, config.prediction.frame
    poses = {part.output.name: part for part in runtime.embodiment.space.parts if part.output.cartesian}
    if poses:
        chosen = poses[_find_frame(wanted, tuple(poses), "Cartesian outputs of the embodiment file")]
        return Drawing(lambda action: action[chosen.control], frame or chosen.output.frame_id)
    kinematics = runtime.kinematics
    if not config.robot_description or kinematics is None:
        return None
    from hpt_ros.runtime.kinematics import root_link

    link = kinematics.links.index(_find_frame(wanted, kinematics.links, "moving links of robot_description"))
    return Drawing(
        lambda action: kinematics.origins(action)[link], frame or root_link(config.robot_description)
    )


def _find_frame(wanted: str, names: tuple[str, ...], what: str) -> str:
    """The name wanted, or the last."""
    if wanted and wanted not in names:
        raise HptError(
            Code.UNKNOWN, "the parameter prediction.link", wanted,
            expected=f"one of the {what}: {', '.join(names)[:300]}", known=names,
            remedy="name one of these",
        )  # fmt: skip
    return wanted or names[-1]


class Prediction:
    """The topic ~/predicted_path of a configured node."""

    def __init__(self, node: LifecycleNode, runtime: PolicyRuntime, config: PolicyNodeConfig) -> None:
        """Make the publisher, if there is something to draw with.

        Raises:
            HptError: as of `drawing_of`.
        """
        self._node, self.runtime = node, runtime
        self._drawing = drawing_of(runtime, config)
        self._paths: Any = None
        if self._drawing is None:
            node.get_logger().info("robot_description is empty: ~/predicted_path is not drawn")
            return
        self._paths = node.create_lifecycle_publisher(Path, "~/predicted_path", 1)

    def draw(self, now_ns: int) -> None:
        """Publish the way of the newest chunk, if somebody looks."""
        chunk = self.runtime.controller.newest_chunk
        if self._drawing is None or chunk is None or not self._paths.get_subscription_count():
            return
        named = replace(chunk, observation_ns=self.runtime.to_ros(chunk.observation_ns))
        self._paths.publish(self._drawing.path(named, now_ns))

    def close(self) -> None:
        """Release the publisher."""
        if self._paths is not None:
            self._node.destroy_lifecycle_publisher(self._paths)
            self._paths = None
            self._drawing = None
