# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cameras that send the same image again and again."""

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
class _Image:
    pixels: NDArray[Any]
    pose: Vector | None  # measured when it came first
    repeats: int = 0
    travel: float = 0.0


class FrozenImages:
    """Which image streams repeat an image, pixel for pixel, although the robot has moved.

    Stamps go on when a driver repeats its last buffer, so ages do not show it. A real camera's noise makes each image
    new; a rendered one repeats exactly while nothing moves, and so does a camera behind a codec that skips what has
    not changed. Therefore an image may repeat for ever at rest: a camera is frozen when its image came again more
    than `frozen_repeats` times and some joint was measured more than `frozen_travel` away from where it was at the
    first. It is sound again with the first different image.
    """

    def __init__(self, config: WatchdogConfig) -> None:
        """Start with no image seen."""
        self._config = config
        self._images: dict[str, _Image] = {}

    def reset(self) -> None:
        """Forget all images."""
        self._images.clear()

    def note_image(self, stream: str, pixels: NDArray[Any], pose: Vector | None) -> None:
        """Note an image.

        Args:
            stream: its name.
            pixels: decoded; retained, so it must not be written to afterwards.
            pose: (dim,) measured now, or None if it is not known.
        """
        if not self._config.frozen_repeats:
            return
        last = self._images.get(stream)
        if last is None or not np.array_equal(last.pixels, pixels):
            self._images[stream] = _Image(pixels, pose)
            return
        last.repeats += 1
        if last.pose is None:
            last.pose = pose
        elif pose is not None:
            last.travel = max(last.travel, float(np.abs(pose - last.pose).max()))

    def find_frozen(self) -> Mapping[str, Refusal]:
        """Return the frozen streams, each with its reason."""
        return {
            name: Refusal(
                Why.FROZEN,
                f"stream {name!r}",
                image.repeats + 1,
                problem="sent the same image {value} times while a joint moved by "
                f"{image.travel:.3f}: its camera is frozen",
            )
            for name, image in self._images.items()
            if image.repeats > self._config.frozen_repeats and image.travel > self._config.frozen_travel
        }
