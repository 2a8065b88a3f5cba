# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How smooth a motion is."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet: "On the analysis of movement smoothness" (J. NeuroEng.
# Rehabil. 12:112, 2015): padding level, largest cutoff frequency and amplitude threshold of their SPARC.
PADDING: Final = 4
CUTOFF_HZ: Final = 10.0
THRESHOLD: Final = 0.05


def spectral_arc_length(velocities: NDArray[np.float64], period_s: float) -> float:
    """Return the spectral arc length (SPARC) of the speed: 0 is smoothest, more movements are more negative.

    The formula is the one of Balasubramanian et al. 2015: the length of the curve that the normalised magnitude of the
    speed's spectrum makes up to the last frequency at which it reaches `THRESHOLD`, at most `CUTOFF_HZ`.

    Args:
        velocities: (N, dim) at equal times; the speed is their Euclidean norm.
        period_s: between two of them.

    Returns:
        The length with a minus sign; NaN where nothing moved.
    """
    if len(velocities) < 2:
        return float("nan")
    speed = np.linalg.norm(velocities, axis=1)
    if not speed.any():
        return float("nan")
    count = 2 ** (int(np.ceil(np.log2(len(speed)))) + PADDING)
    frequencies = np.fft.rfftfreq(count, period_s)
    magnitude = np.abs(np.fft.rfft(speed, count))
    magnitude = magnitude / magnitude[0]  # the speed is not negative, so its mean is its largest part
    inside = frequencies <= CUTOFF_HZ
    frequencies, magnitude = frequencies[inside], magnitude[inside]
    last = int(np.flatnonzero(magnitude >= THRESHOLD)[-1])
    frequencies, magnitude = frequencies[: last + 1], magnitude[: last + 1]
    if last == 0:
        return 0.0
    steps = np.hypot(np.diff(frequencies) / frequencies[-1], np.diff(magnitude))
    return -float(steps.sum())


def peak_jerk(positions: NDArray[np.float64], period_s: float) -> float:
    """Return the largest jerk of any dimension, by third differences.

    Args:
        positions: (N, dim) at equal times.
        period_s: between two of them.

    Returns:
        In the positions' unit per s^3; 0 for fewer than four positions.
    """
    if len(positions) < 4:
        return 0.0
    return float(np.abs(np.diff(positions, 3, axis=0)).max() / period_s**3)
