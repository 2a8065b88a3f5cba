# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From parameters to a policy, and to a runtime that is ready to be activated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from rclpy.node import Node

from hpt_ros.control import ControlConfig, Kinematics
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.streams import check_topic, in_namespace
from hpt_ros.errors import HptError
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.runtime.policy_config import REMOTE, PolicyNodeConfig
from hpt_ros.runtime.policy_runtime import PolicyRuntime
from hpt_ros.runtime.robot_description import with_robot_description


def load_or_connect(node: Node, config: PolicyNodeConfig) -> LoadedPolicy:
    """The policy that the node's parameters name: loaded here, or an inference node's.

    Raises:
        HptError: something is missing, damaged, of another robot, or does not answer.
    """
    if config.policy == REMOTE:
        from hpt_ros.nodes.inference.remote import connect

        name = in_namespace(config.remote.node, node.get_namespace())
        return connect(
            name, config.remote.timeout_s, config.embodiment, node=node, deployment_file=config.deployment
        )
    return config.load(config.robot_description, config.deployment)


def make_runtime(
    loaded: LoadedPolicy,
    config: PolicyNodeConfig,
    control: ControlConfig,
    clock: Callable[[], int],
    resolve: Callable[[str], str],
) -> PolicyRuntime:
    """Make the runtime of a policy.

    Args:
        loaded: the policy.
        config: the node's parameters.
        control: those of the control room.
        clock: node time in ns.
        resolve: gives a topic's absolute name by the node's namespace and remappings; the runtime speaks of those.

    Raises:
        HptError: the robot cannot be driven so, a URDF that contradicts the embodiment file, a limit that neither has,
            or a task that the policy does not know.
    """
    plain = loaded.embodiment
    named = {stream.name: stream.topic for stream in plain.streams}
    named |= {output.name: output.topic for output in plain.action.parts}
    for name, topic in named.items():  # recordings may have names that ROS 2 refuses
        check_topic(topic, f"{name!r} of embodiment {plain.name!r}")
    robot, known = with_robot_description(plain.with_topics(resolve), config.robot_description)
    runtime = PolicyRuntime(
        loaded if robot == plain else replace(loaded, embodiment=robot),
        control,
        clock=clock,
        kinematics=_find_commanded_points(robot) or known,
        encode_ahead=config.encode_ahead,
    )
    try:
        runtime.task.begin(config.task, needed=config.start_on_activate)
    except HptError:
        runtime.end()
        raise
    return runtime


def _find_commanded_points(robot: Embodiment) -> Kinematics | None:
    """Where Cartesian commands lead, which needs no URDF: the points have the outputs' names. None without any."""
    space = robot.space
    outputs = [part for part in space.parts if part.output.cartesian]
    if not outputs:
        return None
    turning = {turn + element for turn in space.turns for element in range(4)}
    plain = [index for index in range(len(space.names)) if index not in turning | set(space.rates)]
    places = np.array([[plain.index(part.control.start + axis) for axis in range(3)] for part in outputs])
    return Kinematics(tuple(part.output.name for part in outputs), lambda position: position[places])
