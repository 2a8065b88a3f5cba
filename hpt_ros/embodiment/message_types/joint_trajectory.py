# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""trajectory_msgs/JointTrajectory: the curve that the robot is commanded, as points in time that end at rest."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types.base import (
    CommandType,
    Decoded,
    MessageType,
    Sending,
    SentCommand,
    in_order,
    rows_of_doubles,
)
from hpt_ros.embodiment.messages import NS_PER_S, stamp_ns, time_ns

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """From shortly before now, as it was commanded then, to rest, with velocities and accelerations.

    header.stamp is the first point's time: the controller is inside of it whenever it gets the message (decision 0015).
    For a controller that scales time by the robot's own speed, times from now are as much shorter, so that it goes
    along the curve as commanded. With `stamp_zero` it begins with the first point after now, and is late by its way
    there.
    """
    point_of = sending.interface("trajectory_msgs/msg/JointTrajectoryPoint")
    duration = sending.interface("builtin_interfaces/msg/Duration")
    now_ns = sending.now_ns
    if sending.stamp_zero:
        knots, start_ns = command.curve.knots(now_ns), now_ns
        coming = slice(int(np.searchsorted(knots.times_ns, now_ns, side="right")), None)
    else:
        knots, coming = command.curve.knots(now_ns - sending.past_ns), slice(None)
        start_ns = int(knots.times_ns[0])
    if coming.start == len(knots.times_ns):
        coming = slice(-1, None)  # at rest for long
    pace, times_ns = command.pace, knots.times_ns[coming]
    if pace != 1.0:
        times_ns = now_ns + np.round((times_ns - now_ns) * pace).astype(np.int64)
        start_ns = start_ns if sending.stamp_zero else int(times_ns[0])
    points = [
        point_of(
            positions=position,
            velocities=velocity,
            accelerations=acceleration,
            time_from_start=duration(sec=from_start // NS_PER_S, nanosec=from_start % NS_PER_S),
        )
        for from_start, position, velocity, acceleration in zip(
            np.maximum(times_ns - start_ns, 0).tolist(),
            rows_of_doubles(knots.positions[coming]),
            rows_of_doubles(knots.velocities[coming] / pace),
            rows_of_doubles(knots.accelerations[coming] / pace**2),
            strict=True,
        )
    ]
    message = sending.interface("trajectory_msgs/msg/JointTrajectory")(
        joint_names=list(output.message_names), points=points
    )
    if not sending.stamp_zero:
        message.header.stamp = sending.time(start_ns)
    return message


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """Of one point its time and place; of several, which say where to be when, the curve's place on arrival."""

    def values(point: Any, field: str) -> Any:
        return in_order(output, message.joint_names, getattr(point, field), field, where)

    start_ns = stamp_ns(message, arrival_ns)
    times_ns = [start_ns + time_ns(point.time_from_start) for point in message.points]
    last = bisect_right(times_ns, arrival_ns) - 1
    if not 0 <= last < len(times_ns) - 1:
        last = max(last, 0)
        return times_ns[last], values(message.points[last], "positions")
    before, after = message.points[last : last + 2]
    span_s = (times_ns[last + 1] - times_ns[last]) / 1e9
    u = (arrival_ns - times_ns[last]) / 1e9 / span_s
    here, there = values(before, "positions"), values(after, "positions")
    value = here + u * (there - here)
    if len(before.velocities) and len(after.velocities):
        # The cubic that has both points' velocities, as joint_trajectory_controller's splines.
        rise = there - here
        low, high = (values(point, "velocities") * span_s - rise for point in (before, after))
        value += u * (1.0 - u) * ((1.0 - u) * low - u * high)
    return arrival_ns, value


def empty(message: Any) -> bool:
    """Whether it has no point, which stops a controller."""
    return not len(message.points)


MESSAGE_TYPE = MessageType(
    name="trajectory_msgs/msg/JointTrajectory",
    empty=empty,
    command=CommandType(
        kinds=(JOINT_POSITION,),
        controllers="joint_trajectory_controller and drivers with its topic",
        encode=encode,
        decode=decode,
    ),
)
