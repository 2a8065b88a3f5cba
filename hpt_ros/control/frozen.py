# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cameras that send the same picture again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Vector
from hpt_ros.control.config import WatchdogConfig
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal


@dataclass(slots=True)
class _Picture:
    pixels: NDArray[Any]
    pose: Vector | None  # measured when it came first
    repeats: int = 0
    travel: float = 0.0


class FrozenPictures:
    """Which image streams repeat a picture, pixel for pixel, although the robot has moved.

    Stamps go on when a driver repeats its last buffer, so ages do not show it. A real camera's noise makes each picture
    new; a rendered one repeats exactly while nothing moves, and so does a camera behind a codec that skips what has
    not changed. Therefore a picture may repeat for ever at rest: a camera is frozen when its picture came again more
    than `frozen_repeats` times and some joint was measured more than `frozen_travel` away from where it was at the
    first. It is sound again with the first different picture.
    """

    def __init__(self, config: WatchdogConfig) -> None:
        """Start with no picture seen."""
        self._config = config
        self._pictures: dict[str, _Picture] = {}

    def reset(self) -> None:
        """Forget all pictures."""
        self._pictures.clear()

    def saw(self, stream: str, pixels: NDArray[Any], pose: Vector | None) -> None:
        """Note a picture.

        Args:
            stream: its name.
            pixels: decoded; kept, so it must not be written to afterwards.
            pose: (dim,) measured now, or None if it is not known.
        """
        if not self._config.frozen_repeats:
            return
        last = self._pictures.get(stream)
        if last is None or not np.array_equal(last.pixels, pixels):
            self._pictures[stream] = _Picture(pixels, pose)
            return
        last.repeats += 1
        if last.pose is None:
            last.pose = pose
        elif pose is not None:
            last.travel = max(last.travel, float(np.abs(pose - last.pose).max()))

    def frozen(self) -> Mapping[str, Refusal]:
        """Return the frozen streams, each with its reason."""
        return {
            name: Refusal(
                Why.FROZEN,
                f"stream {name!r}",
                picture.repeats + 1,
                problem="sent the same image {value} times while a joint moved by "
                f"{picture.travel:.3f}: its camera is frozen",
            )
            for name, picture in self._pictures.items()
            if picture.repeats > self._config.frozen_repeats and picture.travel > self._config.frozen_travel
        }
