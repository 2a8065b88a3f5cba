"""A policy that computes on another machine: `side:=robot` beside the robot, `side:=policy` where the GPU is.

The robot's side runs the policy node with all its limits and watchdogs; the other only answers observations with
chunks and commands nothing. Set FASTDDS_DEFAULT_PROFILES_FILE to config/dds/two_machines.xml on both: docs/safety.md,
"Two machines".
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import EqualsSubstitution, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue


def _text(name: str) -> ParameterValue:
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("side", choices=["robot", "policy"], description="which machine this is"),
            DeclareLaunchArgument(
                "embodiment",
                default_value="",
                description="embodiment file; the robot's side needs it, and it must agree with the checkpoint's",
            ),
            DeclareLaunchArgument("checkpoint", default_value="", description="checkpoint folder (policy)"),
            DeclareLaunchArgument("device", default_value="cpu", description="torch device (policy)"),
            DeclareLaunchArgument(
                "task", default_value="", description="task text (robot); empty: the embodiment's own"
            ),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                choices=["true", "false"],
                description="configure and activate the policy node at once (robot)",
            ),
            Node(
                package="hpt_ros",
                executable="inference_node",
                name="inference_node",
                output="screen",
                condition=IfCondition(EqualsSubstitution(LaunchConfiguration("side"), "policy")),
                parameters=[{name: _text(name) for name in ("checkpoint", "embodiment", "device")}],
            ),
            LifecycleNode(
                package="hpt_ros",
                executable="policy_node",
                name="policy_node",
                namespace="",
                output="screen",
                condition=IfCondition(EqualsSubstitution(LaunchConfiguration("side"), "robot")),
                parameters=[
                    {
                        "policy": "remote",
                        "remote.node": "/inference_node",
                        "embodiment": _text("embodiment"),
                        "task": _text("task"),
                        "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
                    }
                ],
            ),
        ]
    )
