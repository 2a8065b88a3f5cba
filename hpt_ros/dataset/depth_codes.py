# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth as LeRobot stores it since version 0.6: videos of one channel whose 12 bits are codes of distances.

Source of formula and defaults: `quantize_depth`, lerobot 0.6.1, datasets/depth_utils.py, and configs/video.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODES = (1 << 12) - 1  # the largest code


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
            or (codes.use_log and low <= 0)
        ):
            raise ValueError(
                f"depth from {codes.depth_min:g} to {codes.depth_max:g} m with a shift of {codes.shift:g} m"
            )
        return codes

    def millimetres(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.uint16]:
        """Return the distances of codes, uint16 in mm; the first code is 0, since what was not measured has it too."""
        low, high = self.depth_min, self.depth_max
        if self.use_log:
            low, high = math.log(low + self.shift), math.log(high + self.shift)
        metres = low + (high - low) / CODES * np.arange(CODES + 1, dtype=np.float64)
        if self.use_log:
            metres = np.exp(metres) - self.shift
        table = np.clip(np.rint(1000.0 * metres), 0, 0xFFFF).astype(np.uint16)
        table[0] = 0
        found: NDArray[np.uint16] = table[np.minimum(codes, CODES)]
        return found
