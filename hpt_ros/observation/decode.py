# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays: the only place where a stream's message becomes numbers.

Every function takes any object that has the message's fields, so that messages that `rosbags` read from a bag and
messages that arrive live through rclpy give identical arrays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.observation.video import VideoDecoder, decode_packet, is_video
from hpt_ros.registry import load_location


def decode_on_one_thread() -> None:
    """Keep OpenCV from using threads of its own in this process, where several processes decode side by side."""
    cv2.setNumThreads(1)


def decode(stream: Stream, message: Any) -> NDArray[Any]:
    """Decode a message of `stream` to one sample, an array of `Stream.shape` and its modality's dtype.

    A partial JointState has NaN at joints that the message has not: `ObservationBuffer` merges.

    Raises:
        DecodeError: the message does not fit the stream.
        InvalidSampleError: this message's values are unusable.
    """
    if is_video(stream, message):
        return decode_packet(stream, message)
    decoder = stream.decoder
    assert decoder is not None  # the schema saw to it
    return (_function(decoder) if isinstance(decoder, str) else decoder)(stream, message)


@functools.cache
def _function(decoder: str) -> Callable[[Stream, Any], NDArray[Any]]:
    function: Callable[[Stream, Any], NDArray[Any]] = load_location(decoder)
    return function


class StreamDecoder:
    """Decodes the messages of one stream as they come: unlike `decode` also video, whose packets need one another."""

    def __init__(self, stream: Stream) -> None:
        """Start with nothing seen."""
        self._stream, self._video = stream, VideoDecoder(stream)

    def take(self, message: Any) -> Callable[[], NDArray[Any]]:
        """Take the next message; returns what gives its sample as `decode` does, and may be called later or never.

        Raises:
            DecodeError: the message does not fit the stream.
            InvalidSampleError: a video packet that cannot be decoded, or one before the first key frame.
        """
        if is_video(self._stream, message):
            return self._video.take(message)
        return partial(decode, self._stream, message)

    def note_loss(self) -> None:
        """A message did not come here: a video is decoded again from its next key frame on."""
        self._video.note_loss()

    @property
    def video_size(self) -> tuple[int, int] | None:
        """Height and width in pixels of a video's newest image; None if there is none."""
        return self._video.size
