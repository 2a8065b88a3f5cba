# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the messages of a topic can be decoded, as the converter will."""

from __future__ import annotations

import itertools
from typing import Any

from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.observation import DecodeError, InvalidSampleError, decode, is_depth
from hpt_ros.observation.images import guessed_encoding
from rosbag_tools.errors import DamagedMessageError
from rosbag_tools.reader import Bag

TRIED = 10  # messages of a topic of which one must be good; a camera's first may be damaged


def image_probe(topic: str, type_: str, message: Any) -> Stream:
    """A stream that takes the images of a topic of which nothing else is known."""
    modality = "depth" if is_depth(message) else "image"
    encoding = guessed_encoding(message) if modality == "image" else ""
    return Stream("probe", modality, topic, type_, 1.0, 1.0, image=ImageSpec(8, 8), encoding=encoding)


def undecodable(bag: Bag, topic: str, stream: Stream | None = None) -> str:
    """Why no message of a topic can be decoded, one sentence; empty if one can, or there is none.

    Args:
        bag: an open bag.
        topic: its name in the bag.
        stream: that it is to become; None: whatever an image can be.
    """
    reason = ""
    try:
        for message in itertools.islice(bag.messages([topic]), TRIED):
            probe = stream or image_probe(topic, bag.topics[topic].type, message.content)
            try:
                decode(probe, message.content)
            except InvalidSampleError as error:
                reason = reason or str(error)
            else:
                return ""
    except (DecodeError, DamagedMessageError) as error:
        return str(error)
    return reason
