# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Feed the dog: `ros2 launch hpt_ros feed_dog.launch.py sim:=true`.

With ``sim:=true`` (the default) it starts the simulated robot beside the policy node, on simulated time; with
``sim:=false`` only the policy node, for a robot that already publishes what the embodiment file names. The policy
node is configured and activated by itself; it moves the robot only when every stream is fresh. When a node ends, the
launch ends, with status 1 if the node failed.
"""

from typing import Any

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from hpt_ros.nodes.common.launching import common_arguments, drop_empty, node


def _nodes(context: Any) -> list[Any]:
    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    sim = value("sim") == "true"
    parameters = {
        **drop_empty(context, "checkpoint", "embodiment", "deployment", "task", "device", "backend"),
        "use_sim_time": (value("use_sim_time") or value("sim")) == "true",
        "threads": int(value("threads")),
        "autostart": value("autostart") == "true",
    }
    simulator = [node(context, "sim_node", {"seed": int(value("seed"))}, aside=True)] if sim else []
    return [*simulator, node(context, "policy_node", parameters)]


def generate_launch_description() -> LaunchDescription:
    yes_no = ["true", "false"]
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "sim", default_value="true", choices=yes_no, description="start the simulated robot"
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="",
                choices=["", *yes_no],
                description="time from /clock; empty: as sim",
            ),
            DeclareLaunchArgument(
                "checkpoint", default_value="feed_dog", description="checkpoint folder, or a shipped name"
            ),
            DeclareLaunchArgument(
                "embodiment",
                default_value="feed_dog",
                description="embodiment file, or a shipped name; it must agree with the checkpoint's",
            ),
            DeclareLaunchArgument(
                "deployment",
                default_value="",
                description="deployment file with the facts of this cell, over the embodiment; empty: none",
            ),
            DeclareLaunchArgument(
                "task", default_value="", description="task text; empty: the embodiment's own"
            ),
            DeclareLaunchArgument(
                "device", default_value="", description="auto, cpu, cuda or cuda:N; empty: auto"
            ),
            DeclareLaunchArgument(
                "backend", default_value="", description="what computes the network; empty: auto"
            ),
            DeclareLaunchArgument(
                "threads",
                default_value="1",
                description="torch threads; one is quickest for the shipped network",
            ),
            DeclareLaunchArgument("seed", default_value="0", description="seed of the simulated scene"),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                choices=yes_no,
                description="configure and activate the policy node at once",
            ),
            *common_arguments(),
            OpaqueFunction(function=_nodes),
        ]
    )
