# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG images of other datasets, decoded by the function that decodes a robot's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.source import Image
from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.errors import Code
from hpt_ros.observation.image_files import image_file


def is_image_file(data: bytes) -> bool:
    """Return whether bytes begin as a JPEG or PNG file."""
    return image_file(data) is not None


def is_depth_file(data: bytes) -> bool:
    """Return whether bytes are a PNG file of one channel of 16 bits, which are distances."""
    file = image_file(data)
    return file is not None and file.channels == 1 and file.bits == 16


def size_of_file(data: bytes, where: str) -> tuple[int, int]:
    """Return (height, width) of a JPEG or PNG file.

    Raises:
        DatasetError: it is neither, or its header is cut short.
    """
    file = image_file(data)
    if file is None or not file.height or not file.width:
        raise DatasetError(
            Code.UNREADABLE, where, problem="has an image that cannot be read", remedy="copy the dataset again",
        )  # fmt: skip
    return file.height, file.width


def decode_files(name: str, view: str, size: tuple[int, int], files: Iterable[bytes]) -> Iterator[Image]:
    """Yield JPEG or PNG files as images of one size, uint8 RGB (height, width, 3).

    Raises:
        DatasetError: a file is damaged; names episode, view and row.
    """
    from hpt_ros.observation import DecodeError, InvalidSampleError, decode_compressed_image

    stream = Stream(
        view, "image", f"/{view}", "sensor_msgs/msg/CompressedImage", 1.0, 1.0, image=ImageSpec(*size)
    )
    for row, data in enumerate(files):
        try:
            yield np.asarray(
                decode_compressed_image(stream, SimpleNamespace(data=data, format="jpeg or png"))
            )
        except (DecodeError, InvalidSampleError) as error:
            remedy = "copy the dataset again, or leave the episode out with --skip-bad"
            subject = f"{name}, view {view!r} in row {row},"
            raise DatasetError.of(replace(error.refusal, subject=subject, remedy=remedy)) from error
