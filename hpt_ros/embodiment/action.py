# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The action: all outputs together, the limits of their dimensions, and what a policy's values are relative to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from hpt_ros.embodiment.kinds import (
    BASE_VELOCITY,
    JOINT_POSITION,
)
from hpt_ros.embodiment.output import (
    ONE_COMMAND,
    SINGLE,
    JointLimit,
    Output,
    latency_field,
    time_field,
    tolerance_field,
)
from hpt_ros.embodiment.streams import EmbodimentError
from hpt_ros.errors import Code
from hpt_ros.structured import field

MODES = ("absolute", "delta", "relative")
DEFAULT_RATE_HZ = 100.0  # the command rate that most arms' position controllers are run at


@dataclass(frozen=True, kw_only=True)
class Action:
    """What the policy commands, and what a teleoperator commanded while recording.

    A robot with one command gives its topic, type and names; one with several, or a Cartesian one, lists `outputs`,
    and `names` and `unit` follow from them.
    """

    limits: tuple[JointLimit, ...] = field(
        "limits: one per joint and per axis of a Cartesian position, in the order of the commands"
    )
    rate_hz: float = field(
        "rate at which commands are sent", default=DEFAULT_RATE_HZ, unit="Hz", above=0.0, maximum=1000.0
    )
    horizon: int = field("ticks in one predicted chunk, 2 or more", maximum=256)
    topic: str = field(
        "topic name of the command; a relative one lies in the namespace of the node", default=""
    )
    type: str = field("message type", default="", choices=("", *ONE_COMMAND))
    names: tuple[str, ...] = field("commanded joints, in the order of the action vector", default=())
    kind: str = field("quantity commanded", default=JOINT_POSITION, choices=(JOINT_POSITION,))
    mode: str = field(
        "what the policy's values are relative to: nothing, the action before, or the pose at the observation; "
        "grippers and twists always to nothing",
        default="absolute", choices=MODES,
    )  # fmt: skip
    unit: str = field("unit of the values", default="rad")
    tolerance_s: float = tolerance_field()
    latency_s: float = latency_field()
    time: str = time_field()
    grippers: tuple[str, ...] = field(
        "names that open and close: never blended or averaged, absolute in every mode, slowed by themselves",
        default=(),
    )
    outputs: tuple[Output, ...] = field("several commands, or Cartesian ones", default=())

    @property
    def dim(self) -> int:
        """Length of the action vector."""
        return len(self.names)

    @cached_property
    def parts(self) -> tuple[Output, ...]:
        """The commands in the order of the action vector; one of the name "action" for a file that lists none."""
        if self.outputs:
            return self.outputs
        return (
            Output(
                SINGLE, self.topic, self.type, names=self.names, unit=self.unit, tolerance_s=self.tolerance_s,
                latency_s=self.latency_s, time=self.time,
            ),
        )  # fmt: skip

    def gripper_only(self, output: Output) -> bool:
        """Whether an output is grippers alone, which are often commanded only when they are to change."""
        return bool(output.names) and set(output.names) <= set(self.grippers)


# Keys that say the same as `outputs` do.
_OF_ONE = ("topic", "type", "names", "kind", "unit", "tolerance_s", "latency_s", "time")
_OF_SEVERAL = ("outputs", "grippers")


def redundant_keys(action: Action) -> tuple[str, ...]:
    """Keys that an action's text does without."""
    return _OF_ONE if action.outputs else tuple(key for key in _OF_SEVERAL if not getattr(action, key))


def complete_action(action: Action, given: Mapping[str, object], where: str) -> Action:
    """The action with what follows from its outputs.

    Args:
        action: as it was read.
        given: the keys that the file had.
        where: names it in errors.

    Raises:
        EmbodimentError: neither one command nor outputs, or both.
    """
    if action.outputs:
        for key in _OF_ONE:
            if key in given:
                raise EmbodimentError(
                    Code.INVALID, where, key,
                    problem="has outputs and the key {value}, which each output gives for itself",
                    remedy="move it there",
                )  # fmt: skip
        units = dict.fromkeys(output.unit for output in action.outputs)
        names = tuple(name for output in action.outputs for name in output.elements)
        base = {name for part in action.outputs if part.kind == BASE_VELOCITY for name in part.limited}
        limits = tuple(_both_ways(limit) if limit.name in base else limit for limit in action.limits)
        return replace(action, names=names, unit=", ".join(units), limits=limits)
    for key in ("topic", "type", "names"):
        if not getattr(action, key):
            raise EmbodimentError(
                Code.MISSING, where, key, problem="has no {value}", expected="a topic, a type and names",
                remedy="give them, or list outputs",
            )  # fmt: skip
    return action


def _both_ways(limit: JointLimit) -> JointLimit:
    """The limit of a base's axis, as fast backwards as forwards where it does not say so."""
    if limit.velocity is None:
        return limit  # `check_action` refuses it
    lower = -limit.velocity if limit.lower is None else limit.lower
    return replace(limit, lower=lower, upper=limit.velocity if limit.upper is None else limit.upper)
