# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The types of messages that are observed and that command robots, one object a type: `MESSAGE_TYPES`.

Packages outside add theirs (`hpt_ros.registry`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpt_ros.embodiment.message_types import (
    compressed_image,
    float64,
    float_multi_array,
    follow_joint_trajectory,
    gripper_command,
    image,
    imu,
    joint_jog,
    joint_state,
    joint_trajectory,
    odometry,
    parallel_gripper_command,
    point_cloud2,
    pose_stamped,
    string,
    transforms,
    twist,
    twist_stamped,
    video_packet,
    wrench_stamped,
)
from hpt_ros.embodiment.message_types.base import (
    CommandType,
    Decoded,
    MessageType,
    Sending,
    SentCommand,
    elements,
    require_frame,
)
from hpt_ros.registry import Registry

MESSAGE_TYPES: Registry[MessageType] = Registry(
    "message type",
    "hpt_ros.message_types",
    MessageType,
    {
        type_.name: type_
        for type_ in (
            image.MESSAGE_TYPE,
            compressed_image.MESSAGE_TYPE,
            video_packet.FOXGLOVE,
            video_packet.FFMPEG,
            joint_trajectory.MESSAGE_TYPE,
            float_multi_array.FLOAT64,
            joint_state.MESSAGE_TYPE,
            float64.MESSAGE_TYPE,
            joint_jog.MESSAGE_TYPE,
            point_cloud2.MESSAGE_TYPE,
            pose_stamped.MESSAGE_TYPE,
            twist_stamped.MESSAGE_TYPE,
            twist.MESSAGE_TYPE,
            wrench_stamped.MESSAGE_TYPE,
            odometry.MESSAGE_TYPE,
            imu.MESSAGE_TYPE,
            float_multi_array.FLOAT32,
            string.MESSAGE_TYPE,
            transforms.MESSAGE_TYPE,
            gripper_command.MESSAGE_TYPE,
            parallel_gripper_command.MESSAGE_TYPE,
            follow_joint_trajectory.MESSAGE_TYPE,
        )
    },
)


class _Commands(Mapping[str, CommandType]):
    """How each type commands robots, of those that do; one of another package is listed only once it was asked for."""

    def __getitem__(self, name: str) -> CommandType:
        command = MESSAGE_TYPES[name].command
        if command is None:
            raise KeyError(name)
        return command

    def __contains__(self, name: object) -> bool:
        return name in MESSAGE_TYPES and MESSAGE_TYPES[str(name)].command is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name, item in MESSAGE_TYPES.of_project().items() if item.command is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


COMMANDS = _Commands()

__all__ = [
    "COMMANDS",
    "MESSAGE_TYPES",
    "CommandType",
    "Decoded",
    "MessageType",
    "Sending",
    "SentCommand",
    "elements",
    "require_frame",
]
