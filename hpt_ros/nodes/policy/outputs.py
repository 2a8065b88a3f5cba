# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The robot's commands as ROS messages: one sender for each output of the embodiment file, and for further forms.

What a message of each type looks like is said in `hpt_ros.embodiment.message_types`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt_ros.control import Command
from hpt_ros.control.plan import PAST_NS
from hpt_ros.embodiment import Embodiment, Output
from hpt_ros.embodiment.kinds import BASE_VELOCITY, JOINT_POSITION, JOINT_VELOCITY
from hpt_ros.embodiment.message_types import COMMANDS, Sending
from hpt_ros.embodiment.message_types.joint_jog import DISPLACEMENTS
from hpt_ros.embodiment.output import RECORDED_TYPE, SINGLE, OutputSlice
from hpt_ros.embodiment.streams import check_topic, in_namespace
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.interfaces import import_interface, interface
from hpt_ros.runtime.policy_config import OutputsConfig


@dataclass(frozen=True, slots=True)
class Sender:
    """One output, or one further form of the command.

    Attributes:
        output: what it commands.
        part: its dimensions of an entire command; None: all.
        ahead_ns: how much later than a command it is due.
        kind: the class of its messages, or of the action.
        stamp_zero: as of `Sending`.
    """

    output: Output
    part: slice | None
    ahead_ns: int
    kind: Any
    stamp_zero: bool = False

    @property
    def topic(self) -> str:
        """Name, as the file or the parameter has it."""
        return self.output.topic

    @property
    def type(self) -> str:
        """Of the message or action, as text."""
        return self.output.type

    def own(self, command: Command) -> Command:
        """Its part of an entire command."""
        return command if self.part is None else command.of(self.part, self.ahead_ns)

    def message(self, command: Command, now_ns: int) -> Any:
        """The message, or the goal, of an entire command at the time now, in ns."""
        sending = Sending(interface, now_ns, PAST_NS, self.stamp_zero)
        return self.output.command.encode(self.own(command), self.output, sending)

    def stands(self, command: Command) -> bool:
        """Whether an entire command tells it a velocity that is zero, so that hearing it again changes nothing.

        A displacement does: it is done each time that it is commanded.
        """
        if self.output.jog == DISPLACEMENTS:
            return False
        own = self.own(command)
        values = {BASE_VELOCITY: own.position, JOINT_VELOCITY: own.velocity}.get(self.output.kind)
        return values is not None and not np.any(values)

    def target(self) -> Sender:
        """Of an action: what it is commanded as messages, for recorders."""
        output = Output(
            self.output.name, f"{self.topic}/target", RECORDED_TYPE, names=self.output.names, prefix=self.output.prefix,
            unit=self.output.unit,
        )  # fmt: skip
        return Sender(output, self.part, self.ahead_ns, interface(RECORDED_TYPE))


def robot_senders(robot: Embodiment, *, stamp_zero: bool = False) -> list[Sender]:
    """One for each output of the embodiment file, in its order; `stamp_zero` as of `Sending`.

    Raises:
        MissingInterfaceError: a type is not installed.
    """
    return [_sender(robot, part, stamp_zero) for part in robot.space.parts]


def make_senders(
    robot: Embodiment, outputs: OutputsConfig, resolve: Callable[[str], str] = in_namespace
) -> list[Sender]:
    """Those of the embodiment file, if they are wanted, and further forms of the command.

    Args:
        robot: the robot.
        outputs: which forms.
        resolve: gives a topic's absolute name by the node's namespace and remappings.

    Raises:
        HptError: no output at all, two on one topic, a text that is no name of a topic, or a further form of a command
            that is not of joints alone.
    """
    found = robot_senders(robot, stamp_zero=outputs.stamp_zero) if outputs.primary else []
    for name, topic, type_ in (
        ("float64_multi_array", outputs.float64_multi_array, "std_msgs/msg/Float64MultiArray"),
        ("joint_state", outputs.joint_state, "sensor_msgs/msg/JointState"),
    ):
        if not topic:
            continue
        check_topic(topic, f"the parameter outputs.{name}")
        if others := [part.kind for part in robot.action.parts if part.kind != JOINT_POSITION]:
            raise HptError(
                Code.CONFLICT, f"the parameter outputs.{name}", topic,
                problem=f"is {{value}}, but embodiment {robot.name!r} has commands of {others[0]}, which that "
                "message cannot hold", remedy="leave it empty",
            )  # fmt: skip
        found.append(_joint_sender(robot, topic, type_))
    own = [sender.topic for sender in found]
    topics = [resolve(topic) for topic in own + [stream.topic for stream in robot.streams]]
    for topic in topics:
        if topics.count(topic) > 1 and topic in topics[: len(found)]:
            raise HptError(
                Code.INVALID, "", topic,
                problem="commands are to be sent to {value}, also a stream's or another output's topic",
                remedy="name another",
            )  # fmt: skip
    if not found:
        raise HptError(
            Code.INVALID, "outputs.primary",
            problem="is false and no other output has a topic, so the robot would never hear of a command",
            remedy="give outputs.float64_multi_array or outputs.joint_state a topic",
        )  # fmt: skip
    return found


def _sender(robot: Embodiment, part: OutputSlice, stamp_zero: bool) -> Sender:
    kind = import_interface(part.output.type, f"embodiment {robot.name!r}, output {part.output.name!r},")
    return Sender(part.output, part.control, robot.space.ahead_ns(part), kind, stamp_zero)


def _joint_sender(robot: Embodiment, topic: str, type_: str) -> Sender:
    """Of complete commands, each of whose dimensions is a joint."""
    output = Output(SINGLE, topic, type_, names=robot.action.names)
    assert JOINT_POSITION in COMMANDS[type_].kinds
    return Sender(output, None, 0, interface(type_))
