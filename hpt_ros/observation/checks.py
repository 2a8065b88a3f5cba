# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What all decoders share: their errors, and the check for finite values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.errors import HptError


class DecodeError(HptError):
    """A stream's messages do not hold what the embodiment file says; no later message will either."""


class InvalidSampleError(DecodeError):
    """This one message's values are unusable (not finite, cut short); the next may be good."""


def place(stream: Stream) -> str:
    """The stream, as errors name it."""
    return f"stream {stream.name!r} (topic {stream.topic})"


def finite(values: NDArray[Any], names: tuple[str, ...], where: str) -> NDArray[Any]:
    """The values, unless one of them is not finite.

    Raises:
        InvalidSampleError: names the first such element.
    """
    good = np.isfinite(values)
    if not good.all():
        index = int(np.argmin(good))
        raise InvalidSampleError(
            f"{where} has the value {values[index]} for {names[index]!r}, but a finite number was expected; "
            "check the driver"
        )
    return values
