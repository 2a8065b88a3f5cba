# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Commands of joints as the messages that a node sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpt_ros.control import Command
from hpt_ros.control.plan import PAST_NS
from hpt_ros.embodiment import Output
from hpt_ros.embodiment.message_types import Sending, joint_trajectory
from hpt_ros.nodes.common.interfaces import interface


def to_joint_trajectory(
    command: Command, names: Sequence[str], now_ns: int, *, stamp_zero: bool = False
) -> Any:
    """trajectory_msgs/JointTrajectory of a command of joints, see `hpt_ros.embodiment.message_types.joint_trajectory`.

    Args:
        command: what is commanded.
        names: (dim,) of the joints.
        now_ns: now, on the clock of the command's times.
        stamp_zero: header.stamp is 0, see `Sending`.
    """
    output = Output("joints", "joint_trajectory", joint_trajectory.MESSAGE_TYPE.name, names=tuple(names))
    sending = Sending(interface, now_ns, PAST_NS, stamp_zero)
    return joint_trajectory.encode(command, output, sending)
