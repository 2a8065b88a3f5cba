# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages that command a robot to arrays: the same for a teleoperator's in a bag and for our own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Output
from hpt_ros.embodiment.action import AXES, SINGLE
from hpt_ros.embodiment.rotations import elements
from hpt_ros.observation.checks import DecodeError, finite
from hpt_ros.observation.stamps import stamp_ns, time_ns
from hpt_ros.observation.vectors import joint_order, pose_vector, twist_vector

Decoded = tuple[int, NDArray[np.float64]]


def decode_command(output: Output, message: Any, arrival_ns: int) -> Decoded:
    """A command and its time.

    Args:
        output: of the action, whose message it is.
        message: of the output's type.
        arrival_ns: its time where it has none of its own: a type without header, or a zero stamp.

    Returns:
        When the robot is to be there, in ns (header.stamp, of a trajectory + time_from_start); and float64: joint
        positions in the output's order, a pose (9,) of position and 6-D orientation, or a twist (6,).

    Raises:
        DecodeError: the message does not fit the output: joints, sizes, frame.
        InvalidSampleError: a value is not finite, or a quaternion is zero.
    """
    named = "action" if output.name == SINGLE else f"command {output.name!r}"
    return _DECODERS[output.type](output, message, arrival_ns, f"the {named} (topic {output.topic})")


def _trajectory(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """Of one point its time and place; of several, which say where to be when, the curve's place on arrival."""
    if not message.points:
        raise DecodeError(
            f"{where} has a trajectory without points, but at least one was expected; correct the teleoperation"
        )
    start_ns = stamp_ns(message, arrival_ns)
    times_ns = [start_ns + time_ns(point.time_from_start) for point in message.points]
    last = bisect_right(times_ns, arrival_ns) - 1
    if not 0 <= last < len(times_ns) - 1:
        last = max(last, 0)
        return times_ns[last], _positions(output, message.joint_names, message.points[last].positions, where)
    before, after = message.points[last : last + 2]
    span_s = (times_ns[last + 1] - times_ns[last]) / 1e9
    u = (arrival_ns - times_ns[last]) / 1e9 / span_s
    here = _positions(output, message.joint_names, before.positions, where)
    there = _positions(output, message.joint_names, after.positions, where)
    value = here + u * (there - here)
    if len(before.velocities) and len(after.velocities):
        # The cubic that has both points' velocities, as joint_trajectory_controller's splines.
        rates = [
            _positions(output, message.joint_names, point.velocities, where) for point in (before, after)
        ]
        rise = there - here
        low, high = rates[0] * span_s - rise, rates[1] * span_s - rise
        value += u * (1.0 - u) * ((1.0 - u) * low - u * high)
    return arrival_ns, value


def _joint_state(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    return stamp_ns(message, arrival_ns), _positions(output, message.name, message.position, where)


def _array(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    values = np.array(message.data, dtype=np.float64)[int(message.layout.data_offset) :]
    if values.shape != (len(output.names),):
        raise DecodeError(
            f"{where} has an array of {values.size} values, but one for each of {', '.join(output.names)} was "
            "expected; correct the names in the embodiment file or the teleoperation"
        )
    return arrival_ns, finite(values, output.names, where)


def _number(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    return arrival_ns, finite(np.array([message.data], dtype=np.float64), output.names, where)


def _pose(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    require_frame(output, message, where)
    return stamp_ns(message, arrival_ns), pose_vector(message, (*AXES, *elements("rotation_6d")), where)


def _twist(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    require_frame(output, message, where)
    return stamp_ns(message, arrival_ns), twist_vector(message, output.elements, where)


def require_frame(output: Output, message: Any, where: str) -> None:
    """Raise DecodeError unless a message's header is in the output's frame: numbers of another mean another place."""
    frame = str(message.header.frame_id).lstrip("/")
    if frame != output.frame_id.lstrip("/"):
        raise DecodeError(
            f"{where} has the frame_id {frame[:80]!r}, but the command {output.name!r} is in {output.frame_id!r}; "
            "correct frame_id in the embodiment file, or let its sender use that frame"
        )


def _positions(output: Output, names: Any, positions: Any, where: str) -> NDArray[np.float64]:
    """Positions in the output's order of a message that names its joints; others may be there."""
    joints = tuple(names)
    order = joint_order(output.names, joints, where)
    values = np.asarray(positions, dtype=np.float64)
    if values.shape != (len(joints),):
        raise DecodeError(
            f"{where} has {values.size} positions for {len(joints)} joints, but one for each was expected; correct the "
            "teleoperation"
        )
    return finite(values[order], output.names, where)


_DECODERS: Mapping[str, Callable[[Output, Any, int, str], Decoded]] = {
    "trajectory_msgs/msg/JointTrajectory": _trajectory,
    "sensor_msgs/msg/JointState": _joint_state,
    "std_msgs/msg/Float64MultiArray": _array,
    "std_msgs/msg/Float64": _number,
    "geometry_msgs/msg/PoseStamped": _pose,
    "geometry_msgs/msg/TwistStamped": _twist,
}
