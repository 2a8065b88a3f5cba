# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Packets of H.264 and H.265, as encoders on robots make them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np

ENCODERS = {"h264": ("libx264", {"preset": "ultrafast"}), "hevc": ("libx265", {"preset": "ultrafast"})}


def picture(index: int, height: int = 64, width: int = 96) -> np.ndarray:
    """A gradient whose brightness says which it is: RGB."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 20 + 30 * (index % 8)
    pixels[..., 1] = np.linspace(40, 200, width).astype(np.uint8)
    pixels[..., 2] = np.linspace(200, 40, height).astype(np.uint8)[:, None]
    return pixels


def packets(
    codec: str, count: int = 20, *, every: int = 8, b_frames: int = 0, options: dict[str, str] | None = None
) -> list[bytes]:
    """Annex B packets of `picture`, with a key frame each `every`."""
    name, usual = ENCODERS[codec]
    encoder: Any = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 96, 64, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.gop_size = every
    x265 = {"x265-params": f"log-level=none:bframes={b_frames}:keyint={every}"}
    encoder.options = options or {
        **usual,
        "crf": "12",
        **(x265 if codec == "hevc" else {"bf": str(b_frames)}),
    }
    found = []
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
        frame.pts = index
        found += [bytes(packet) for packet in encoder.encode(frame)]
    return [*found, *(bytes(packet) for packet in encoder.encode(None))]
