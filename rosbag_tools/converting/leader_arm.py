# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Actions from a leader arm: the joints that a person moved, read as the command that they stood for.

Teleoperation with a leader arm (GELLO, ALOHA) sends the follower where the leader is. Where the command itself was not
recorded, the leader's JointState is as good: its positions are the follower's targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError
from rosbag_tools.errors import BagError

LEADER_TYPE = "sensor_msgs/msg/JointState"
COMMAND_TYPE = "trajectory_msgs/msg/JointTrajectory"
_AT_ONCE = SimpleNamespace(sec=0, nanosec=0)


@dataclass(frozen=True)
class Leader:
    """Where the leader arm is.

    Attributes:
        topic: of its JointState.
        joints: pairs of a commanded joint and the leader's joint that stands for it; the others have equal names.
    """

    topic: str
    joints: tuple[tuple[str, str], ...] = ()

    def command(self, embodiment: Embodiment, message: Any) -> Any:
        """The leader's JointState as the command that the follower would have got: an object with its fields.

        Raises:
            DecodeError: a joint that stands for a commanded one is not in the message, or has no position.
        """
        names = list(message.name)
        renamed = dict(self.joints)
        if len(message.position) != len(names):
            raise DecodeError(
                Code.WRONG_SHAPE, f"the leader arm (topic {self.topic})", len(message.position),
                problem=f"has {{value}} positions for {len(names)} joints", expected="one for each",
                remedy="correct its driver",
            )  # fmt: skip
        positions = []
        for joint in embodiment.action.names:
            own = renamed.get(joint, joint)
            if own not in names:
                raise DecodeError(
                    Code.MISSING, f"the leader arm (topic {self.topic})", own,
                    problem=f"lacks the joint {{value}} for the commanded {joint!r}; the message has "
                    f"{', '.join(names)[:400]}",
                    remedy=f"name it with --leader-joints {joint}=NAME",
                )  # fmt: skip
            positions.append(message.position[names.index(own)])
        point = SimpleNamespace(positions=positions, time_from_start=_AT_ONCE)
        return SimpleNamespace(
            header=message.header, joint_names=list(embodiment.action.names), points=[point]
        )

    def check(self, embodiment: Embodiment) -> None:
        """Raise BagError unless the embodiment's command is one that a leader's joints can stand for."""
        if embodiment.action.type != COMMAND_TYPE:
            raise BagError(
                Code.MISMATCH, f"embodiment {embodiment.name!r}", COMMAND_TYPE,
                problem="has no single command of the type {value}, which a leader arm stands for",
                remedy="take --actions command or state",
            )  # fmt: skip
        for joint, _ in self.joints:
            if joint not in embodiment.action.names:
                known = embodiment.action.names
                raise BagError(
                    Code.UNKNOWN, "the leader's joints", joint,
                    problem=f"name {{value}}, which embodiment {embodiment.name!r} does not command", known=known,
                )  # fmt: skip


def parse_joints(pairs: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs out of texts ``"follower=leader"``.

    Raises:
        BagError: a text has no such form, or a joint stands twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        follower, equals, leader = pair.partition("=")
        if not (follower and equals and leader) or follower in found:
            raise BagError(
                Code.INVALID, "the leader's joints", pair, problem="have {value}",
                expected="each commanded joint once, as NAME=LEADERS_NAME",
            )  # fmt: skip
        found[follower] = leader
    return tuple(found.items())
