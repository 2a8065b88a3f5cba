# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the messages of a topic can be decoded, as the converter will."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from hpt_ros.embodiment import ImageSpec, Output, Stream
from hpt_ros.embodiment.message_types import MESSAGE_TYPES
from hpt_ros.errors import Refusal
from hpt_ros.observation import DecodeError, InvalidSampleError, StreamDecoder, decode_command, is_depth
from hpt_ros.observation.image_size import image_size
from hpt_ros.observation.images import guess_encoding
from hpt_ros.observation.transforms import TransformChain
from hpt_ros.observation.video import is_video
from rosbag_tools.errors import DamagedMessageError
from rosbag_tools.reading.reader import Bag

TRIED = 100  # messages of a topic of which one must be good; a camera's first may be damaged
# Drivers begin with messages that lack names or fields, and others' messages stray onto a topic: so many of which none
# fits are passed over, wherever a bag's messages are looked at.
MOST_ODD = 20
PACKETS_TRIED = 600  # of a video, of which a key frame must be one: 20 s at 30 Hz
IMAGE_TYPES = tuple(name for name, item in MESSAGE_TYPES.of_project().items() if "image" in item.decoders)


def image_probe(topic: str, type_: str, message: Any) -> Stream:
    """A stream that takes the images of a topic of which nothing else is known."""
    modality = "depth" if is_depth(message) else "image"
    encoding = guess_encoding(message) if modality == "image" else ""
    return Stream("probe", modality, topic, type_, 1.0, 1.0, image=ImageSpec(8, 8), encoding=encoding)


@dataclass(frozen=True, slots=True)
class Looked:
    """What became of a topic's first messages.

    Attributes:
        stream: that took one; None if none did.
        size: height and width of an image as it comes; None of other messages.
        reason: why none could be decoded; None if one could, or there is none.
    """

    stream: Stream | None = None
    size: tuple[int, int] | None = None
    reason: Refusal | None = None


def look(bag: Bag, topic: str, stream: Stream | None = None) -> Looked:
    """Decode a topic's messages until one is good.

    Args:
        bag: an open bag.
        topic: its name in the bag.
        stream: that it is to become; None: whatever an image can be.
    """
    reason: Refusal | None = None
    decoder, unfit = None, 0
    try:
        chain = TransformChain(stream) if stream is not None and stream.frame else None
        topics = [topic] if chain is None or stream is None else [topic, stream.static_topic]
        for index, message in enumerate(bag.messages(topics)):
            content = message.content if chain is None else chain.take(message.content)
            if content is None:
                reason = reason or (None if chain is None else chain.problem())
                continue
            probe = stream or image_probe(topic, bag.topics[topic].type, content)
            video = is_video(probe, content)
            if index >= (PACKETS_TRIED if video else TRIED):
                break
            decoder = decoder if decoder is not None and video else StreamDecoder(probe)
            try:
                decoder.take(content)()
            except InvalidSampleError as error:
                reason = reason or error.refusal
            except DecodeError as error:  # a message of another driver, perhaps
                reason, unfit = reason or error.refusal, unfit + 1
                if unfit > MOST_ODD:
                    return Looked(reason=reason)
            else:
                pictured = probe.image is not None
                size = decoder.video_size if video else image_size(content) if pictured else None
                return Looked(probe, size)
    except (DecodeError, DamagedMessageError) as error:
        return Looked(reason=error.refusal)
    return Looked(reason=reason)


def look_at_command(bag: Bag, output: Output) -> Refusal | None:
    """Why none of the first commands on an output's topic can be decoded; None if one can be."""
    reason, unfit = None, 0
    try:
        for message in itertools.islice(bag.messages([output.recorded_as.topic]), TRIED):
            try:
                decode_command(output, message.content, message.log_ns)
            except DecodeError as error:
                reason = reason or error.refusal
                unfit += not isinstance(error, InvalidSampleError)
                if unfit > MOST_ODD:
                    return reason
            else:
                return None
    except DamagedMessageError as error:
        return error.refusal
    return reason
