# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Topics of types that have no decoding of their own: which numbers their messages have, and what to do with them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from hpt_ros.embodiment.message_types.by_path import fields_of, read
from hpt_ros.errors import HptError
from hpt_ros.observation.image_files import image_file
from rosbag_tools.reading.reader import Bag

# Messages that are looked at, numbers of one, and places of a list of numbers.
LOOKED_AT, MOST_NUMBERS, MOST_PLACES = 200, 64, 8
LEAST_IMAGE = 768  # bytes of 16 x 16 pixels of colour
# Of ROS itself, and of cameras: no robot is observed or commanded by them.
INFRASTRUCTURE = {
    "rcl_interfaces/msg/Log": "log messages",
    "rosgraph_msgs/msg/Log": "log messages",
    "rcl_interfaces/msg/ParameterEvent": "changes of parameters",
    "rosgraph_msgs/msg/Clock": "the simulation's clock; record with --use-sim-time",
    "sensor_msgs/msg/CameraInfo": "the calibration of a camera, which policies do not see",
    "diagnostic_msgs/msg/DiagnosticArray": "diagnostics",
    "rosbag2_interfaces/msg/WriteSplitEvent": "an event of the recorder",
    "theora_image_transport/msg/Packet": (
        "video in Theora, which is not read; record the image compressed, or republish the bag by image_transport"
    ),
    "point_cloud_interfaces/msg/CompressedPointCloud2": (
        "compressed points, which are not read; republish the bag by point_cloud_transport"
    ),
    "visualization_msgs/msg/Marker": "drawings for people",
    "visualization_msgs/msg/MarkerArray": "drawings for people",
    "hpt_msgs/msg/EpisodeEvent": "markers of episodes, which are read by themselves",
    "hpt_msgs/msg/PolicyStatus": "the state of a policy",
    "hpt_msgs/msg/ActionChunk": "predictions of a policy",
}
# Types of one number that command a gripper, or a joint, if their topic says so.
ONE_NUMBER = {
    "control_msgs/msg/GripperCommand": "position",
    **dict.fromkeys(
        (f"std_msgs/msg/{name}" for name in ("Bool", "Float32", "UInt8", "UInt16", "Int8", "Int16", "Int32")),
        "data",
    ),
}


def numbers_of(bag: Bag, topic: str) -> list[str]:
    """Paths of the numbers in a topic's messages: those that change, or all of them if none does."""
    paths: list[str] = []
    rows: list[list[float]] = []
    for message in itertools.islice(bag.messages([topic]), LOOKED_AT):
        paths = paths or list(itertools.islice(_paths(message.content, ""), MOST_NUMBERS))
        try:
            rows.append([read(message.content, path, topic) for path in paths])
        except HptError:
            continue  # a shorter list
    if not rows or not paths:
        return paths
    changing = np.ptp(np.array(rows), axis=0) > 0
    return [path for path, changes in zip(paths, changing, strict=True) if changes] or paths


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        yield path
        return
    if isinstance(value, (str, bytes)):
        return
    if isinstance(value, (list, tuple, np.ndarray)):
        for index, item in enumerate(value[:MOST_PLACES]):
            yield from _paths(item, f"{path}[{index}]")
        return
    for name in fields_of(value):
        if name not in ("header", "stamp", "timestamp", "layout") and not name.isupper():
            yield from _paths(getattr(value, name), f"{path}.{name}" if path else name)


def _picture(bag: Bag, topic: str) -> str:
    """Say that a topic's messages hold an image as a list of bytes, and what to do; empty if they do not."""
    for message in itertools.islice(bag.messages([topic]), 1):
        for name in fields_of(message.content):
            value = getattr(message.content, name)
            if not isinstance(value, np.ndarray) or value.dtype not in (np.uint8, np.int8):
                continue
            data = value.tobytes()
            if (file := image_file(data)) is not None:
                return (
                    f"{name!r} is a {file.kind.upper()} image of {file.width}x{file.height}: let its sender publish it "
                    f"as sensor_msgs/msg/CompressedImage, whose data is the same list; rewrite this bag so with rosbags"
                )
            if len(data) >= LEAST_IMAGE:
                return (
                    f"{name!r} is a list of {len(data)} bytes, as of an image: let its sender publish it as "
                    "sensor_msgs/msg/Image, which says its size and encoding; rewrite this bag so with rosbags"
                )
    return ""


def suggestion(bag: Bag, topic: str, type_: str) -> str:
    """What a topic of a type without its own decoding is, and what to do if it matters."""
    if type_ in INFRASTRUCTURE:
        return INFRASTRUCTURE[type_]
    if "/action/" in type_ or "/srv/" in type_ or "/_service_event" in topic or "/_action/" in topic:
        return "of a service or an action, whose messages are no streams; record what it moves"
    if pictured := _picture(bag, topic):
        return f"of {type_}, whose {pictured}"
    paths = numbers_of(bag, topic)
    if not paths:
        return f"of {type_}, whose messages have no numbers"
    listed = ", ".join(paths[:12]) + (", ..." if len(paths) > 12 else "")
    return (
        f"of {type_}: if the policy is to see it, or to command it, add a state stream or an output with that type and "
        f"values: [{listed}]"
    )
