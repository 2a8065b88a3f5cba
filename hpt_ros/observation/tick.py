# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One observation of all streams at one time, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _no_vector() -> NDArray[np.float64]:
    return np.empty(0)


@dataclass(frozen=True)
class Tick:
    """One observation, or why there is none.

    Attributes:
        index: k of the tick's time k / tick_hz.
        stamp_ns: the tick's time, header-stamp time in nanoseconds.
        images: image stream name to uint8 RGB (height, width, 3); empty if the tick is invalid.
        state: float64 (D,), in the order of `Embodiment.state_names`; shape (0,) if the tick is invalid or a state
            stream is absent.
        ages_s: stream name to the tick's time minus the stamp of the newest sample used; infinite if there is none.
        missing: stream name to the reason why it has no value at this tick; empty if the tick is valid.
        restart: why the buffer was emptied since the tick before; empty if it was not.
        arrays: stream name to the sample of a depth (uint16 (height, width), mm, 0 where nothing was measured),
            tactile (float32 (n,)) or pointcloud stream (float32 (points, 3), m); empty if the tick is invalid.
        wrench: float64 (Dw,), in the order of `Embodiment.names_of("wrench")`; as `state` otherwise.
        task: text of the language stream; empty if there is no such stream, it is absent, or the tick is invalid.
        absent: name of a stream that the policy can do without to the reason why it has no value at this tick.
    """

    index: int
    stamp_ns: int
    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.float64]
    ages_s: Mapping[str, float]
    missing: Mapping[str, str]
    restart: str = ""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    wrench: NDArray[np.float64] = field(default_factory=_no_vector)
    task: str = ""
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """True if every stream that the policy needs has a value."""
        return not self.missing
