# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy that computes on another machine: `side:=robot` beside the robot, `side:=policy` where the GPU is.

The robot's side runs the policy node with all its limits and watchdogs; the other only answers observations with
chunks and commands nothing. Set FASTDDS_DEFAULT_PROFILES_FILE to config/dds/two_machines.xml on both
(on Jazzy FASTRTPS_DEFAULT_PROFILES_FILE to two_machines_jazzy.xml): docs/safety.md, "Two machines".
"""

from typing import Any

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from hpt_ros.nodes.common.launching import common_arguments, drop_empty, node


def _nodes(context: Any) -> list[Any]:
    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    clock = {"use_sim_time": value("use_sim_time") == "true"}
    if value("side") == "policy":
        chosen = drop_empty(context, "checkpoint", "embodiment", "device", "backend")
        return [node(context, "inference_node", {**clock, **chosen})]
    parameters = {
        **clock,
        **drop_empty(context, "embodiment", "deployment", "task"),
        "policy": "remote",
        "autostart": value("autostart") == "true",
    }
    return [node(context, "policy_node", parameters)]


def generate_launch_description() -> LaunchDescription:
    yes_no = ["true", "false"]
    return LaunchDescription(
        [
            DeclareLaunchArgument("side", choices=["robot", "policy"], description="which machine this is"),
            DeclareLaunchArgument(
                "embodiment",
                default_value="",
                description="embodiment file; the robot's side needs it, and it must agree with the checkpoint's",
            ),
            DeclareLaunchArgument(
                "deployment",
                default_value="",
                description="deployment file with the facts of this cell, over the embodiment; empty: none (robot)",
            ),
            DeclareLaunchArgument("checkpoint", default_value="", description="checkpoint folder (policy)"),
            DeclareLaunchArgument(
                "device", default_value="", description="auto, cpu, cuda or cuda:N; empty: auto (policy)"
            ),
            DeclareLaunchArgument(
                "backend", default_value="", description="what computes the network; empty: auto (policy)"
            ),
            DeclareLaunchArgument(
                "task", default_value="", description="task text (robot); empty: the embodiment's own"
            ),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", choices=yes_no, description="time from /clock"
            ),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                choices=yes_no,
                description="configure and activate the policy node at once (robot)",
            ),
            *common_arguments(),
            OpaqueFunction(function=_nodes),
        ]
    )
