# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small pictures for the quality page."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_PX = 112


def thumbnail(frame: NDArray[np.uint8]) -> bytes:
    """A small JPEG of an RGB picture (height, width, 3), `THUMBNAIL_PX` wide at most."""
    scale = min(1.0, THUMBNAIL_PX / frame.shape[1])
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert done
    return data.tobytes()
