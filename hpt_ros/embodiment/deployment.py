# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The deployment file: facts of one cell, laid over the embodiment that a policy was trained with.

A checkpoint's embodiment says what its policy sees and means. Where the same robot stands elsewhere, other facts
change: names of topics and joints (two arms in one graph), quality of service, rates, latencies, frames, the
controller that takes the commands, and limits, which may only become tighter. Nothing else may: another order of
joints, unit, size or mode would be another robot to the policy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hpt_ros.embodiment.message_types import COMMANDS, MESSAGE_TYPES
from hpt_ros.embodiment.output import JointLimit, Output, RotationLimit
from hpt_ros.embodiment.schema import Embodiment, comparable, require_match
from hpt_ros.embodiment.streams import (
    BY_ARRIVAL,
    BY_STAMP,
    EmbodimentError,
    Stream,
    with_prefix,
)
from hpt_ros.errors import Code
from hpt_ros.structured import (
    differences,
    dump_yaml,
    field,
    load_yaml_mapping,
    read_dataclass,
    read_yaml_file,
    to_mapping,
)

DEPLOYMENT_FORMAT = "hpt_ros/deployment/1"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamDeployment:
    """What a cell changes of one stream; what is left out stays."""

    topic: str | None = field("topic name", default=None)
    qos: str | None = field(
        "subscription's quality of service", default=None, choices=("sensor_data", "reliable")
    )
    rate_hz: float | None = field(
        "rate at which messages are expected", default=None, unit="Hz", above=0.0, maximum=10_000.0
    )
    tolerance_s: float | None = field(
        "oldest sample that still counts at a tick", default=None, unit="s", above=0.0, maximum=60.0
    )
    partial: bool | None = field("messages may hold some of the joints only", default=None)
    holds: tuple[str, ...] | None = field(
        "joints, by the embodiment's names, that are published only while they move", default=None
    )
    type: str | None = field(
        "message type, one with the same content, such as CompressedImage in place of Image",
        default=None, choices=MESSAGE_TYPES,
    )  # fmt: skip
    time: str | None = field(
        "what says when a message was measured: its stamp or its arrival",
        default=None,
        choices=(BY_STAMP, BY_ARRIVAL),
    )
    stamp_offset_s: float | None = field(
        "added to that time; negative for a driver that stamps late",
        default=None, unit="s", minimum=-5.0, maximum=5.0,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputDeployment:
    """What a cell changes of one output; what is left out stays."""

    topic: str | None = field("topic name of the command", default=None)
    type: str | None = field(
        "message type, one that carries the same quantity", default=None, choices=COMMANDS
    )
    frame_id: str | None = field("name of the same fixed frame in this cell", default=None)
    tolerance_s: float | None = field(
        "oldest command that still counts at a tick", default=None, unit="s", above=0.0
    )
    latency_s: float | None = field(
        "how far ahead of its time a command is sent", default=None, unit="s", minimum=0.0, maximum=2.0
    )
    time: str | None = field(
        "what says when a command was sent, in recordings: its stamp or its arrival",
        default=None,
        choices=(BY_STAMP, BY_ARRIVAL),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitDeployment:
    """Tighter limits of one commanded dimension, in the action's unit and its derivatives; what is left out stays."""

    lower: float | None = field("lowest permitted command", default=None)
    upper: float | None = field("highest permitted command", default=None)
    velocity: float | None = field("largest permitted speed", default=None, above=0.0)
    acceleration: float | None = field("largest permitted acceleration", default=None, above=0.0)
    jerk: float | None = field("largest permitted jerk", default=None, above=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RotationDeployment:
    """Tighter limits of a commanded orientation; what is left out stays."""

    velocity: float | None = field("largest permitted angular speed", default=None, unit="rad/s", above=0.0)
    acceleration: float | None = field(
        "largest permitted angular acceleration", default=None, unit="rad/s^2", above=0.0
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """One cell. Keys of its mappings are the embodiment's names, before joints are renamed."""

    format: str = field("schema version", choices=(DEPLOYMENT_FORMAT,))
    embodiment: str = field("name of the embodiment that it is for; empty: any", default="")
    description: str = field("one line for people", default="")
    rate_hz: float | None = field(
        "rate at which commands are sent", default=None, unit="Hz", above=0.0, maximum=1000.0
    )
    joint_prefix: str = field("what this cell's joint names have in front, such as left_", default="")
    joints: dict[str, str] | None = field(
        "joint name of the embodiment to that of this cell, in place of a prefix", default=None
    )
    streams: dict[str, StreamDeployment] | None = field("by the stream's name", default=None)
    outputs: dict[str, OutputDeployment] | None = field(
        "by the output's name; 'action' is that of a file with one command", default=None
    )
    limits: dict[str, LimitDeployment] | None = field("by the limit's name; tighter only", default=None)
    rotation_limits: dict[str, RotationDeployment] | None = field(
        "by the Cartesian output's name; tighter only", default=None
    )

    @staticmethod
    def load(path: str | Path) -> Deployment:
        """Read a deployment file.

        Raises:
            StructureError: unreadable, not YAML, wrong keys, types or values.
            EmbodimentError: no deployment file.
        """
        return _read(read_yaml_file(Path(path)), f"deployment file {str(path)!r}")

    @staticmethod
    def loads(text: str, *, where: str = "deployment text") -> Deployment:
        """As `load`, from text that travelled inside a bag."""
        return _read(load_yaml_mapping(text, where=where), where)

    def to_yaml(self) -> str:
        """The canonical text; equal deployments give equal text."""
        return dump_yaml(to_mapping(self))

    def over(self, robot: Embodiment, *, where: str = "the deployment") -> Embodiment:
        """The embodiment as it is in this cell.

        Args:
            robot: as the policy was trained.
            where: names the deployment in errors.

        Raises:
            EmbodimentError: of another embodiment, a name that it has not, a limit wider than its own, or a result
                that contradicts itself.
        """
        if self.embodiment and self.embodiment != robot.name:
            raise EmbodimentError(
                Code.MISMATCH, where, self.embodiment,
                problem=f"is for the embodiment {{value}}, but this one is {robot.name!r}",
                remedy="give the deployment file of this robot, or correct its key 'embodiment'",
            )  # fmt: skip
        action = robot.action
        parts = {part.name: part for part in action.parts}
        layers: tuple[tuple[str, Mapping[str, Any] | None, list[str]], ...] = (
            ("stream", self.streams, [stream.name for stream in robot.streams]),
            ("output", self.outputs, list(parts)),
            ("limit", self.limits, [limit.name for limit in action.limits]),
            ("rotation limit", self.rotation_limits, [n for n, part in parts.items() if part.rotation_limit]),
            ("joint", self.joints, list(joint_names(robot))),
        )
        for what, names, known in layers:
            _require_known(what, names or {}, known, robot.name, where)
        rename = self._renaming(robot, where)
        streams = tuple(
            _rename(_with_received(stream, (self.streams or {}).get(stream.name), where), rename)
            for stream in robot.streams
        )
        limits = tuple(
            replace(_tighten(limit, (self.limits or {}).get(limit.name), where), name=rename(limit.name))
            for limit in action.limits
        )
        changed = [self._output(part, rename, where) for part in action.parts]
        common: dict[str, Any] = {
            "limits": limits,
            "grippers": tuple(map(rename, action.grippers)),
            "rate_hz": self.rate_hz or action.rate_hz,
        }
        if action.outputs:
            elements = tuple(name for output in changed for name in output.elements)
            common |= {"outputs": tuple(changed), "names": elements}
        else:
            keys = ("topic", "type", "names", "tolerance_s", "latency_s", "time")
            common |= {key: getattr(changed[0], key) for key in keys}
        found = replace(robot, streams=streams, action=replace(action, **common))
        # Read anew, so that all that an embodiment file is checked for is checked.
        return Embodiment.loads(found.to_yaml(), where=f"{where} over embodiment {robot.name!r}")

    def _output(self, part: Output, rename: Callable[[str], str], where: str) -> Output:
        turn = part.rotation_limit
        if turn is not None:
            wanted = (self.rotation_limits or {}).get(part.name)
            turn = _tighten(turn, wanted, where, f"the orientation of {part.name!r}")
        part = _overlaid(part, (self.outputs or {}).get(part.name))
        return replace(part, names=tuple(map(rename, part.names)), rotation_limit=turn)

    def _renaming(self, robot: Embodiment, where: str) -> Callable[[str], str]:
        if self.joint_prefix and self.joints is not None:
            raise EmbodimentError(
                Code.WRONG_SHAPE, where, problem="has joint_prefix and joints", expected="one of them",
                remedy="remove the other",
            )  # fmt: skip
        joints = joint_names(robot)
        # Of an arm with a prefix, which stays, what messages call its joints.
        prefixes = {joint: item.prefix for item in robot.streams for joint in item.joints}
        prefixes |= {joint: item.prefix for item in robot.action.parts for joint in item.joints}
        found = {}
        for joint in joints:
            prefix = prefixes[joint]
            name = (self.joints or {}).get(joint, f"{self.joint_prefix}{joint.removeprefix(prefix)}")
            found[joint] = with_prefix(prefix, (name,))[0]
        if len(set(found.values())) < len(found):
            raise EmbodimentError(
                Code.DUPLICATE, where, problem=f"gives two joints one name ({', '.join(found.values())})",
                remedy="give each its own",
            )  # fmt: skip
        # The order of joints is the policy's: the robot's own names in other places would exchange joints in silence.
        for joint, name in found.items():
            if name != joint and name in joints:
                raise EmbodimentError(
                    Code.INVALID, where, joint,
                    problem=f"calls the joint {{value}} {name!r}, which is another joint of embodiment "
                    f"{robot.name!r}", remedy="a deployment renames joints and never exchanges them",
                )  # fmt: skip
        return lambda name: found.get(name, name)


def joint_names(robot: Embodiment) -> tuple[str, ...]:
    """Names of all joints that are observed or commanded, each once."""
    names = [joint for stream in robot.streams for joint in stream.joints]
    return tuple(dict.fromkeys(names + [name for part in robot.action.parts for name in part.joints]))


def require_deployable(trained: Embodiment, robot: Embodiment, *, a_name: str, b_name: str) -> Embodiment:
    """The robot of an embodiment file that differs from a checkpoint's only in what a deployment may change.

    Joint names may differ by one prefix; a deployment file can map them freely.

    Raises:
        EmbodimentError: names the first field that differs otherwise and both values, or a limit that is wider.
    """
    deployed = _between(trained, robot).over(trained, where=b_name)
    require_match(deployed, robot, a_name=a_name, b_name=b_name)
    return deployed


def list_deployed_fields(trained: Embodiment, deployed: Embodiment) -> tuple[str, ...]:
    """What a deployment changed, a line each: the field, the value before, and the value now."""
    lines = []
    rename = dict(zip(joint_names(deployed), joint_names(trained), strict=True))
    for old, new in ((old, new) for new, old in rename.items() if new != old):
        lines.append(f"joint {old}: {new}")
    back = Deployment(format=DEPLOYMENT_FORMAT, joints={k: v for k, v in rename.items() if k != v} or None)
    plain = back.over(deployed, where="the deployment") if back.joints else deployed
    for key, before, now in differences(comparable(trained), comparable(plain)):
        lines.append(f"{key}: {before} -> {now}")
    return tuple(lines)


def _between(trained: Embodiment, robot: Embodiment) -> Deployment:
    """The deployment that makes of one embodiment as much of another as one can."""

    def changes(kind: type[T], old: Any, new: Any) -> T | None:
        keys = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
        found = {key: getattr(new, key) for key in keys if getattr(new, key) != getattr(old, key)}
        return kind(**found) if found else None

    def pairs(kind: type[T], old: Iterable[Any], new: Iterable[Any]) -> dict[str, T] | None:
        theirs = {item.name: item for item in new}
        found = {a.name: changes(kind, a, theirs[a.name]) for a in old if a.name in theirs}
        return {name: value for name, value in found.items() if value is not None} or None

    ours, theirs = joint_names(trained), joint_names(robot)
    prefix = ""
    if ours and theirs and ours != theirs and len(ours) == len(theirs) and theirs[0].endswith(ours[0]):
        prefix = theirs[0].removesuffix(ours[0])
    # Limits by the trained name of the joint.
    own = {f"{prefix}{joint}": joint for joint in ours} if prefix else {}
    limits = [replace(limit, name=own.get(limit.name, limit.name)) for limit in robot.action.limits]
    streams = [
        replace(stream, holds=tuple(own.get(name, name) for name in stream.holds)) for stream in robot.streams
    ]
    turns = {part.name: part.rotation_limit for part in robot.action.parts}
    rotations = {
        part.name: changes(RotationDeployment, part.rotation_limit, turns[part.name])
        for part in trained.action.parts
        if part.rotation_limit and turns.get(part.name)
    }
    rate_hz = robot.action.rate_hz
    return Deployment(
        format=DEPLOYMENT_FORMAT,
        rate_hz=rate_hz if rate_hz != trained.action.rate_hz else None,
        joint_prefix=prefix,
        streams=pairs(StreamDeployment, trained.streams, streams),
        outputs=pairs(OutputDeployment, trained.action.parts, robot.action.parts),
        limits=pairs(LimitDeployment, trained.action.limits, limits),
        rotation_limits={name: value for name, value in rotations.items() if value is not None} or None,
    )


Layered = TypeVar("Layered", Stream, Output)


def _overlaid(item: Layered, layer: StreamDeployment | OutputDeployment | None) -> Layered:
    return item if layer is None else replace(item, **to_mapping(layer))


def _with_received(stream: Stream, layer: StreamDeployment | None, where: str) -> Stream:
    """The stream as it comes in this cell."""
    found = _overlaid(stream, layer)
    content = stream.message_type.content
    if found.type != stream.type and (not content or found.message_type.content != content):
        raise EmbodimentError(
            Code.INVALID, where, stream.name,
            problem=f"has the type {found.type} for the stream {{value}}, whose type {stream.type} has "
            "another content", remedy="give the topic that has what the policy was trained with",
        )  # fmt: skip
    return found


def _rename(stream: Stream, rename: Callable[[str], str]) -> Stream:
    joints, continuous, holds = (
        tuple(map(rename, names)) for names in (stream.joints, stream.continuous, stream.holds)
    )
    return replace(stream, joints=joints, continuous=continuous, holds=holds)


Limit = TypeVar("Limit", JointLimit, RotationLimit)


def _tighten(
    limit: Limit, layer: LimitDeployment | RotationDeployment | None, where: str, what: str = ""
) -> Limit:
    wanted = {} if layer is None else to_mapping(layer)
    for key, value in wanted.items():
        given = getattr(limit, key)
        if given is not None and (value < given if key == "lower" else value > given):
            named = what or repr(getattr(limit, "name", ""))
            raise EmbodimentError(
                Code.OUT_OF_RANGE, where, value,
                problem=f"has the {key} limit {{value}} of {named}, which is wider than the embodiment's "
                f"{given:g}", remedy="a deployment only tightens limits",
            )  # fmt: skip
    return replace(limit, **wanted)


def _require_known(what: str, names: Mapping[str, Any], known: Iterable[str], robot: str, where: str) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise EmbodimentError(
                Code.UNKNOWN, where, name,
                problem=f"has the {what} {{value}}, which embodiment {robot!r} has not", known=known,
            )  # fmt: skip


def _read(data: dict[str, Any], where: str) -> Deployment:
    if data.get("format") != DEPLOYMENT_FORMAT:
        raise EmbodimentError(
            Code.INVALID, f"{where}, format", data.get("format"), expected=repr(DEPLOYMENT_FORMAT),
            remedy="is it a deployment file of hpt_ros?",
        )  # fmt: skip
    return read_dataclass(Deployment, data, where=where)
