# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Video in messages, one packet each: H.264 and H.265, decoded in order from a key frame on.

Types: foxglove_msgs/CompressedVideo, ffmpeg_image_transport_msgs/FFMPEGPacket, and sensor_msgs/CompressedImage whose
format names the codec. All have the bytes of an Annex B stream: its units begin with 00 00 01.
"""

from __future__ import annotations

from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Code
from hpt_ros.observation.checks import DecodeError, InvalidSampleError, describe_stream
from hpt_ros.observation.h264 import UNIT, FrameNumbers
from hpt_ros.observation.pixels import MAX_PIXELS, resize_by_area

PENDING = 32  # packets whose image may still come: an H.264 decoder holds back 16 frames at most (table A-1)
# Units that decoding can begin with: parameter sets and key frames. H.264 (ITU-T H.264, table 7-1): 5, 7 and 8;
# H.265 (ITU-T H.265, table 7-1): 16 to 21 and 32 to 34.
_KEYS = {"h264": frozenset((5, 7, 8)), "hevc": frozenset((*range(16, 22), *range(32, 35)))}


def video_codec(message: Any) -> str:
    """FFmpeg's name of the codec of a message of video, "h264" or "hevc"; empty of any other message.

    A text names it: ``h264``, ``video/h265``, or an encoder such as ``hevc_nvenc`` and ``libx264``, before a semicolon.
    """
    name = _codec_text(message).partition(";")[0].lower()
    if "264" in name or name == "avc":
        return "h264"
    return "hevc" if "265" in name or "hevc" in name else ""


def _codec_text(message: Any) -> str:
    """Where a message names its codec; an FFMPEGPacket's `encoding` does."""
    return str(getattr(message, "encoding" if hasattr(message, "pts") else "format", ""))


def is_video(stream: Stream, message: Any) -> bool:
    """Whether a stream's message is a packet of a video, of which none may be left out."""
    if stream.message_type.video:
        return True
    compressed = stream.type == "sensor_msgs/msg/CompressedImage" and stream.modality == "image"
    return compressed and bool(video_codec(message))


def decode_packet(stream: Stream, message: Any) -> NDArray[np.uint8]:
    """One packet by itself, which must begin with a key frame, to RGB uint8 (height, width, 3).

    Raises:
        InvalidSampleError: it cannot be decoded, or is no key frame.
    """
    return VideoDecoder(stream).take(message)()


class VideoImage:
    """The image of a packet, which the decoder may give only after the next packets."""

    __slots__ = ("_stream", "frame")

    def __init__(self, stream: Stream) -> None:
        """Of a packet that was just given to the decoder."""
        self._stream, self.frame = stream, None

    frame: av.VideoFrame | None

    def __call__(self) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3) of the stream's size.

        Raises:
            InvalidSampleError: the decoder has not given it.
        """
        if self.frame is None:
            raise InvalidSampleError(
                Code.NOT_READY, describe_stream(self._stream),
                problem="has a video packet whose image is not there yet: one before it was lost, or its "
                "encoder makes B-frames, which come only after their successors", remedy="let it make none",
            )  # fmt: skip
        return resize_by_area(self._stream, self.frame.to_ndarray(format="rgb24"))


class VideoDecoder:
    """Decodes one stream's packets, each at once, since the next ones build on it; to RGB only when it is asked for.

    Decoding begins at a key frame, and again after a packet was lost or damaged: what follows builds on it.
    """

    def __init__(self, stream: Stream) -> None:
        """Wait for a key frame."""
        self._stream, self._codec, self._count = stream, "", 0
        self._decoder: Any = None
        self._waiting = True  # for a key frame
        self._numbers = FrameNumbers()
        self._pending: dict[int, VideoImage] = {}
        self.size: tuple[int, int] | None = None  # height and width of the newest image

    def note_loss(self) -> None:
        """A packet did not come here: wait for a key frame."""
        self._waiting = True
        self._pending.clear()
        if self._decoder is not None:
            self._decoder.flush_buffers()  # but not the parameters, which some encoders send once
        self._numbers.restart()

    def take(self, message: Any) -> VideoImage:
        """Decode a packet and return its image, which may not be there yet.

        Raises:
            DecodeError: another codec.
            InvalidSampleError: no key frame came yet, or the packet is damaged.
        """
        where, codec, data = (
            describe_stream(self._stream),
            video_codec(message),
            bytes(memoryview(message.data)),
        )
        if not codec:
            raise DecodeError(
                Code.INVALID, where, _codec_text(message)[:40], problem="has video of the codec {value}",
                expected="h264 or h265", remedy="set the encoder to one of these",
            )  # fmt: skip
        if codec != self._codec:
            self._open(codec)
        if codec == "h264" and not self._waiting and self._numbers.lacks_one(data):
            self.note_loss()  # which the decoder would conceal; H.265's says it
        if self._waiting:
            self._begin(where, data)
        self._count += 1
        image = self._pending[self._count] = VideoImage(self._stream)
        packet = av.Packet(data)
        packet.pts = self._count
        try:
            frames = self._decoder.decode(packet) if data else []
        except av.error.FFmpegError as error:
            raise self._damage_error(where, data, error) from error
        for frame in frames:
            if frame.is_corrupt:
                raise self._damage_error(where, data, "a part of its image lacks")
            found = self._pending.pop(frame.pts, None)
            if found is not None:
                found.frame, self.size = frame, (frame.height, frame.width)
        while len(self._pending) > PENDING:
            del self._pending[next(iter(self._pending))]
        return image

    def _damage_error(self, where: str, data: bytes, cause: object) -> InvalidSampleError:
        self.note_loss()
        return InvalidSampleError(
            Code.DAMAGED, where, len(data), cause=cause,
            problem="has a video packet of {value} bytes that cannot be decoded, damaged or after a lost one",
            remedy="check the network",
        )  # fmt: skip

    def _open(self, codec: str) -> None:
        self._codec, self._numbers = codec, FrameNumbers()
        self._decoder = av.CodecContext.create(codec, "r")
        self._decoder.thread_count = 1  # more hold frames back
        self._decoder.options = {"max_pixels": str(MAX_PIXELS)}
        self._waiting = True
        self._pending.clear()

    def _begin(self, where: str, data: bytes) -> None:
        """Begin with this packet, if decoding can."""
        shift, mask = (0, 0x1F) if self._codec == "h264" else (1, 0x3F)  # of a unit's type in its first byte
        units = {(found.group(1)[0] >> shift) & mask for found in UNIT.finditer(data)}
        if not units & _KEYS[self._codec]:
            raise InvalidSampleError(
                Code.INVALID, where,
                problem="has video that waits for a key frame: none came yet, or not since a packet was lost",
                remedy="let the encoder send one often",
            )  # fmt: skip
        self._waiting = False
        if self._codec == "h264":
            self._numbers.lacks_one(data)
