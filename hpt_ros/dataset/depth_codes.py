# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth as LeRobot stores it since version 0.6: videos of one channel whose 12 bits are codes of distances.

Source of formula and defaults: `quantize_depth`, lerobot 0.6.1, datasets/depth_utils.py, and configs/video.py. Its
defaults have steps of 1.2 mm at 0.01 m, 1.5 mm at 1 m and 4.4 mm at 10 m.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODES = (1 << 12) - 1  # the largest code
DEPTH_STORAGE = ("rows", "video")  # of a dataset: exactly, or as codes


@dataclass(frozen=True, slots=True)
class DepthCodes:
    """Which distances the codes of a video stand for.

    Attributes:
        depth_min, depth_max: distances of the first and the last code, m.
        shift: added before the logarithm is taken, m.
        use_log: codes are evenly spread over the logarithm of the distance, else over the distance.
    """

    depth_min: float = 0.01
    depth_max: float = 10.0
    shift: float = 3.5
    use_log: bool = True

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> DepthCodes:
        """Return those that a feature of ``meta/info.json`` states; lerobot's own where it states none.

        Raises:
            ValueError: they are no distances.
        """
        given = {name: info.get(f"video.{name}") for name in ("depth_min", "depth_max", "shift")}
        numbers = {name: float(value) for name, value in given.items() if isinstance(value, (int, float))}
        codes = cls(**numbers, use_log=bool(info.get("video.use_log", True)))
        low = codes.depth_min + (codes.shift if codes.use_log else 0.0)
        if (
            not (codes.depth_min < codes.depth_max < math.inf)
            or codes.depth_min < 0
            or (codes.use_log and not 0 < low < math.inf)
            or not codes.ends()[0] < codes.ends()[1] < math.inf  # a shift so large that all codes are one
        ):
            raise ValueError(
                f"depth from {codes.depth_min:g} to {codes.depth_max:g} m with a shift of {codes.shift:g} m"
            )
        return codes

    def to_info(self) -> dict[str, Any]:
        """Return what `from_info` reads."""
        return {f"video.{field.name}": getattr(self, field.name) for field in fields(self)}

    def encode(self, depth_mm: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Return the nearest codes of distances; the first is what was not measured too, the last all beyond."""
        found: NDArray[np.uint16] = _code_table(self)[depth_mm]
        return found

    def millimetres(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.uint16]:
        """Return the distances of codes, uint16 in mm; the first code is 0, since what was not measured has it too."""
        found: NDArray[np.uint16] = _distance_table(self)[np.minimum(codes, CODES)]
        return found

    def ends(self) -> tuple[float, float]:
        """Return where the first and the last code lie on the scale that codes are evenly spread over."""
        if self.use_log:
            return math.log(self.depth_min + self.shift), math.log(self.depth_max + self.shift)
        return self.depth_min, self.depth_max


@functools.lru_cache(maxsize=8)
def _code_table(codes: DepthCodes) -> NDArray[np.uint16]:
    """Return the code of each distance in mm that 16 bits hold."""
    low, high = codes.ends()
    places = np.arange(1 << 16) / 1000.0
    if codes.use_log:
        places = np.log(np.maximum(places + codes.shift, 1e-9))  # a shift may be negative
    return np.rint((places - low) / (high - low) * CODES).clip(0, CODES).astype(np.uint16)


@functools.lru_cache(maxsize=8)
def _distance_table(codes: DepthCodes) -> NDArray[np.uint16]:
    """Return the distance in mm of each code."""
    low, high = codes.ends()
    metres = low + (high - low) / CODES * np.arange(CODES + 1, dtype=np.float64)
    if codes.use_log:
        metres = np.exp(metres) - codes.shift
    table = np.clip(np.rint(1000.0 * metres), 0, 0xFFFF).astype(np.uint16)
    table[0] = 0
    return table
