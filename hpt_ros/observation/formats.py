# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The text in a sensor_msgs/CompressedImage's ``format``, and what it means for the pixels.

The transports write it as ``ENCODING; CODEC compressed TARGET`` and ``ENCODING; compressedDepth CODEC``: the encoding
of the image that was compressed, and what it was converted to before (compressed_publisher.cpp and
compressed_depth_image_transport's codec.cpp of ros-perception/image_transport_plugins). Other drivers write ``jpeg``,
``png`` or nothing.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from hpt_ros.embodiment.encodings import DEPTH_ENCODINGS, ENCODINGS, usual_encoding
from hpt_ros.observation.image_files import PNG_START, image_file

_DISTANCES = frozenset(DEPTH_ENCODINGS) - {"mono16"}  # which may be an infrared image
DEPTH_HEADER = 12  # bytes before the data of compressed_depth_image_transport: an int32 and two float32


@dataclass(frozen=True, slots=True)
class Format:
    """A format text, taken apart.

    Attributes:
        text: as it came.
        encoding: of the image that was compressed; empty if the text does not say it.
        target: the encoding that it was converted to for the codec; empty if the text does not say it.
        depth: whether the data begins with compressed_depth_image_transport's header.
        rvl: whether it is depth as RVL and no image file.
    """

    text: str
    encoding: str
    target: str
    depth: bool
    rvl: bool

    @property
    def rgb(self) -> bool:
        """Whether the codec was given red first, which OpenCV's codecs take for blue."""
        return self.target.startswith("rgb")


@functools.lru_cache(maxsize=64)
def parse_format(text: str) -> Format:
    """Take a format text apart; a stream's messages nearly always repeat it."""
    encoding, _, rest = (part.strip() for part in text.partition(";"))
    encoding = usual_encoding(encoding)
    target = re.search(r"\bcompressed\s+(\w+)", rest)
    known = (
        encoding in ENCODINGS or encoding in DEPTH_ENCODINGS or re.fullmatch(r"(8|16|32)[USF]C\d", encoding)
    )
    return Format(
        text[:60],
        encoding if known else "",
        target.group(1) if target else "",
        "compressedDepth" in rest,
        "rvl" in rest.lower(),
    )


def is_depth(message: Any) -> bool:
    """Whether a sensor_msgs/Image or CompressedImage is of distances.

    16 bits in one channel of a PNG are, unless the message says that they are an infrared or a Bayer image: nobody
    compresses grey images of 16 bits without saying so, and cv_bridge writes depth so.
    """
    if hasattr(message, "encoding"):
        return usual_encoding(str(message.encoding)) in _DISTANCES
    format_ = parse_format(str(message.format))
    if format_.depth or format_.encoding in _DISTANCES:
        return True
    return format_.encoding not in ENCODINGS and is_distances(bytes(memoryview(message.data)[:64]))


def is_distances(head: bytes) -> bool:
    """Whether a file's first bytes are of a PNG of 16 bits in one channel, after a depth transport's header or not."""
    file = image_file(without_depth_header(head))
    return file is not None and file.kind == "png" and (file.bits, file.channels) == (16, 1)


def without_depth_header(content: bytes) -> bytes:
    """A PNG without the header of compressed_depth_image_transport, where there is one."""
    return content[DEPTH_HEADER:] if content[DEPTH_HEADER:].startswith(PNG_START) else content
