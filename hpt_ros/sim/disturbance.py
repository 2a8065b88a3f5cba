# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A declared disturbance of the arm: smooth random offsets between the commanded and the executed targets.

Demonstrations recorded under it contain recoveries: the command on the topic stays the clean one, seen from
a perturbed arm (noise injection as in Laskey et al., "DART", CoRL 2017), and a policy can be tested for robustness
with the same parameter.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Tool heights: below the first it is between things (the bin's walls) and nothing is disturbed; above the second all of
# it is.
QUIET_BELOW_M: Final = 0.07
WHOLE_ABOVE_M: Final = 0.18


class Disturbance:
    """Offsets (N,), rad, of a critically damped second-order process driven by white noise.

    The stationary standard deviation is `std_rad` in each joint, the time constant `time_s`: for
    x'' = -2 w x' - w^2 x + sqrt(S) n(t) with w = 1/`time_s`, the variance is S / (4 w^3).

    Args:
        std_rad: standard deviation; 0 switches it off.
        seed: draws the noise.
        size: number N of joints.
        time_s: time constant.
    """

    def __init__(self, std_rad: float, seed: int, size: int = 7, time_s: float = 0.4) -> None:
        self._std_rad, self._size = std_rad, size
        self._rate = 1.0 / time_s
        self._rng = np.random.default_rng([seed, 0xD157])
        self._offset = np.zeros(self._size)
        self._velocity = np.zeros(self._size)

    def step(self, dt_s: float, tool_height_m: float) -> Array:
        """Advance by `dt_s`; returns the offset (N,), faded to nothing as the tool goes down."""
        if self._std_rad == 0.0:
            return np.zeros(self._size)
        w = self._rate
        intensity = 2.0 * self._std_rad * w**1.5
        kick = intensity * np.sqrt(dt_s) * self._rng.standard_normal(self._size)
        self._velocity += dt_s * (-2.0 * w * self._velocity - w * w * self._offset) + kick
        self._offset += dt_s * self._velocity
        fraction = np.clip((tool_height_m - QUIET_BELOW_M) / (WHOLE_ABOVE_M - QUIET_BELOW_M), 0.0, 1.0)
        return np.asarray(fraction * self._offset)
