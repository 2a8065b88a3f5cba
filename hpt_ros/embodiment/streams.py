# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Streams of an embodiment: the message types, what each is decoded to, and the names of vector elements."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from hpt_ros.embodiment.encodings import ENCODINGS_OF
from hpt_ros.embodiment.message_types import MESSAGE_TYPES, MessageType, by_path, joint_state
from hpt_ros.errors import Code, HptError
from hpt_ros.modalities import MODALITIES, Decoder, Modality
from hpt_ros.structured import field

BY_STAMP, BY_ARRIVAL = "stamp", "arrival"

_PREFIX = re.compile(r"[A-Za-z0-9_./-]{1,64}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
# ROS 2 names, absolute or relative: segments of letters, digits and underscores that do not begin with a digit. Private
# ones ("~/x") lie below each node's own name, so the recorder and the policy node would not mean the same topic.
_TOPIC = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
_RECORDED_TOPIC = re.compile(r"/?[^\s/~\0-\x1f][^\s/\0-\x1f]*(/[^\s/\0-\x1f]+)*")


class EmbodimentError(HptError):
    """An embodiment file is wrong, or two of them do not agree."""


@dataclass(frozen=True)
class ImageSpec:
    """Size that pictures of a stream have in datasets: RGB uint8 (height, width, 3), depth uint16 (height, width)."""

    height: int = field("rows of the stored image", unit="px", minimum=8, maximum=4096)
    width: int = field("columns of the stored image", unit="px", minimum=8, maximum=4096)


@dataclass(frozen=True)
class Stream:
    """One topic that the policy observes."""

    name: str = field("short name, used in feature names")
    modality: str = field("which stem takes it", choices=MODALITIES)
    topic: str = field("topic name; a relative one lies in the namespace of the node")
    type: str = field("message type; with values any that is installed, or defined in the bag")
    rate_hz: float = field("rate at which messages are expected", unit="Hz", above=0.0, maximum=10_000.0)
    tolerance_s: float = field("oldest sample that still counts at a tick", unit="s", above=0.0, maximum=60.0)
    qos: str = field(
        "subscription's quality of service", default="sensor_data", choices=("sensor_data", "reliable")
    )
    image: ImageSpec | None = field("stored size, for images and depth", default=None)
    encoding: str = field(
        "what the pixels are where the driver does not say it or says it wrongly, such as bgr8 for 8UC3; of a "
        "CompressedImage what was compressed; for images and depth",
        default="",
        choices=("", *dict.fromkeys(name for names in ENCODINGS_OF.values() for name in names)),
    )
    joints: tuple[str, ...] = field(
        "joint names in the order of the vector, for JointState; with values, the joints whose positions they are",
        default=(),
    )
    prefix: str = field(
        "put before the joints' names, which messages have without it, such as left/ where two arms have equal names; "
        "for JointState",
        default="",
    )
    fields: tuple[str, ...] = field(
        "what is taken of a message, in order: position, velocity, effort of JointState; pose, twist of Odometry; "
        "orientation, angular_velocity, linear_acceleration of Imu",
        default=(),
    )
    values: tuple[str, ...] = field(
        "paths of numbers in a message of whatever type, such as data, pose.position.x, feedback.positions[0] or "
        "values[names=elbow]; the type's own decoding is not used then",
        default=(),
    )
    frame: str = field("frame in which the pose is wanted, for TFMessage", default="")
    child: str = field("frame whose pose is wanted, such as tool0, for TFMessage", default="")
    partial: bool = field(
        "messages may hold some of the joints only, such as arm and gripper in turn; they are merged, for JointState",
        default=False,
    )
    continuous: tuple[str, ...] = field(
        "joints that turn without end: the vector has cosine and sine of their positions, for JointState",
        default=(),
    )
    holds: tuple[str, ...] = field(
        "joints that are published only while they move, such as a gripper: their last value holds, however old it is, "
        "for JointState",
        default=(),
    )
    length: int = field("values of one message, for MultiArray", default=0, minimum=0, maximum=65_536)
    points: int = field(
        "points taken of one message, for PointCloud2; chosen far apart", default=0, minimum=0, maximum=16_384
    )
    unit: str = field("unit of the values", default="")
    time: str = field(
        "what says when a message was measured: its header's stamp, or its arrival, for drivers that stamp with the "
        "time since boot, or with a clock of their own",
        default=BY_STAMP, choices=(BY_STAMP, BY_ARRIVAL),
    )  # fmt: skip
    stamp_offset_s: float = field(
        "added to that time: negative for a driver that stamps late, such as a camera on arrival of its image",
        default=0.0, unit="s", minimum=-5.0, maximum=5.0,
    )  # fmt: skip

    def add_prefix(self) -> Stream:
        """The same with its prefix before its joints' names, where it is not yet."""
        joints, continuous, holds = (
            with_prefix(self.prefix, names) for names in (self.joints, self.continuous, self.holds)
        )
        return replace(self, joints=joints, continuous=continuous, holds=holds)

    @cached_property
    def message_joints(self) -> tuple[str, ...]:
        """The joints as messages name them, in the order of `joints`."""
        return tuple(name.removeprefix(self.prefix) for name in self.joints)

    @cached_property
    def kind(self) -> Modality:
        """What its modality is."""
        return MODALITIES[self.modality]

    @cached_property
    def message_type(self) -> MessageType:
        """What its messages are."""
        return by_path.any_type(self.type) if self.values else MESSAGE_TYPES[self.type]

    @cached_property
    def decoder(self) -> Decoder | None:
        """What makes a sample of a message; None where the type does not give the modality."""
        own = self.message_type.decoders.get(self.modality)
        return own if own is not None else self.kind.message_types.get(self.type)

    @property
    def static_topic(self) -> str:
        """The topic that has what never changes of a stream of transforms, sent once; empty for others."""
        return f"{self.topic}_static" if self.frame else ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of a vector's elements: of JointState all joints of the first field first; empty for no vector."""
        return self.message_type.names(self)

    def elements_of(self, joints: tuple[str, ...]) -> tuple[bool, ...]:
        """Of each element of a JointState's vector whether it is of one of these joints, (dim,)."""
        return joint_state.elements_of(self, joints)

    @property
    def holding(self) -> bool:
        """Whether all of it holds: then silence says nothing."""
        return bool(self.joints) and set(self.joints) == set(self.holds)

    @property
    def dim(self) -> int:
        """Length of the vector of this stream; 0 for pictures, point clouds and text."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one decoded sample; () for text."""
        return self.kind.sample(self)


def check_stream(stream: Stream, where: str) -> None:
    """Raise EmbodimentError for fields that contradict one another; `where` names the stream."""
    if not NAME.fullmatch(stream.name):
        raise EmbodimentError(
            Code.INVALID, where,
            problem="has a name that is not a lower-case letter followed by letters, digits or underscores",
            remedy="rename it",
        )  # fmt: skip
    check_recorded_topic(stream.topic, where)
    if stream.decoder is None:
        given = modalities_of(stream.type)
        raise EmbodimentError(
            Code.INVALID, where, stream.modality,
            problem=f"has type {stream.type} and modality {{value}}, but that type gives "
            f"{' or '.join(map(repr, given)) or 'none, since it is only commanded'}", remedy="correct one of them",
        )  # fmt: skip
    keys = {
        *stream.kind.needs,
        *stream.message_type.needs,
        *(["fields"] if stream.message_type.fields else []),
    }
    pictured, jointed = "image" in keys, "joints" in keys
    if pictured and stream.image is None:
        raise EmbodimentError(
            Code.MISSING, where, "image", problem="lacks the key {value}",
            remedy="add image: {height: ..., width: ...}",
        )  # fmt: skip
    if stream.partial and not jointed:
        raise EmbodimentError(
            Code.UNEXPECTED, where,
            problem=f"is a stream of {stream.type} with partial: true, which only JointState can be",
        )  # fmt: skip
    check_prefix(stream.prefix, jointed, where)
    encodings = () if stream.message_type.video else ENCODINGS_OF.get(stream.modality, ())
    if stream.encoding and stream.encoding not in encodings:
        raise EmbodimentError(
            Code.UNEXPECTED, where, stream.encoding,
            problem=f"is a {stream.modality} stream with the encoding {{value}}",
            expected=f"{'one of ' * bool(encodings)}{', '.join(encodings) or 'none'}",
            remedy="correct or remove it",
        )  # fmt: skip
    if pictured and (stream.joints or stream.fields):
        raise EmbodimentError(
            Code.UNEXPECTED, where, problem="is a stream of images with joints or fields",
            remedy="remove them",
        )  # fmt: skip
    if jointed and (stream.image is not None or not stream.joints or not stream.fields):
        raise EmbodimentError(
            Code.MISSING, where, problem="is a state stream and needs 'joints' and 'fields' and no 'image'",
            remedy="correct it",
        )  # fmt: skip
    for index, name in enumerate(stream.fields):
        known = stream.message_type.fields
        if known and (name not in known or name in stream.fields[:index]):
            raise EmbodimentError(
                Code.DUPLICATE, f"{where}, field", name, expected=f"each of {', '.join(known)} once at most",
                remedy="correct it",
            )  # fmt: skip
    for name in stream.holds:
        if name not in stream.joints:
            raise EmbodimentError(
                Code.INVALID, where, name, problem="has {value} in holds",
                expected=f"one of its joints ({', '.join(stream.joints) or 'none'})",
            )  # fmt: skip
    if stream.holds and not (stream.holding or stream.partial):
        raise EmbodimentError(
            Code.INVALID, where,
            problem=f"holds {', '.join(stream.holds)} and not its other joints, so that messages have some "
            "joints only", remedy="add partial: true",
        )  # fmt: skip
    for key in ("image", "joints", "fields", "length", "points", "frame", "child"):
        if key == "joints" and stream.values:
            continue
        wanted = key in keys
        if bool(getattr(stream, key)) != wanted:
            raise EmbodimentError(
                Code.MISSING if wanted else Code.UNEXPECTED, where, key,
                problem=f"is a {stream.modality} stream of {stream.type}, which "
                + ("needs the key {value}" if wanted else "takes no key {value}"),
            )  # fmt: skip


def check_type(stream: Stream, where: str) -> None:
    """Raise EmbodimentError for a type that is not known, unless paths say where its numbers are."""
    if not stream.values:
        if stream.type not in MESSAGE_TYPES:
            raise EmbodimentError(
                Code.UNKNOWN, f"{where}, type", stream.type, known=MESSAGE_TYPES, remedy="correct it, or give values",
            problem="is {value}, and no values give the paths of its numbers",
            )  # fmt: skip
        return
    if not by_path.is_message_type(stream.type):
        raise EmbodimentError(
            Code.INVALID, f"{where}, type", stream.type, expected="one such as std_msgs/msg/Float32"
        )
    if len(stream.values) > by_path.MOST_VALUES:
        raise EmbodimentError(
            Code.WRONG_SHAPE, where, len(stream.values), problem="has {value} values",
            expected=f"{by_path.MOST_VALUES} at most", remedy="take fewer",
        )  # fmt: skip
    for index, path in enumerate(stream.values):
        if not by_path.is_path(path) or path in stream.values[:index]:
            raise EmbodimentError(
                Code.INVALID, where, path, problem="has the path {value} among its values",
                expected=f"{by_path.FORM} each once",
            )  # fmt: skip
    if stream.joints and len(stream.joints) != len(stream.values):
        raise EmbodimentError(
            Code.WRONG_SHAPE, where, problem=f"has {len(stream.values)} values and {len(stream.joints)} joints",
            expected="a joint for each value, or none", remedy="correct one of them",
        )  # fmt: skip


def modalities_of(type_: str) -> tuple[str, ...]:
    """What streams of a message type can be; of modalities of other packages, that name types, none."""
    taking = [item.name for item in MODALITIES.of_project().values() if type_ in item.message_types]
    return tuple(dict.fromkeys((*taking, *MESSAGE_TYPES[type_].decoders)))


def with_prefix(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names with a prefix before those that do not begin with it."""
    return tuple(name if name.startswith(prefix) else f"{prefix}{name}" for name in names)


def check_prefix(prefix: str, jointed: bool, where: str) -> None:
    """Raise EmbodimentError for a prefix that is no part of a name, or of something without joints."""
    if prefix and not (jointed and _PREFIX.fullmatch(prefix)):
        raise EmbodimentError(
            Code.INVALID if jointed else Code.UNEXPECTED, f"{where}, prefix", prefix[:80],
            expected="letters, digits, _, -, . and / (64 at most)" if jointed else "none without joints",
            remedy="correct or remove it",
        )  # fmt: skip


def check_recorded_topic(topic: str, where: str) -> None:
    """Raise EmbodimentError for a text that cannot be the absolute or relative name of a topic in a recording.

    Recordings of ROS 1 and those that scripts write have names that ROS 2 refuses, such as ``/cam-1/image``.
    """
    if len(topic) > 255 or not _RECORDED_TOPIC.fullmatch(topic):
        raise EmbodimentError(
            Code.INVALID, f"{where}, topic", topic[:80],
            expected="a topic name such as 'camera/image_raw' (in the node's namespace) or "
            "'/camera/image_raw'",
        )  # fmt: skip


def check_topic(topic: str, where: str) -> None:
    """Raise EmbodimentError for a text that is no absolute or relative ROS 2 name."""
    if len(topic) > 255 or not _TOPIC.fullmatch(topic):
        raise EmbodimentError(
            Code.INVALID, f"{where}, topic", topic[:80],
            expected="a ROS 2 name such as 'camera/image_raw' (in the node's namespace) or "
            "'/camera/image_raw'",
        )  # fmt: skip


def in_namespace(topic: str, namespace: str = "/") -> str:
    """The absolute name of a topic for a node in a namespace; https://design.ros2.org/articles/topic_and_service_names.html."""
    return topic if topic.startswith("/") else f"{namespace.rstrip('/')}/{topic}"
