# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Spans of videos of others: the frames of one episode out of a file of several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.source import Image
from hpt_ros.dataset.layout import INFO
from hpt_ros.dataset.recognise import unreadable
from hpt_ros.errors import Code


def decode_span(
    path: Path, first_s: float, rows: range, fps: float, codes: DepthCodes | None = None
) -> Iterator[Image]:
    """Yield the images of some rows of an episode in a video, uint8 RGB (height, width, 3), or depth.

    Args:
        path: the video.
        first_s: time of the episode's first row in it.
        rows: of the episode, one after another.
        fps: rows a second.
        codes: of a video of depth, which is yielded as uint16 (height, width), mm.

    Raises:
        DatasetError: it cannot be decoded, or an image does not lie at its time.
    """
    start_s = first_s + rows.start / fps
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if start_s > 0:
                container.seek(int(start_s / float(stream.time_base or 1)), stream=stream, backward=True)
            found = 0
            for frame in container.decode(stream):
                at_s = -1.0 if frame.time is None else float(frame.time)
                if at_s < start_s - 0.5 / fps:
                    continue
                wanted_s = start_s + found / fps
                if abs(at_s - wanted_s) > 0.5 / fps:
                    raise _explain_times(path, stream.average_rate, at_s, wanted_s, found, fps)
                if codes is None:
                    yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
                else:
                    yield codes.millimetres(np.asarray(frame.to_ndarray(format="gray12le"), dtype=np.uint16))
                found += 1
                if found == len(rows):
                    return
    except (av.error.FFmpegError, IndexError, OSError, ValueError, OverflowError) as error:
        raise unreadable(path, "decoded", error) from error


def _explain_times(
    path: Path, rate: Any, at_s: float, wanted_s: float, found: int, fps: float
) -> DatasetError:
    """Return how the times of a video and of the rows differ: by their rate, their beginning, or a gap."""
    rate_hz = float(rate or 0.0)
    if abs(rate_hz / fps - 1.0) > 0.01:
        return DatasetError(
            Code.MISMATCH, f"video {str(path)!r}", rate_hz,
            problem=f"has {{value}} images a second, but {INFO} states {fps:g} rows",
            remedy="write it with one image a row, or leave the episode out with --skip-bad",
        )  # fmt: skip
    what = (
        f"begins at {at_s:.4f} s" if not found else f"has no image between {wanted_s:.4f} s and {at_s:.4f} s"
    )
    return DatasetError(
        Code.MISMATCH, f"video {str(path)!r}", at_s,
        problem=f"{what}, but the image of a row was expected at {wanted_s:.4f} s",
        remedy="write it with one image a row from 0 s on, or leave the episode out with --skip-bad",
    )  # fmt: skip
