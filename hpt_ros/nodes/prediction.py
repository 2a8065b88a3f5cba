"""Where the policy means to go, for RViz and Foxglove: the way of one link over the newest chunk, as nav_msgs/Path.

It needs a model of the robot: the parameter robot_description. Without one nothing is drawn, and the log says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode

from hpt_ros.control import Kinematics
from hpt_ros.control.chunk import NS_PER_S, Chunk
from hpt_ros.errors import HptError, did_you_mean
from hpt_ros.nodes.conversions import to_time
from hpt_ros.nodes.pilot import Pilot
from hpt_ros.nodes.policy_config import PolicyNodeConfig


@dataclass(frozen=True, slots=True)
class Drawing:
    """How chunks become paths.

    Attributes:
        kinematics: of the robot.
        link: index of the link among its links.
        frame_id: that its origins are in.
    """

    kinematics: Kinematics
    link: int
    frame_id: str

    def path(self, chunk: Chunk, now_ns: int) -> Any:
        """nav_msgs/Path of a chunk of joint positions: a pose for each action, stamped with its time, not turned."""
        message = Path()
        message.header.frame_id, message.header.stamp = self.frame_id, to_time(now_ns)
        for number, action in enumerate(chunk.values):
            at = self.kinematics.origins(action)[self.link]
            pose = PoseStamped()
            pose.header.frame_id = self.frame_id
            pose.header.stamp = to_time(chunk.observation_ns + round(number * chunk.dt_s * NS_PER_S))
            pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = (float(value) for value in at)
            message.poses.append(pose)
        return message


def drawing_of(pilot: Pilot, config: PolicyNodeConfig) -> Drawing | None:
    """How to draw for this robot; None without a robot_description.

    Raises:
        HptError: a link that the robot does not have.
    """
    if not config.robot_description or pilot.kinematics is None:
        return None
    from hpt_ros.nodes.kinematics import root_link

    links, wanted = pilot.kinematics.links, config.prediction.link
    if wanted and wanted not in links:
        raise HptError(
            f"the parameter prediction.link is {wanted!r}, but the moving links of robot_description are "
            f"{', '.join(links)[:300]}{did_you_mean(wanted, links) or '; name one of these'}"
        )
    return Drawing(
        pilot.kinematics,
        links.index(wanted) if wanted else len(links) - 1,
        config.prediction.frame or root_link(config.robot_description),
    )


class Prediction:
    """The topic ~/predicted_path of a configured node."""

    def __init__(self, node: LifecycleNode, pilot: Pilot, config: PolicyNodeConfig) -> None:
        """Make the publisher, if there is something to draw with.

        Raises:
            HptError: as of `drawing_of`.
        """
        self._node, self.pilot = node, pilot
        self._drawing = drawing_of(pilot, config)
        self._paths: Any = None
        if self._drawing is None:
            node.get_logger().info("robot_description is empty: ~/predicted_path is not drawn")
            return
        self._paths = node.create_lifecycle_publisher(Path, "~/predicted_path", 1)

    def draw(self, now_ns: int) -> None:
        """Publish the way of the newest chunk, if somebody looks."""
        controller = self.pilot.controller
        chunk = controller.queue.newest or controller.session.pending
        if self._drawing is None or chunk is None or not self._paths.get_subscription_count():
            return
        if chunk.values.shape[1] == len(self.pilot.embodiment.action.names):
            self._paths.publish(self._drawing.path(chunk, now_ns))

    def close(self) -> None:
        """Let go of the publisher."""
        if self._paths is not None:
            self._node.destroy_lifecycle_publisher(self._paths)
            self._paths = None
            self._drawing = None
