# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the launch files share: arguments that every node takes, and a node's end that ends the launch.

Imported by `launch/*.launch.py`, where a ROS distribution's `launch` is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch.actions import DeclareLaunchArgument, EmitEvent
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from hpt_ros.nodes.common.parameter_files import names_node
from hpt_ros.resources import config_path


def common_arguments() -> list[Any]:
    """Declare `params_file`, `namespace` and `log_level`."""
    return [
        DeclareLaunchArgument(
            "params_file",
            default_value="",
            description="YAML file of parameters, or the name of a shipped one, e.g. first_motion; they count before "
            "this launch file's own",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="namespace of the nodes"),
        DeclareLaunchArgument(
            "log_level", default_value="info", description="debug, info, warn, error or fatal; or NAME:=LEVEL"
        ),
    ]


def drop_empty(context: Any, *names: str) -> dict[str, str]:
    """Those of the launch arguments that are not empty, as parameters; an empty one leaves the node's default."""
    values = {name: LaunchConfiguration(name).perform(context) for name in names}
    return {name: value for name, value in values.items() if value}


def node(context: Any, executable: str, parameters: Mapping[str, Any], *, aside: bool = False) -> Any:
    """One of our executables, with the common arguments; when it ends, so does the launch.

    Args:
        context: of the launch.
        executable: which; also the node's name.
        parameters: its own, before those of the file.
        aside: the launch is about another node: the parameter file counts here only if it names this one. Otherwise
            settings for all nodes (``/**``), as of first_motion, would be refused, which this one does not have.
    """
    params_file = LaunchConfiguration("params_file").perform(context)
    files = [config_path("safety", params_file)] if params_file else []
    files = [file for file in files if not aside or names_node(file, executable)]
    return Node(
        package="hpt_ros",
        executable=executable,
        name=executable,
        namespace=LaunchConfiguration("namespace").perform(context),
        output="screen",
        parameters=[dict(parameters), *map(str, files)],
        ros_arguments=["--log-level", LaunchConfiguration("log_level").perform(context)],
        on_exit=end_launch,
    )


def end_launch(event: Any, context: Any) -> list[Any]:
    """End the launch when a node ends: with status 0 if the node did, else with status 1.

    Raises:
        RuntimeError: the node failed. launch (3.x) returns a status other than 0 only after an exception; the action
            `Shutdown` alone gives 0.
    """
    if context.is_shutdown:
        return []
    if event.returncode != 0:
        raise RuntimeError(f"{event.process_name} ended with status {event.returncode}, see above")
    return [EmitEvent(event=Shutdown(reason=f"{event.process_name} ended"))]
