# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measured joints of topics in which controllers report them, for bags in which nothing else does."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hpt_ros.embodiment.message_types.by_path import is_path, read
from hpt_ros.errors import Code, HptError
from hpt_ros.observation.track import seconds
from rosbag_tools.bootstrap.joints import Joints
from rosbag_tools.bootstrap.sensors import Unsupported
from rosbag_tools.reading.reader import Bag
from rosbag_tools.reading.set_back import longest_clear


def _of_trajectory_controller(message: Any) -> Iterator[tuple[str, str]]:
    # `actual` became `feedback` in ROS 2 (control_msgs 4); later releases have both, and fill one of them.
    for point in ("feedback", "actual"):
        if len(getattr(getattr(message, point, None), "positions", ())):
            for name in message.joint_names:
                yield str(name), f"{point}.positions[joint_names={name}]"
            return


def _of_broadcaster(message: Any) -> Iterator[tuple[str, str]]:
    for name, interfaces in zip(message.joint_names, message.interface_values, strict=False):
        if "position" in interfaces.interface_names:
            yield str(name), f"interface_values[joint_names={name}].values[interface_names=position]"


# Type to what gives the joints of a message, and the path of each one's position.
CONTROLLER_STATES: Mapping[str, Callable[[Any], Iterator[tuple[str, str]]]] = {
    "control_msgs/msg/JointTrajectoryControllerState": _of_trajectory_controller,
    "control_msgs/msg/DynamicJointState": _of_broadcaster,
}


def find_reported(bag: Bag, topic: str, type_: str, rate_hz: float) -> Joints:
    """The joints that a controller reports in all of its messages.

    Args:
        bag: an open bag.
        topic: of it.
        type_: one of `CONTROLLER_STATES`.
        rate_hz: of its messages.

    Raises:
        Unsupported: none, and why.
    """
    paths_of = CONTROLLER_STATES[type_]
    paths: dict[str, str] = {}
    times: dict[str, array[float]] = {}
    values: dict[str, array[float]] = {}
    count = 0
    start_ns, end_ns = longest_clear((bag.start_ns, bag.end_ns), bag.set_backs())
    for message in bag.messages([topic], start_ns=start_ns, stop_ns=end_ns + 1):
        found = dict(paths_of(message.content))
        count += bool(found)  # one without joints does not count
        for name, path in found.items():
            if paths.setdefault(name, path) != path or not is_path(path):
                continue
            try:
                value = read(message.content, path, topic)
            except HptError:
                continue  # its list is shorter
            if np.isfinite(value):
                times.setdefault(name, array("d")).append(seconds(message.log_ns - bag.start_ns))
                values.setdefault(name, array("d")).append(value)
    kept = tuple(name for name in times if len(times[name]) == count)
    if not kept:
        raise Unsupported(Code.EMPTY, problem=f"of {type_}, in which no joint has a position in all messages")
    return Joints(
        topic, rate_hz, kept, {name: (np.array(times[name]), np.array(values[name])) for name in kept},
        partial=False, type=type_, paths=tuple(paths[name] for name in kept),
        left_out={
            name: "it has no position in some of the messages, or a name that no path can have"
            for name in paths if name not in kept
        },
    )  # fmt: skip


def without_measured(joints: list[Joints], left_out: dict[str, str]) -> list[Joints]:
    """All topics of joints, of which controllers keep what no topic before them measures: joint states come first.

    Topics of one type are not compared: two arms may have equal names. What is left out is added to `left_out`.
    """
    kept: list[Joints] = [item for item in joints if not item.paths]
    for type_ in CONTROLLER_STATES:
        seen = {name: item.topic for item in kept for name in item.names}
        for item in (item for item in joints if item.type == type_):
            own = [name for name in item.names if name not in seen]
            if own:
                kept.append(item.with_only(own))
            else:
                left_out[item.topic] = f"{seen[item.names[0]]} measures its joints"
    return kept
