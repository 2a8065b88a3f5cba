# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small images that lie inside a page."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_PX = 112
QUALITY = 70  # of JPEG: about 2.5 kB an image of this width


def thumbnail(frame: NDArray[np.uint8], width_px: int = THUMBNAIL_PX) -> bytes:
    """Return a small JPEG of an RGB image (height, width, 3), `width_px` wide at most."""
    scale = min(1.0, width_px / frame.shape[1])
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return data.tobytes()


def inline(data: bytes, kind: str = "image/jpeg") -> str:
    """Return a file's content as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
