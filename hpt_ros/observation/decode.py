"""Messages to arrays: the only place where a stream's message becomes numbers.

Every function takes any object that has the message's fields, so that messages that `rosbags` read from a bag and
messages that arrive live through rclpy give identical arrays. Colour conversion is `rosbags.image`'s (OpenCV); two
things it does not do are done here: rows padded by ``step``, and compressed pictures that are grey or cut short.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.image import image_to_cvimage

from hpt_ros.embodiment import Action, Stream
from hpt_ros.errors import HptError, did_you_mean

NS_PER_S = 1_000_000_000


def decode_on_one_thread() -> None:
    """Keep OpenCV from using threads of its own in this process, where several processes decode side by side."""
    cv2.setNumThreads(1)


# Encodings of sensor_msgs/Image and the bytes of one pixel. All have 8 bits a channel.
# Source: sensor_msgs/image_encodings.hpp.
ENCODINGS = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "uyvy": 2,
    "yuv422": 2,
    "yuyv": 2,
    "yuv422_yuy2": 2,
}
MAX_PIXELS = 64 * 1024 * 1024  # larger than any camera's picture; a corrupt header can claim anything

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_COMPRESSED_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


class DecodeError(HptError):
    """A stream's messages do not hold what the embodiment file says; no later message will either."""


class InvalidSampleError(DecodeError):
    """This one message's values are unusable (not finite, cut short); the next may be good."""


@dataclass(frozen=True)
class _Pixels:
    """The fields of sensor_msgs/Image that rosbags.image reads, with unpadded rows."""

    height: int
    width: int
    encoding: str
    data: NDArray[np.uint8]
    is_bigendian: bool = False


def stamp_ns(message: Any, arrival_ns: int) -> int:
    """The message's header stamp in nanoseconds; a zero stamp means "now", which is its arrival."""
    return _time_ns(message.header.stamp) or arrival_ns


def decode(stream: Stream, message: Any) -> NDArray[Any]:
    """Decode a message of `stream`: uint8 RGB (height, width, 3) of the stream's size, or float64 (dim,).

    Raises:
        DecodeError: the message does not fit the stream.
        InvalidSampleError: this message's values are unusable.
    """
    if stream.type == "sensor_msgs/msg/Image":
        return decode_image(stream, message)
    if stream.type == "sensor_msgs/msg/CompressedImage":
        return decode_compressed_image(stream, message)
    return decode_joint_state(stream, message)


def decode_image(stream: Stream, message: Any) -> NDArray[np.uint8]:
    """sensor_msgs/Image to RGB uint8, resized by area to the stream's size: (height, width, 3).

    Raises:
        DecodeError: an encoding that is not in `ENCODINGS`.
        InvalidSampleError: fewer bytes than height, width and step ask for.
    """
    where = f"stream {stream.name!r} (topic {stream.topic})"
    encoding = str(message.encoding)
    if encoding not in ENCODINGS:
        raise DecodeError(
            f"{where} has images of encoding {encoding[:40]!r}, but one of {', '.join(ENCODINGS)} was expected"
            f"{did_you_mean(encoding[:40], ENCODINGS) or '; set the camera driver to one of these'}"
        )
    height, width, step = int(message.height), int(message.width), int(message.step)
    row = width * ENCODINGS[encoding]
    data = np.frombuffer(message.data, dtype=np.uint8)
    if not 0 < height * width <= MAX_PIXELS or step < row or data.size < step * (height - 1) + row:
        raise InvalidSampleError(
            f"{where} has an image of {data.size} bytes that claims {height} rows of {width} {encoding} pixels "
            f"and a step of {step}; check the camera driver"
        )
    if step == row:
        tight = data[: height * row]
    else:
        # The last row may come without its padding.
        rows = np.lib.stride_tricks.as_strided(data, shape=(height, row), strides=(step, 1), writeable=False)
        tight = rows.reshape(-1)
    try:
        rgb = image_to_cvimage(_Pixels(height, width, encoding, tight), "rgb8")  # type: ignore[arg-type]
    except cv2.error as error:
        raise InvalidSampleError(
            f"{where} has a {width}x{height} image of encoding {encoding} that cannot be converted to RGB "
            f"({' '.join(str(error).split())[:120]}); check the camera driver"
        ) from error
    return _resized(stream, rgb)


def decode_compressed_image(stream: Stream, message: Any) -> NDArray[np.uint8]:
    """sensor_msgs/CompressedImage (JPEG or PNG, grey or colour) to RGB uint8 (height, width, 3), resized by area.

    A JPEG orientation tag is ignored, as image_transport ignores it.

    Raises:
        InvalidSampleError: neither JPEG nor PNG, or cut short: OpenCV would fill the rest with grey.
    """
    where = f"stream {stream.name!r} (topic {stream.topic})"
    data = np.frombuffer(message.data, dtype=np.uint8)
    head, tail = data[:8].tobytes(), data[-4096:].tobytes().rstrip(b"\0")
    if head.startswith(_JPEG_START):
        whole = tail.endswith(_JPEG_END)
    elif head.startswith(_PNG_START):
        whole = _PNG_END in tail
    else:
        raise InvalidSampleError(
            f"{where} has a compressed image of format {str(message.format)[:40]!r} that begins like neither JPEG nor "
            "PNG; set the camera driver to jpeg or png"
        )
    if not whole:
        raise InvalidSampleError(
            f"{where} has a compressed image of {data.size} bytes that is cut short; check the camera and the network"
        )
    try:
        rgb = cv2.imdecode(data, _COMPRESSED_FLAGS)
    except cv2.error:
        rgb = None
    if rgb is None:
        raise InvalidSampleError(
            f"{where} has a compressed image of {data.size} bytes that OpenCV cannot decode; check the camera driver"
        )
    return _resized(stream, rgb)


def decode_joint_state(stream: Stream, message: Any) -> NDArray[np.float64]:
    """sensor_msgs/JointState to the stream's vector, float64 (dim,): its fields of its joints, in the file's order.

    Joints may come in any order and further joints may be there.

    Raises:
        DecodeError: a joint is missing, or a field is not filled for every joint.
        InvalidSampleError: a value is not finite.
    """
    where = f"stream {stream.name!r} (topic {stream.topic})"
    names = tuple(message.name)
    order = _order(stream.joints, names, where)
    parts = []
    for part in stream.fields:
        values = np.asarray(getattr(message, part), dtype=np.float64)
        if values.shape != (len(names),):
            raise DecodeError(
                f"{where} has {values.size} values of {part!r} for {len(names)} joints, but one for each was expected; "
                f"take {part!r} out of the stream's fields or let the driver fill it"
            )
        parts.append(values[order])
    return _finite(np.concatenate(parts), stream.names, where)


def decode_command(action: Action, message: Any, arrival_ns: int) -> tuple[int, NDArray[np.float64]]:
    """trajectory_msgs/JointTrajectory of one point to (time in ns, positions float64 (dim,) in the action's order).

    The command's time is header.stamp + time_from_start; a zero stamp means its arrival.

    Raises:
        DecodeError: a joint is missing, not exactly one point, or no positions.
        InvalidSampleError: a value is not finite.
    """
    where = f"the action (topic {action.topic})"
    if len(message.points) != 1:
        raise DecodeError(
            f"{where} has a trajectory of {len(message.points)} points, but one point per message was expected; let "
            "the teleoperation send its current target only"
        )
    point = message.points[0]
    names = tuple(message.joint_names)
    order = _order(action.names, names, where)
    values = np.asarray(point.positions, dtype=np.float64)
    if values.shape != (len(names),):
        raise DecodeError(
            f"{where} has {values.size} positions for {len(names)} joints, but one for each was expected; correct the "
            "teleoperation"
        )
    time_ns = stamp_ns(message, arrival_ns) + _time_ns(point.time_from_start)
    return time_ns, _finite(values[order], action.names, where)


def _time_ns(time: Any) -> int:
    return int(time.sec) * NS_PER_S + int(time.nanosec)


@functools.lru_cache(maxsize=64)
def _order(wanted: tuple[str, ...], names: tuple[str, ...], where: str) -> NDArray[np.intp]:
    """Indices of the wanted joints in a message's names; messages of a topic nearly always repeat their names."""
    for name in wanted:
        if name not in names:
            there = ", ".join(names) or "none"
            raise DecodeError(
                f"{where} lacks the joint {name!r}; the message has {there[:600]}{did_you_mean(name, names)}"
                f"{'' if did_you_mean(name, names) else '; correct the names in the embodiment file'}"
            )
    order = np.array([names.index(name) for name in wanted], dtype=np.intp)
    order.setflags(write=False)
    return order


def _finite(values: NDArray[np.float64], names: tuple[str, ...], where: str) -> NDArray[np.float64]:
    good = np.isfinite(values)
    if not good.all():
        index = int(np.argmin(good))
        raise InvalidSampleError(
            f"{where} has the value {values[index]} for {names[index]!r}, but a finite number was expected; "
            "check the driver"
        )
    return values


def _resized(stream: Stream, rgb: Any) -> NDArray[np.uint8]:
    """The picture in the stream's size, owning its memory: a view would keep the whole message alive."""
    assert stream.image is not None  # the embodiment's check saw to it
    size = (stream.image.height, stream.image.width)
    if rgb.shape[:2] != size:
        rgb = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
    owned: NDArray[np.uint8] = np.array(rgb, dtype=np.uint8, order="C", copy=rgb.base is not None)
    return owned
