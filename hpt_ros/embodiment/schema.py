"""The embodiment file's schema: one robot, as recording, converting, training and running must agree on it.

Data only. Units are SI; joint vectors follow the order of names that the file gives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import HptError
from hpt_ros.structured import (
    differences,
    dump_yaml,
    field,
    load_yaml_mapping,
    read_dataclass,
    read_yaml_file,
    to_mapping,
)

FORMAT = "hpt_ros/embodiment/1"

# What each message type can be decoded to; the decoders live in hpt_ros.observation.
STREAM_TYPES = {
    "sensor_msgs/msg/Image": "image",
    "sensor_msgs/msg/CompressedImage": "image",
    "sensor_msgs/msg/JointState": "state",
}
ACTION_TYPES = ("trajectory_msgs/msg/JointTrajectory",)
JOINT_FIELDS = ("position", "velocity", "effort")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
# ROS 2 names: absolute, segments of letters, digits and underscores that do not begin with a digit.
_TOPIC = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


class EmbodimentError(HptError):
    """An embodiment file is wrong, or two of them do not agree."""


@dataclass(frozen=True)
class ImageSpec:
    """Size that images of a stream have in datasets; decoded RGB, uint8, (height, width, 3)."""

    height: int = field("rows of the stored image", unit="px", minimum=8, maximum=4096)
    width: int = field("columns of the stored image", unit="px", minimum=8, maximum=4096)


@dataclass(frozen=True)
class Stream:
    """One topic that the policy observes."""

    name: str = field("short name, used in feature names")
    modality: str = field("which stem takes it", choices=("image", "state"))
    topic: str = field("absolute topic name")
    type: str = field("message type", choices=tuple(STREAM_TYPES))
    rate_hz: float = field("rate at which messages are expected", unit="Hz", above=0.0, maximum=10_000.0)
    tolerance_s: float = field("oldest sample that still counts at a tick", unit="s", above=0.0, maximum=60.0)
    qos: str = field(
        "subscription's quality of service", default="sensor_data", choices=("sensor_data", "reliable")
    )
    image: ImageSpec | None = field("stored size, for images", default=None)
    joints: tuple[str, ...] = field("joint names in the order of the vector, for states", default=())
    fields: tuple[str, ...] = field("JointState fields taken, in order", default=(), choices=JOINT_FIELDS)
    unit: str = field("unit of the values, for states", default="")

    @property
    def dim(self) -> int:
        """Length of the state vector of this stream; 0 for images."""
        return len(self.joints) * len(self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the state vector's elements, all joints of the first field first."""
        return tuple(f"{joint}.{part}" for part in self.fields for joint in self.joints)


@dataclass(frozen=True)
class JointLimit:
    """Limits of one commanded dimension, in the action's unit and its derivatives."""

    name: str = field("the action's name")
    lower: float = field("lowest permitted command")
    upper: float = field("highest permitted command")
    velocity: float = field("largest permitted speed", above=0.0)
    acceleration: float = field("largest permitted acceleration", above=0.0)


@dataclass(frozen=True)
class Action:
    """What the policy commands, and what a teleoperator commanded while recording."""

    topic: str = field("absolute topic name of the command")
    type: str = field("message type", choices=ACTION_TYPES)
    names: tuple[str, ...] = field("commanded joints, in the order of the action vector")
    limits: tuple[JointLimit, ...] = field("limits, one per name, in the same order")
    rate_hz: float = field("rate at which commands are sent", unit="Hz", above=0.0, maximum=1000.0)
    horizon: int = field("ticks in one predicted chunk", minimum=1, maximum=256)
    kind: str = field("quantity commanded", default="joint_position", choices=("joint_position",))
    mode: str = field("reference of the values", default="absolute", choices=("absolute",))
    unit: str = field("unit of the values", default="rad")
    tolerance_s: float = field("oldest command that still counts at a tick", default=0.1, unit="s", above=0.0)
    latency_s: float = field(
        "how far ahead of its time a command is sent", default=0.0, unit="s", minimum=0.0, maximum=2.0
    )

    @property
    def dim(self) -> int:
        """Length of the action vector."""
        return len(self.names)


@dataclass(frozen=True)
class Embodiment:
    """One robot: its observed streams, its action and its limits."""

    format: str = field("schema version", choices=(FORMAT,))
    name: str = field("the embodiment's name; stems and heads are kept under it")
    tick_hz: float = field("rate of observations and of the dataset", unit="Hz", above=0.0, maximum=1000.0)
    streams: tuple[Stream, ...] = field(
        "observed topics; order fixes the order of views and of the state vector"
    )
    action: Action = field("the command")
    observation_horizon: int = field(
        "past ticks that the policy sees, this one included", default=1, minimum=1, maximum=64
    )
    task: str = field("the task's text when none is given", default="")
    description: str = field("one line for people", default="")

    @staticmethod
    def load(path: str | Path) -> Embodiment:
        """Read and check an embodiment file.

        Raises:
            StructureError: unreadable, not YAML, wrong keys or types.
            EmbodimentError: fields that contradict one another.
        """
        return _checked(read_yaml_file(Path(path)), f"embodiment file {str(path)!r}")

    @staticmethod
    def loads(text: str, *, where: str = "embodiment text") -> Embodiment:
        """As `load`, from YAML text that travelled inside a bag, dataset or checkpoint."""
        return _checked(load_yaml_mapping(text, where=where), where)

    def to_yaml(self) -> str:
        """The canonical text; equal embodiments give equal text."""
        return dump_yaml(to_mapping(self))

    @property
    def dt_s(self) -> float:
        """Seconds between ticks."""
        return 1.0 / self.tick_hz

    @cached_property
    def image_streams(self) -> tuple[Stream, ...]:
        """Image streams in view order."""
        return tuple(stream for stream in self.streams if stream.modality == "image")

    @cached_property
    def state_streams(self) -> tuple[Stream, ...]:
        """State streams in the order of the state vector."""
        return tuple(stream for stream in self.streams if stream.modality == "state")

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        """Names of the elements of ``observation.state``."""
        return tuple(name for stream in self.state_streams for name in stream.names)

    @cached_property
    def lower(self) -> NDArray[np.float64]:
        """Lowest permitted command, (action dim,), in the action's unit."""
        return np.array([limit.lower for limit in self.action.limits])

    @cached_property
    def upper(self) -> NDArray[np.float64]:
        """Highest permitted command, (action dim,), in the action's unit."""
        return np.array([limit.upper for limit in self.action.limits])

    @cached_property
    def max_velocity(self) -> NDArray[np.float64]:
        """Largest speed, (action dim,), in the action's unit per second."""
        return np.array([limit.velocity for limit in self.action.limits])

    @cached_property
    def max_acceleration(self) -> NDArray[np.float64]:
        """Largest acceleration, (action dim,), in the action's unit per second squared."""
        return np.array([limit.acceleration for limit in self.action.limits])

    def stream(self, name: str) -> Stream:
        """The stream of that name.

        Raises:
            EmbodimentError: there is none.
        """
        for stream in self.streams:
            if stream.name == name:
                return stream
        known = ", ".join(stream.name for stream in self.streams)
        raise EmbodimentError(f"embodiment {self.name!r} has no stream {name!r}; its streams are {known}")

    def features(self) -> dict[str, tuple[int, ...]]:
        """Dataset features and their shapes: images (height, width, 3), state (D,), action (Da,)."""
        shapes: dict[str, tuple[int, ...]] = {}
        for stream in self.image_streams:
            assert stream.image is not None  # _checked saw to it
            shapes[image_feature(stream.name)] = (stream.image.height, stream.image.width, 3)
        if self.state_names:
            shapes["observation.state"] = (len(self.state_names),)
        shapes["action"] = (self.action.dim,)
        return shapes


def image_feature(stream_name: str) -> str:
    """Dataset feature name of an image stream."""
    return f"observation.images.{stream_name}"


# What a bag does not settle: it holds messages as they came, so these may be chosen anew when it is converted.
_CHOSEN_AT_CONVERSION = ("tick_hz", "streams.*.image", "streams.*.tolerance_s", "action.tolerance_s", "task")
# What a dataset does not settle: it may be chosen anew when a policy is trained.
_CHOSEN_AT_TRAINING = (
    "observation_horizon", "action.horizon", "action.limits", "action.rate_hz", "action.latency_s",
    "streams.*.qos", "streams.*.rate_hz",
)  # fmt: skip
_NOT_SETTLED = {"all": (), "dataset": _CHOSEN_AT_TRAINING, "bag": _CHOSEN_AT_TRAINING + _CHOSEN_AT_CONVERSION}


def require_match(a: Embodiment, b: Embodiment, *, a_name: str, b_name: str, settled: str = "all") -> None:
    """Raise unless two embodiments agree in everything that matters; descriptions never do.

    Args:
        a, b: the embodiments.
        a_name, b_name: what they belong to, e.g. ``"checkpoint 'runs/1'"``.
        settled: "all" for a checkpoint and a robot; "dataset" or "bag" leave out what such data does not settle, e.g.
            the observation horizon.

    Raises:
        EmbodimentError: names the first field that differs and both values.
    """
    left, right = to_mapping(a), to_mapping(b)
    for mapping in (left, right):
        mapping.pop("description", None)
        for path in _NOT_SETTLED[settled]:
            _remove(mapping, path.split("."))
        # By name, so that the message says which stream or joint, not which index.
        mapping["streams"] = {item["name"]: item for item in mapping["streams"]}
        mapping["action"]["limits"] = {item["name"]: item for item in mapping["action"].get("limits", ())}
        # Order counts too: it fixes views and vector elements.
        mapping["order of streams"] = list(mapping["streams"])
    found = differences(left, right)
    if found:
        key, in_a, in_b = found[0]
        more = f" ({len(found) - 1} more fields differ)" if len(found) > 1 else ""
        raise EmbodimentError(
            f"{a_name} and {b_name} are of different embodiments: {key} is {_short(in_a)} in the first and "
            f"{_short(in_b)} in the second{more}; use files of the same robot"
        )


def _remove(mapping: dict[str, Any], path: list[str]) -> None:
    """Remove a key by its path; ``*`` stands for every item of a list."""
    place: Any = mapping
    for index, key in enumerate(path[:-1]):
        if key == "*":
            for item in place:
                _remove(item, path[index + 1 :])
            return
        place = place[key]
    place.pop(path[-1], None)


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _checked(data: dict[str, Any], where: str) -> Embodiment:
    if data.get("format") != FORMAT:
        raise EmbodimentError(
            f"{where} has format {data.get('format')!r}, but {FORMAT!r} was expected; "
            "is it an embodiment file of hpt_ros?"
        )
    embodiment = read_dataclass(Embodiment, data, where=where)
    _check_names(embodiment, where)
    for stream in embodiment.streams:
        _check_stream(stream, f"{where}, stream {stream.name!r}")
    _check_action(embodiment.action, f"{where}, action")
    return embodiment


def _check_names(embodiment: Embodiment, where: str) -> None:
    if not _NAME.fullmatch(embodiment.name):
        raise EmbodimentError(
            f"{where} has the name {embodiment.name!r}, but a lower-case letter and then letters, digits or "
            "underscores (63 at most) were expected; rename it"
        )
    if not embodiment.streams:
        raise EmbodimentError(
            f"{where} has no streams, but at least one was expected; list what the policy observes"
        )
    for kind, values in (
        ("stream name", [stream.name for stream in embodiment.streams]),
        ("stream topic", [stream.topic for stream in embodiment.streams]),
        ("state element", list(embodiment.state_names)),
    ):
        if (twice := _first_duplicate(values)) is not None:
            raise EmbodimentError(
                f"{where} has the {kind} {twice!r} twice, but each may stand once; rename or remove one"
            )


def _check_stream(stream: Stream, where: str) -> None:
    if not _NAME.fullmatch(stream.name):
        raise EmbodimentError(
            f"{where} has a name that is not a lower-case letter followed by letters, digits or underscores; "
            "rename it"
        )
    _check_topic(stream.topic, where)
    if STREAM_TYPES[stream.type] != stream.modality:
        raise EmbodimentError(
            f"{where} has type {stream.type} and modality {stream.modality!r}, but that type gives "
            f"{STREAM_TYPES[stream.type]!r}; correct one of them"
        )
    if stream.modality == "image":
        if stream.image is None:
            raise EmbodimentError(f"{where} lacks the key 'image'; add image: {{height: ..., width: ...}}")
        if stream.joints or stream.fields:
            raise EmbodimentError(f"{where} is an image stream with joints or fields; remove them")
    elif stream.image is not None or not stream.joints or not stream.fields:
        raise EmbodimentError(
            f"{where} is a state stream and needs 'joints' and 'fields' and no 'image'; correct it"
        )


def _check_action(action: Action, where: str) -> None:
    _check_topic(action.topic, where)
    if not action.names:
        raise EmbodimentError(
            f"{where} has no names, but at least one commanded joint was expected; list them"
        )
    if (twice := _first_duplicate(list(action.names))) is not None:
        raise EmbodimentError(
            f"{where} has the name {twice!r} twice, but each joint may stand once; remove one"
        )
    limited = tuple(limit.name for limit in action.limits)
    if limited != action.names:
        raise EmbodimentError(
            f"{where} has limits for {list(limited)}, but names are {list(action.names)}; "
            "give one limit per name in that order"
        )
    for limit in action.limits:
        if limit.lower >= limit.upper:
            raise EmbodimentError(
                f"{where}, limit of {limit.name!r} has lower {limit.lower:g} and upper {limit.upper:g}, but "
                "lower < upper was expected; correct them"
            )


def _check_topic(topic: str, where: str) -> None:
    if len(topic) > 255 or not _TOPIC.fullmatch(topic):
        raise EmbodimentError(
            f"{where} has the topic {topic[:80]!r}, but an absolute ROS 2 name such as "
            "'/camera/image_raw' was expected; correct it"
        )


def _first_duplicate(values: list[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
