"""Feed the dog: `ros2 launch hpt_ros feed_dog.launch.py sim:=true`.

With ``sim:=true`` (the default) it starts the simulated robot beside the policy node, on simulated time; with
``sim:=false`` only the policy node, for a robot that already publishes what the embodiment file names. The policy
node is configured and activated by itself; it moves the robot only when every stream is fresh.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    share = FindPackageShare("hpt_ros")
    sim = LaunchConfiguration("sim")
    use_sim_time = ParameterValue(sim, value_type=bool)
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "sim",
                default_value="true",
                choices=["true", "false"],
                description="start the simulated robot",
            ),
            DeclareLaunchArgument(
                "checkpoint",
                default_value="feed_dog",
                description="checkpoint folder; 'feed_dog' is the one shipped with the package",
            ),
            DeclareLaunchArgument(
                "embodiment",
                default_value=PathJoinSubstitution([share, "config", "embodiments", "feed_dog.yaml"]),
                description="embodiment file; it must agree with the checkpoint's",
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
                "threads",
                default_value="1",
                description="torch threads; one is quickest for the shipped network",
            ),
            DeclareLaunchArgument("seed", default_value="0", description="seed of the simulated scene"),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                choices=["true", "false"],
                description="configure and activate the policy node at once",
            ),
            Node(
                package="hpt_ros",
                executable="sim_node",
                name="sim_node",
                output="screen",
                condition=IfCondition(sim),
                parameters=[{"seed": ParameterValue(LaunchConfiguration("seed"), value_type=int)}],
            ),
            LifecycleNode(
                package="hpt_ros",
                executable="policy_node",
                name="policy_node",
                namespace="",
                output="screen",
                parameters=[
                    {
                        "use_sim_time": use_sim_time,
                        "checkpoint": ParameterValue(LaunchConfiguration("checkpoint"), value_type=str),
                        "embodiment": ParameterValue(LaunchConfiguration("embodiment"), value_type=str),
                        "deployment": ParameterValue(LaunchConfiguration("deployment"), value_type=str),
                        "task": ParameterValue(LaunchConfiguration("task"), value_type=str),
                        "threads": ParameterValue(LaunchConfiguration("threads"), value_type=int),
                        "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
                    }
                ],
            ),
        ]
    )
