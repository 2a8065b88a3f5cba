# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""YUV images whose colours lie in planes behind the grey image, to RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import Code
from hpt_ros.observation.checks import InvalidSampleError
from hpt_ros.observation.pixels import rows_of


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the colours of an encoding lie.

    Attributes:
        conversion: OpenCV's, of the 4:2:0 layout with the same order.
        down, right: how many times as many colours as 4:2:0 has, along columns and rows.
        planar: blue and red have a plane each; otherwise they alternate.
    """

    conversion: int
    down: int = 1
    right: int = 1
    planar: bool = False

    @property
    def rows_per_row(self) -> float:
        """Rows of bytes, as wide as the grey image, for each row of pixels."""
        return 1.0 + 0.5 * self.down * self.right


PLANES = {
    "nv12": _Layout(cv2.COLOR_YUV2RGB_NV12),
    "nv21": _Layout(cv2.COLOR_YUV2RGB_NV21),
    "nv16": _Layout(cv2.COLOR_YUV2RGB_NV12, down=2),
    "nv61": _Layout(cv2.COLOR_YUV2RGB_NV21, down=2),
    "nv24": _Layout(cv2.COLOR_YUV2RGB_NV12, down=2, right=2),
    "nv42": _Layout(cv2.COLOR_YUV2RGB_NV21, down=2, right=2),
    "yuv420": _Layout(cv2.COLOR_YUV2RGB_I420, planar=True),
    "i420": _Layout(cv2.COLOR_YUV2RGB_I420, planar=True),
    "yv12": _Layout(cv2.COLOR_YUV2RGB_YV12, planar=True),
}


def planes_to_rgb(where: str, message: Any, encoding: str) -> NDArray[np.uint8]:
    """A sensor_msgs/Image of planes to RGB uint8 (height, width, 3).

    Encodings with more colours than 4:2:0 are converted as 4:2:0 of a larger grey image, of which every second row and
    column is taken: the same arithmetic for all. The colours' rows are padded as the grey image's by ``step``, which
    V4L2 defines so: twice as much where they are twice as long, half as much where they are half.

    Raises:
        InvalidSampleError: fewer bytes than height, width and step ask for, or an odd size.
    """
    layout, height, width = PLANES[encoding], int(message.height), int(message.width)
    if (height % 2 and layout.down == 1) or (width % 2 and layout.right == 1):
        raise InvalidSampleError(
            Code.UNSUPPORTED, where,
            problem=f"has a {width}x{height} image of encoding {encoding} that cannot be converted to RGB, "
            "since its colours are of pairs of pixels", remedy="check the camera driver",
        )  # fmt: skip
    tight = rows_of(where, message, 1, layout.rows_per_row)
    step, rows = int(message.step) or width, len(tight)
    padded = np.zeros(step * rows, np.uint8)
    data = np.frombuffer(message.data, np.uint8)[: step * rows]
    padded[: data.size] = data
    grey = padded[: step * height].reshape(height, step)[:, :width]
    rest = padded[step * height :]
    if layout.planar and step % 2:
        raise InvalidSampleError(
            Code.INVALID, where,
            problem=f"has an image of encoding {encoding} with the odd step {step}, of which no half can be "
            "the step of its colours", remedy="check the camera driver",
        )  # fmt: skip
    if layout.planar:
        colours = rest.reshape(height, step // 2)[:, : width // 2]
    else:
        colours = rest.reshape(-1, step * layout.right)[:, : width * layout.right]
    grey = grey.repeat(layout.down, axis=0).repeat(layout.right, axis=1)
    stacked = np.concatenate([grey.reshape(-1), colours.reshape(-1)]).reshape(-1, grey.shape[1])
    rgb: Any = cv2.cvtColor(stacked, layout.conversion)
    return np.asarray(rgb[:: layout.down, :: layout.right], dtype=np.uint8)
