# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The types of messages and actions that command robots, one object a type: `COMMANDS`."""

from __future__ import annotations

from collections.abc import Mapping

from hpt_ros.embodiment.commands import (
    float64,
    float64_multi_array,
    follow_joint_trajectory,
    gripper_command,
    joint_jog,
    joint_state,
    joint_trajectory,
    parallel_gripper_command,
    pose_stamped,
    twist,
    twist_stamped,
)
from hpt_ros.embodiment.commands.base import CommandType, Decoded, Sending, Told, require_frame

COMMANDS: Mapping[str, CommandType] = {
    module.COMMAND.type: module.COMMAND
    for module in (
        joint_trajectory,
        float64_multi_array,
        joint_state,
        float64,
        joint_jog,
        pose_stamped,
        twist_stamped,
        twist,
        gripper_command,
        parallel_gripper_command,
        follow_joint_trajectory,
    )
}
MESSAGES = tuple(name for name, command in COMMANDS.items() if not command.is_action)

__all__ = ["COMMANDS", "MESSAGES", "CommandType", "Decoded", "Sending", "Told", "require_frame"]
