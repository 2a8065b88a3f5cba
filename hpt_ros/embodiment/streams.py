# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Streams of an embodiment: the message types, what each is decoded to, and the names of vector elements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from hpt_ros.embodiment.encodings import ENCODINGS_OF
from hpt_ros.errors import Code, HptError
from hpt_ros.structured import field

# Types whose messages are packets of H.264 or H.265, of which each needs those before it.
VIDEO_TYPES = ("foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket")
# What each message type can be decoded to; the decoders live in hpt_ros.observation.
STREAM_TYPES: Mapping[str, tuple[str, ...]] = {
    "sensor_msgs/msg/Image": ("image", "depth"),
    "sensor_msgs/msg/CompressedImage": ("image", "depth"),
    **dict.fromkeys(VIDEO_TYPES, ("image",)),
    "sensor_msgs/msg/JointState": ("state",),
    "sensor_msgs/msg/PointCloud2": ("pointcloud",),
    "geometry_msgs/msg/PoseStamped": ("state",),
    "geometry_msgs/msg/TwistStamped": ("state",),
    "geometry_msgs/msg/WrenchStamped": ("wrench", "state"),
    "nav_msgs/msg/Odometry": ("state",),
    "std_msgs/msg/Float32MultiArray": ("tactile", "state"),
    "std_msgs/msg/Float64MultiArray": ("tactile", "state"),
    "std_msgs/msg/String": ("language",),
}
MODALITIES = tuple(dict.fromkeys(modality for found in STREAM_TYPES.values() for modality in found))
JOINED = ("state", "wrench")  # all streams of the modality make one vector
# Every stream is a feature of its own: modality to the dataset's dtype. Depth is in mm, 0 where nothing was measured.
PER_STREAM: Mapping[str, str] = {
    "image": "video", "depth": "uint16", "tactile": "float32", "pointcloud": "float32",
}  # fmt: skip
JOINT_FIELDS = ("position", "velocity", "effort")
ODOMETRY_FIELDS = ("pose", "twist")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "sensor_msgs/msg/JointState": JOINT_FIELDS, "nav_msgs/msg/Odometry": ODOMETRY_FIELDS,
}  # fmt: skip
_ARRAYS = ("std_msgs/msg/Float32MultiArray", "std_msgs/msg/Float64MultiArray")
# Elements of messages that are a vector by themselves. An orientation becomes the first two columns of its rotation
# matrix: continuous, unlike quaternions and angles (Zhou et al., arXiv 1812.07035), so that it can be interpolated.
_POSE = ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32")
_TWIST = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
_ODOMETRY: Mapping[str, tuple[str, ...]] = {"pose": _POSE, "twist": _TWIST}
_ELEMENTS: Mapping[str, tuple[str, ...]] = {
    "geometry_msgs/msg/PoseStamped": _POSE,
    "geometry_msgs/msg/TwistStamped": _TWIST,
    "geometry_msgs/msg/WrenchStamped": (
        "force.x", "force.y", "force.z", "torque.x", "torque.y", "torque.z",
    ),
}  # fmt: skip

_ANGLE = (".cos", ".sin")  # of a continuous joint's position, which has no seam so

BY_STAMP, BY_ARRIVAL = "stamp", "arrival"
# Types that carry the same, of which a cell may have another than the one that a policy was trained with.
SAME_CONTENT = (("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", *VIDEO_TYPES), _ARRAYS)

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

    height: int = field("rows of the stored picture", unit="px", minimum=8, maximum=4096)
    width: int = field("columns of the stored picture", unit="px", minimum=8, maximum=4096)


@dataclass(frozen=True)
class Stream:
    """One topic that the policy observes."""

    name: str = field("short name, used in feature names")
    modality: str = field("which stem takes it", choices=MODALITIES)
    topic: str = field("topic name; a relative one lies in the namespace of the node")
    type: str = field("message type", choices=tuple(STREAM_TYPES))
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
    joints: tuple[str, ...] = field("joint names in the order of the vector, for JointState", default=())
    prefix: str = field(
        "put before the joints' names, which messages have without it, such as left/ where two arms have equal names; "
        "for JointState",
        default="",
    )
    fields: tuple[str, ...] = field(
        "what is taken of a message, in order: position, velocity, effort of JointState; pose, twist of Odometry",
        default=(),
        choices=(*JOINT_FIELDS, *ODOMETRY_FIELDS),
    )
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
        "points kept of one message, for PointCloud2; chosen far apart", default=0, minimum=0, maximum=16_384
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

    def prefixed(self) -> Stream:
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
    def names(self) -> tuple[str, ...]:
        """Names of a vector's elements: of JointState all joints of the first field first; empty for no vector."""
        if self.type == "sensor_msgs/msg/JointState":
            return tuple(
                f"{joint}.{part}{element}"
                for part in self.fields
                for joint in self.joints
                for element in (_ANGLE if part == "position" and joint in self.continuous else ("",))
            )
        if self.type == "nav_msgs/msg/Odometry":
            return tuple(
                f"{self.name}.{element}" for part in self.fields for element in _ODOMETRY.get(part, ())
            )
        if self.type in _ARRAYS:
            return tuple(f"{self.name}.{index}" for index in range(self.length))
        return tuple(f"{self.name}.{element}" for element in _ELEMENTS.get(self.type, ()))

    def elements_of(self, joints: tuple[str, ...]) -> tuple[bool, ...]:
        """Of each element of a JointState's vector whether it is of one of these joints, (dim,)."""
        return tuple(
            joint in joints
            for part in self.fields
            for joint in self.joints
            for _ in (_ANGLE if part == "position" and joint in self.continuous else ("",))
        )

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
        if self.image is not None:
            size = (self.image.height, self.image.width)
            return (*size, 3) if self.modality == "image" else size
        if self.modality == "pointcloud":
            return (self.points, 3)
        return (self.dim,) if self.dim else ()


def check_stream(stream: Stream, where: str) -> None:
    """Raise EmbodimentError for fields that contradict one another; `where` names the stream."""
    if not NAME.fullmatch(stream.name):
        raise EmbodimentError(
            Code.INVALID, where,
            problem="has a name that is not a lower-case letter followed by letters, digits or underscores",
            remedy="rename it",
        )  # fmt: skip
    check_recorded_topic(stream.topic, where)
    if stream.modality not in STREAM_TYPES[stream.type]:
        raise EmbodimentError(
            Code.INVALID, where, stream.modality,
            problem=f"has type {stream.type} and modality {{value}}, but that type gives "
            f"{' or '.join(map(repr, STREAM_TYPES[stream.type]))}", remedy="correct one of them",
        )  # fmt: skip
    pictured, jointed = stream.modality in ("image", "depth"), stream.type == "sensor_msgs/msg/JointState"
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
    encodings = () if stream.type in VIDEO_TYPES else ENCODINGS_OF.get(stream.modality, ())
    if stream.encoding and stream.encoding not in encodings:
        raise EmbodimentError(
            Code.UNEXPECTED, where, stream.encoding,
            problem=f"is a {stream.modality} stream with the encoding {{value}}",
            expected=f"{'one of ' * bool(encodings)}{', '.join(encodings) or 'none'}",
            remedy="correct or remove it",
        )  # fmt: skip
    if pictured and (stream.joints or stream.fields):
        raise EmbodimentError(
            Code.UNEXPECTED, where, problem="is a stream of pictures with joints or fields",
            remedy="remove them",
        )  # fmt: skip
    if jointed and (stream.image is not None or not stream.joints or not stream.fields):
        raise EmbodimentError(
            Code.MISSING, where, problem="is a state stream and needs 'joints' and 'fields' and no 'image'",
            remedy="correct it",
        )  # fmt: skip
    for index, name in enumerate(stream.fields):
        known = _FIELDS.get(stream.type, ())
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
    needed = {
        "image": pictured,
        "joints": jointed,
        "fields": stream.type in _FIELDS,
        "length": stream.type in _ARRAYS,
        "points": stream.modality == "pointcloud",
    }
    for key, wanted in needed.items():
        if bool(getattr(stream, key)) != wanted:
            raise EmbodimentError(
                Code.MISSING if wanted else Code.UNEXPECTED, where, key,
                problem=f"is a {stream.modality} stream of {stream.type}, which "
                + ("needs the key {value}" if wanted else "takes no key {value}"),
            )  # fmt: skip


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
