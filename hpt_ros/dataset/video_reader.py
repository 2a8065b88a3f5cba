# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames of a dataset's videos: colour, and depth as codes of distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.recognise import unreadable
from hpt_ros.dataset.video import DEPTH
from hpt_ros.errors import Code


def decode_video(path: Path, fps: float, first: int = 0, threads: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video in order, RGB (H, W, 3), all of one size.

    Args:
        path: the file.
        fps: its rate.
        first: number of the first frame that is wanted; decoding starts at the key frame before it.
        threads: of the decoder; 0: its own choice.

    Raises:
        DatasetError: unreadable, damaged, or frames that do not follow one another at `fps`.
    """
    for frame in _decode(path, fps, "rgb24", first, threads):
        yield frame.astype(np.uint8, copy=False)


def _decode(
    path: Path, fps: float, pixel_format: str, first: int = 0, threads: int = 0
) -> Iterator[NDArray[Any]]:
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            container.streams.video[0].thread_type = "AUTO"
            container.streams.video[0].codec_context.thread_count = threads
            start, decoded = _from_key_frame(container, fps, first)
            for number, frame in enumerate(decoded, start):
                if frame.time is None or abs(frame.time - number / fps) > 0.5 / fps:
                    raise DatasetError(
                        Code.INVALID, f"video {str(path)!r}", frame.time,
                        problem=f"has frame {number} at {frame.time} s",
                        expected=f"{number / fps:g} s at {fps:g} frames per second",
                        remedy="write it with a constant rate",
                    )  # fmt: skip
                if number >= first:
                    yield frame.to_ndarray(format=pixel_format)
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise unreadable(path, "decoded", error) from error


def _from_key_frame(
    container: av.container.InputContainer, fps: float, first: int
) -> tuple[int, Iterator[av.VideoFrame]]:
    """Frames from a key frame at or before the one of number `first`, and the number of the first of them."""
    video = container.streams.video[0]
    back = 0
    while first > back and video.time_base is not None:
        # A key frame is found by its decoding time, which may come before that of the frame that is shown first.
        container.seek(round((first - back) / fps / video.time_base), stream=video)
        frames = container.decode(video=0)
        frame = next(frames, None)
        if frame is not None and frame.time is not None and round(frame.time * fps) <= first:
            return round(frame.time * fps), chain((frame,), frames)
        back = 2 * back or 8
    if back:
        container.seek(0, stream=video)
    return 0, container.decode(video=0)


@dataclass(frozen=True)
class CodedVideos:
    """A feature's depth in videos of codes.

    Attributes:
        codes: which distances they stand for.
        fps: of the videos.
        spans: of each episode, its video, its first frame there, its first row in the dataset and its ticks.
    """

    codes: DepthCodes
    fps: float
    spans: Sequence[tuple[Path, int, int, int]]

    @property
    def files(self) -> tuple[Path, ...]:
        """The videos, each once."""
        return tuple(sorted({path for path, *_ in self.spans}))

    def settings(self, root: Path) -> str:
        """Return all that the depth depends on beside the videos' content."""
        return repr(
            (self.codes, self.fps, [(str(path.relative_to(root)), *rest) for path, *rest in self.spans])
        )

    def write(self, depth_mm: NDArray[np.uint16]) -> None:
        """Decode the depth of all rows into an array (rows, height, width), mm; each video is decoded once.

        Raises:
            DatasetError: a video is damaged, of another size, or shorter than its episodes.
        """
        for path in self.files:
            rows: dict[int, int] = {}
            for video, first, start, length in self.spans:
                if video == path:
                    rows |= zip(range(first, first + length), range(start, start + length), strict=True)
            for number, codes in enumerate(_decode(path, self.fps, DEPTH.pixel_format)):
                if codes.shape != depth_mm.shape[1:]:
                    height, width = depth_mm.shape[1:]
                    raise DatasetError(
                        Code.WRONG_SHAPE, f"video {str(path)!r}", codes.shape,
                        problem=f"has depth of {'x'.join(map(str, codes.shape))}", expected=f"{height}x{width}",
                        remedy="copy the dataset again",
                    )  # fmt: skip
                if (row := rows.pop(number, None)) is not None:
                    depth_mm[row] = self.codes.millimetres(codes)
            if rows:
                raise DatasetError(
                    Code.DAMAGED, f"video {str(path)!r}", min(rows),
                    problem="ends before frame {value}, which its episodes name", remedy="copy the dataset again",
                )  # fmt: skip
