# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth images in RVL, run lengths and variable lengths, as compressed_depth_image_transport sends them.

Wilson, "Fast lossless depth image compression", ISS 2017. Pixels are in runs: how many are zero, how many are not, and
of those each one's difference to the one before that was not zero, folded so that small ones of either sign are small
(0, -1, 1, -2, ...). Each of these numbers is groups of three bits, the lowest first, in nibbles whose fourth bit says
that more follow. Eight nibbles, the first one highest, are a word of 32 bits.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = struct.Struct("<II")  # width and height, before the content
_LONGEST = 11  # nibbles of a number of 32 bits


def rvl_size(content: bytes) -> tuple[int, int]:
    """Height and width that RVL data claim; (0, 0) if they are shorter than that."""
    width, height = SIZE.unpack_from(content) if len(content) >= SIZE.size else (0, 0)
    return height, width


def decode_rvl(content: bytes) -> NDArray[np.uint16] | None:
    """The pixels of RVL data with their size in front, uint16 (height, width); None if the data do not fill them."""
    height, width = rvl_size(content)
    total, numbers = height * width, _numbers(content[SIZE.size :])
    zeros, others, starts = [], [], []
    at = done = 0
    while done < total and at + 1 < len(numbers):
        empty, filled = int(numbers[at]), int(numbers[at + 1])
        zeros.append(empty)
        others.append(filled)
        starts.append(at + 2)
        at += 2 + filled
        done += empty + filled
    if done != total or at > len(numbers):
        return None
    counts = np.array(others, dtype=np.int64)
    before = np.cumsum(counts) - counts
    # Of the n-th pixel that is not zero where it is among the numbers, and among the pixels.
    order = np.arange(int(counts.sum()))
    sources = order + np.repeat(np.array(starts, dtype=np.int64) - before, counts)
    targets = order + np.repeat(np.cumsum(np.array(zeros, dtype=np.int64)), counts)
    folded = numbers[sources]
    pixels = np.zeros(total, dtype=np.uint16)
    # Modulo 2^16, since some encoders take pixels for signed.
    pixels[targets] = np.cumsum((folded >> 1) ^ -(folded & 1)).astype(np.uint16)
    return pixels.reshape(height, width)


def _numbers(content: bytes) -> NDArray[np.int64]:
    """All numbers, (n,); ends where one is longer than 32 bits, which no encoder writes."""
    words = np.frombuffer(content, "<u4", count=len(content) // 4)
    shifts = np.arange(28, -1, -4, dtype=np.uint32)
    nibbles = ((words[:, None] >> shifts) & 0xF).reshape(-1).astype(np.int64)
    ends = np.flatnonzero(nibbles < 8)
    if not ends.size:
        return np.empty(0, np.int64)
    nibbles = nibbles[: ends[-1] + 1]
    begins = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - begins + 1
    if (too_long := np.flatnonzero(lengths > _LONGEST)).size:
        good = int(too_long[0])
        if not good:
            return np.empty(0, np.int64)
        begins, lengths = begins[:good], lengths[:good]
        nibbles = nibbles[: int(begins[-1] + lengths[-1])]
    places = np.arange(len(nibbles)) - np.repeat(begins, lengths)
    values: Any = np.add.reduceat((nibbles & 7) << (3 * places), begins)
    return np.asarray(values, dtype=np.int64)
