# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Video of a dataset: frames in, one segment a span; segments appended to a file without encoding again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.statistics import DepthStatistics, ImageStatistics
from hpt_ros.errors import Code


@dataclass(frozen=True, slots=True)
class Encoding:
    """How frames are encoded.

    Attributes:
        codec: FFmpeg's encoder.
        name: the stream's codec, as ``meta/info.json`` states it.
        pixel_format: of the encoded frames.
        options: the encoder's.
        source: pixel format of the arrays that come in.
    """

    codec: str
    name: str
    pixel_format: str
    options: Mapping[str, str]
    source: str


# crf 18: visually lossless for x264. A key frame every 5 frames keeps random access cheap. No B-frames: the frame at
# time k / fps is then the k-th packet, with no offset in the container. One thread: the bytes do not depend on the
# number of cores, and many bags are converted side by side anyway. No macroblock tree: where the width is no multiple
# of 16, x264's assembly of it reads memory that nothing was written to, and bytes and pixels differ from run to run.
COLOUR = Encoding(
    "libx264",
    "h264",
    "yuv420p",
    {"crf": "18", "preset": "veryfast", "g": "5", "bf": "0", "threads": "1", "x264-params": "mbtree=0"},
    "rgb24",
)
# As lerobot 0.6 stores depth (`DepthEncoderConfig`, configs/video.py): without loss, a key frame every 2 frames. Of the
# smallest images x265's bytes differ in the same way; what is decoded of them cannot.
DEPTH_KEY_EVERY, DEPTH_LOSSLESS = 2, "lossless=1"
DEPTH = Encoding(
    "libx265",
    "hevc",
    "gray12le",
    {
        "preset": "veryfast",
        "g": str(DEPTH_KEY_EVERY),
        "x265-params": f"{DEPTH_LOSSLESS}:bframes=0:open-gop=0:pools=none:frame-threads=1:log-level=error",
    },
    "gray12le",
)
LEAST_CODED_PX = 16  # x265 takes no smaller images
# What waits for an encoder's thread: enough for uneven reading, little enough to stay small. Small frames are handed
# over several at a time, since waking a thread takes as long as coding one.
AHEAD, TOGETHER_BYTES = 8, 1 << 18


class SegmentWriter:
    """Encodes frames of one size to an mp4 file."""

    def __init__(self, path: Path, fps: int, height: int, width: int, encoding: Encoding = COLOUR) -> None:
        self.path = path
        self.frames = 0
        self._container: Any = av.open(str(path), "w", format="mp4")
        self._stream = cast(
            Any, self._container.add_stream(encoding.codec, rate=fps, options=dict(encoding.options))
        )
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = encoding.pixel_format
        self._time_base = Fraction(1, fps)
        self._stream.codec_context.time_base = self._time_base
        self._encoding = encoding
        # One for all frames: it is costly to set up. The encoder's own would use as many threads as there are cores.
        self._reformatter = VideoReformatter()

    def add(self, pixels: NDArray[Any]) -> None:
        """Encode the next frame: uint8 RGB (height, width, 3), or uint16 codes (height, width) of depth."""
        encoding = self._encoding
        if encoding.source == encoding.pixel_format:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=encoding.source)
        else:
            image = av.VideoFrame.from_numpy_buffer(
                np.ascontiguousarray(pixels), format=encoding.source
            )  # no copy
            frame = self._reformatter.reformat(image, format=encoding.pixel_format, threads=1)
        frame.pts, frame.time_base = self.frames, self._time_base
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds and finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abort(self) -> None:
        """Close and delete the file."""
        self._container.close()
        self.path.unlink(missing_ok=True)


class BackgroundWriter:
    """A `SegmentWriter` in a thread of its own, so that encoding goes on while the next images are read.

    FFmpeg lets other threads of Python run while it works. The bytes are the same; at most `AHEAD` frames wait, or as
    many times `TOGETHER_BYTES` of smaller ones. The thread counts what the images' statistics need as well; they are
    complete after `close`. With `codes`, its frames are depth, and their statistics those of what will be read back.
    """

    def __init__(
        self, path: Path, fps: int, height: int, width: int, codes: DepthCodes | None = None
    ) -> None:
        self.path = path
        self.statistics: ImageStatistics | DepthStatistics = (
            ImageStatistics() if codes is None else DepthStatistics(axes=3)
        )
        self._codes = codes
        self._segment = SegmentWriter(path, fps, height, width, COLOUR if codes is None else DEPTH)
        self._together = max(1, TOGETHER_BYTES // (height * width * (3 if codes is None else 2)))
        self._waiting: list[NDArray[Any]] = []
        self._queue: queue.Queue[list[NDArray[Any]] | None] = queue.Queue(AHEAD)
        self._error: BaseException | None = None
        self._ended = self._aborted = False
        self._thread = threading.Thread(target=self._run, name="hpt-encoder", daemon=True)
        self._thread.start()

    def add(self, pixels: NDArray[Any]) -> None:
        """Hand over the next frame, which must not change any more: uint8 RGB (height, width, 3), or uint16 mm.

        Raises what encoding an earlier frame raised.
        """
        if self._error is not None:
            raise self._error
        self._waiting.append(pixels)
        if len(self._waiting) == self._together:
            self._hand_over()

    def end(self) -> None:
        """Say that no frame comes any more, without waiting until the file is finished; `close` must follow."""
        self._hand_over()
        self._stop()

    def close(self) -> None:
        """Wait until the file is finished; raises what encoding raised."""
        self.end()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Stop and delete the file; may be called after `close` as well."""
        self._aborted = True
        self._stop()
        self._thread.join()
        self._segment.abort()

    def _stop(self) -> None:
        if not self._ended:
            self._ended = True
            self._queue.put(None)

    def _hand_over(self) -> None:
        if self._waiting:
            self._queue.put(self._waiting)
            self._waiting = []

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None:
            if self._error is None and not self._aborted:
                self._work(waiting)
        if self._error is None and not self._aborted:
            try:
                self._segment.close()
            except BaseException as error:
                self._error = error

    def _work(self, waiting: list[NDArray[Any]]) -> None:
        try:
            frames, counted = zip(*map(self._prepare, waiting), strict=True)
            for frame in frames:
                self._segment.add(frame)
            self.statistics.add(*counted)
        except BaseException as error:  # raised in the caller's thread; the rest is only taken off the queue
            self._error = error

    def _prepare(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what is encoded, and what will be read back, but for the loss of colour video."""
        if self._codes is None:
            return pixels, pixels
        codes = self._codes.encode(pixels)
        return codes, self._codes.millimetres(codes)


class Concatenation:
    """An mp4 file that segments of the same size and rate are appended to, packet by packet."""

    def __init__(self, path: Path, fps: int) -> None:
        self.path = path
        self.frames = 0
        self._time_base = Fraction(1, fps)
        self._container: Any = av.open(str(path), "w", format="mp4")
        self._stream: Any = None

    def append(self, segment: Path) -> int:
        """Append a segment and return its number of frames.

        Raises:
            DatasetError: the segment was encoded otherwise than those before.
        """
        with av.open(str(segment)) as source:
            stream = source.streams.video[0]
            if self._stream is None:
                self._stream = self._container.add_stream_from_template(stream)
                self._stream.time_base = self._time_base
            elif stream.codec_context.extradata != self._stream.codec_context.extradata:
                raise DatasetError(
                    Code.MISMATCH, f"video segment {str(segment)!r}",
                    problem="was encoded otherwise than those before", remedy="convert again",
                )  # fmt: skip
            count = 0
            for packet in source.demux(stream):
                if packet.pts is None:
                    continue  # the demuxer's flush packet
                packet.stream = self._stream
                packet.time_base = self._time_base
                packet.pts = packet.dts = self.frames + count
                packet.duration = 1
                self._container.mux(packet)
                count += 1
        self.frames += count
        return count

    def close(self) -> None:
        """Finish the file."""
        self._container.close()

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self.path.stat().st_size if self.path.exists() else 0
