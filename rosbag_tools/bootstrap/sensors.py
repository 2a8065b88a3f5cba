# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a first embodiment file says of topics that are neither colour cameras nor joints."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.embodiment.estimates import make_unique
from hpt_ros.embodiment.message_types import MESSAGE_TYPES
from hpt_ros.embodiment.streams import modalities_of
from hpt_ros.errors import Code
from hpt_ros.modalities import MODALITIES, STATE
from hpt_ros.observation import DecodeError, InvalidSampleError, decode
from hpt_ros.observation.image_size import image_size
from rosbag_tools.bag_schema import EMBODIMENT_TOPIC
from rosbag_tools.errors import BagError
from rosbag_tools.reading.decodable import MOST_ODD
from rosbag_tools.reading.reader import Bag

CHECK = "CHECK ME"
# More messages than this fraction that do not fit the others are no accident.
MOST_ODD_RATIO = 0.25
# Points retained of a cloud: what point cloud policies commonly take (3D Diffusion Policy: 512 or 1024).
POINTS = 1024
# Texts are of all kinds; only these parts of a topic's name make one the task.
TASK_WORDS = ("task", "instruction", "language", "prompt")

ARRAY_TYPES = ("std_msgs/msg/Float32MultiArray", "std_msgs/msg/Float64MultiArray")
CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
TEXT_TYPE = "std_msgs/msg/String"
POSE_TYPES = ("geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/TwistStamped")
# Types that say all that a stream of theirs needs.
PLAIN_TYPES = tuple(
    name
    for name, item in MESSAGE_TYPES.of_project().items()
    if (gives := modalities_of(name)) and gives[0] != STATE and not (item.needs or MODALITIES[gives[0]].needs)
)
STREAM_TYPES = (*PLAIN_TYPES, CLOUD_TYPE, *ARRAY_TYPES, *POSE_TYPES)


# Parts of a topic's name that say nothing about which camera it is.
_DULL = frozenset(
    "image image_raw image_rect image_color image_rect_color raw compressed color rgb camera cam".split()
)


class Unsupported(BagError):
    """Why a topic cannot be used."""


class OddMessages:
    """Counts messages of a topic that do not fit what the others are: conversion skips them, so a file may be made."""

    def __init__(self) -> None:
        """Start with none."""
        self._reasons: Counter[str] = Counter()
        self.fit = 0

    @property
    def unfit(self) -> int:
        """How many do not fit."""
        return sum(self._reasons.values())

    def count(self, reason: str, messages: int = 1) -> None:
        """Count messages; `reason` is empty if they fit."""
        if reason:
            self._reasons[reason] += messages
        else:
            self.fit += messages

    @property
    def too_many(self) -> bool:
        """Whether they are a kind of their own, and not a few."""
        return self.unfit > MOST_ODD_RATIO * (self.fit + self.unfit)

    def sentence(self) -> str:
        """How many and why, the most frequent reason; empty if there is none."""
        if not self._reasons:
            return ""
        reason = self._reasons.most_common(1)[0][0]
        return f"{self.unfit} of its {self.fit + self.unfit} messages do not fit: {reason}"


@dataclass(frozen=True)
class DetectedStream:
    """A topic that becomes a stream.

    Attributes:
        topic, type, modality, rate_hz: of the stream.
        size: depth (height, width), an array (length,), pointcloud (points,), otherwise ().
        note: what a person should know, for a comment.
        odd: which of its messages do not fit, how many and why, in words; empty if all do.
    """

    topic: str
    type: str
    modality: str
    rate_hz: float
    size: tuple[int, ...]
    note: str
    odd: str = ""


def detect_stream(bag: Bag, topic: str, type_: str, rate_hz: float) -> DetectedStream:
    """What a topic of `STREAM_TYPES`, or of depth pictures, can be.

    Raises:
        Unsupported: nothing, and why.
    """
    if type_ in POSE_TYPES:
        raise Unsupported(
            Code.UNSUPPORTED,
            problem="a twist may be the robot's or an object's; add it as a state stream if it is observed",
        )
    if type_ == TEXT_TYPE:
        words = topic.lower().replace("/", "_").split("_")
        if topic == EMBODIMENT_TOPIC or not any(word in TASK_WORDS for word in words):
            raise Unsupported(
                Code.UNSUPPORTED, problem="a text; add it as a language stream if it is the task"
            )
    if type_ in PLAIN_TYPES:
        probe = Stream("probe", modalities_of(type_)[0], topic, type_, 1.0, 1.0)
    elif type_ == CLOUD_TYPE:
        probe = Stream("probe", "pointcloud", topic, type_, 1.0, 1.0, points=1)
    else:
        probe = Stream("probe", "depth", topic, type_, 1.0, 1.0, image=ImageSpec(8, 8))
    reason, unfit = Unsupported(Code.EMPTY, problem="it has no messages"), 0
    lengths = Counter[int]()
    for message in bag.messages([topic]):
        if type_ in ARRAY_TYPES:
            lengths[len(message.content.data) - int(message.content.layout.data_offset)] += 1
            continue
        try:
            decode(probe, message.content)
            return DetectedStream(topic, type_, probe.modality, rate_hz, *_size(type_, message.content))
        except InvalidSampleError as error:  # the next may be good
            reason = Unsupported.of(error.refusal)
        except DecodeError as error:
            reason, unfit = Unsupported.of(error.refusal), unfit + 1
            if unfit > MOST_ODD:
                raise reason from error
    if not lengths:
        raise reason
    usual, odd = lengths.most_common(1)[0][0], OddMessages()
    for length, messages in lengths.items():
        odd.count("" if length == usual else f"it has {length} values, and others {usual}", messages)
    if odd.too_many or not 1 <= usual <= 65_536:
        raise Unsupported(
            Code.MISMATCH,
            problem=f"its messages have {min(lengths)} to {max(lengths)} values, but one number of 1 to 65536 is used",
        )
    modality = MODALITIES[modalities_of(type_)[0]]
    return DetectedStream(topic, type_, modality.name, rate_hz, (usual,), modality.note, odd.sentence())


def _size(type_: str, message: Any) -> tuple[tuple[int, ...], str]:
    """A stream's size and what a person should know about it."""
    if type_ in PLAIN_TYPES:
        return (), MODALITIES[modalities_of(type_)[0]].note
    if type_ == CLOUD_TYPE:
        count = int(message.height) * int(message.width)
        return (min(count, POINTS, 16_384),), f"chosen far apart; a cloud of the sensor has {count} points"
    height, width = image_size(message) or (0, 0)  # it was decoded: it has one
    return (height, width), f"stored size; the camera gives {width}x{height}"


def agree(senses: list[DetectedStream], left_out: dict[str, str]) -> list[DetectedStream]:
    """Give streams that enter one stem side by side one size; those that cannot have it are left out, with a reason."""
    kept: list[DetectedStream] = []
    lengths = Counter(sense.size for sense in senses if sense.type in ARRAY_TYPES)
    tasks = [sense.topic for sense in senses if sense.modality == "language"]
    for sense in senses:
        if sense.type in ARRAY_TYPES and sense.size != lengths.most_common(1)[0][0]:
            left_out[sense.topic] = f"its {sense.size[0]} values are not as many as of the other arrays"
            continue
        if sense.modality == "language" and sense.topic != tasks[0]:
            left_out[sense.topic] = f"{tasks[0]} is taken for the task"
            continue
        alike = [other.size for other in senses if other.modality == sense.modality]
        if sense.modality in ("depth", "pointcloud") and len(set(alike)) > 1:
            note = f"{sense.note}; {CHECK}: all {sense.modality} streams have one size, the smallest"
            sense = replace(sense, size=min(alike), note=note)
        kept.append(sense)
    return kept


def sense_lines(sense: DetectedStream) -> list[str]:
    """The last lines of a stream in the file: its size, with the note as a comment."""
    if sense.modality == "depth":
        height, width = (int(np.clip(edge, 8, 4096)) for edge in sense.size)
        return [f"    image: {{height: {height}, width: {width}}}  # {sense.note}"]
    keys = (*MESSAGE_TYPES[sense.type].needs, *MODALITIES[sense.modality].needs)
    return [f"    {key}: {sense.size[0]}  # {sense.note}" for key in keys] or [f"    # {sense.note}"]


def stream_names(topics: list[str]) -> list[str]:
    """A name for the stream of each topic, each once, from what the topic's name says."""
    names: list[str] = []
    for topic in topics:
        parts = [part for part in topic.lower().split("/") if part and part not in _DULL]
        base = re.sub(r"[^a-z0-9]+", "_", "_".join(parts)).strip("_")
        base = re.sub(r"_(camera|cam)$", "", base)[:56] or "camera"
        base = base if base[0].isalpha() else f"camera_{base}"
        names.append(base)
    return make_unique(names)
