# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Point clouds to a fixed number of points that lie far apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Code
from hpt_ros.observation.checks import DecodeError, InvalidSampleError, describe_stream

# sensor_msgs/PointField: FLOAT32 and FLOAT64.
_FLOATS = {7: "f4", 8: "f8"}
# Distances that one cloud may cost, which bounds its time on a robot: of more points than this over the number wanted,
# only each n-th is a candidate.
MAX_DISTANCES = 4 * 1024 * 1024


def decode_points(stream: Stream, message: Any) -> NDArray[np.float32]:
    """sensor_msgs/PointCloud2 to float32 (points, 3), metres in the cloud's frame.

    Points that are not finite are dropped, then `far_apart` chooses. The cloud may be organised or not, its fields in
    any order and padded, x, y and z float32 or float64.

    Raises:
        DecodeError: no field x, y or z of floats.
        InvalidSampleError: fewer bytes than the sizes ask for, or no finite point.
    """
    where = describe_stream(stream)
    height, width = int(message.height), int(message.width)
    point_step, data = int(message.point_step), np.frombuffer(message.data, dtype=np.uint8)
    # With one row drivers leave row_step at anything.
    row_step = int(message.row_step) if height > 1 else width * point_step
    kinds = [_axis(message, name, where) for name in "xyz"]
    widest = max(offset + kind.itemsize for offset, kind in kinds)
    if height * width == 0:
        raise InvalidSampleError(
            Code.EMPTY, where, problem="has a point cloud without points", remedy="check the sensor"
        )
    needed = (height - 1) * row_step + width * point_step
    if point_step < widest or row_step < width * point_step or data.size < needed:
        raise InvalidSampleError(
            Code.INVALID, where, data.size,
            problem=f"has a point cloud of {{value}} bytes that claims {height} rows of {width} points, a "
            f"point_step of {point_step} and a row_step of {row_step}", remedy="check the driver",
        )  # fmt: skip
    axes = np.empty((3, height * width), np.float32)
    with np.errstate(over="ignore"):
        for axis, (offset, kind) in zip(axes, kinds, strict=True):
            values = np.ndarray((height, width), kind, data, offset, (row_step, point_step))
            axis[:] = values.reshape(-1)
    finite = np.flatnonzero(np.isfinite(axes[0]) & np.isfinite(axes[1]) & np.isfinite(axes[2]))
    if not finite.size:
        raise InvalidSampleError(
            Code.NOT_FINITE, where,
            problem=f"has a point cloud of {height * width} points of which none is finite",
            remedy="check the sensor",
        )  # fmt: skip
    return far_apart(axes[:, finite[_candidates(finite.size, stream.points)]], stream.points)


def far_apart(points: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Choose points by farthest-point sampling: each is the one farthest from those chosen before it.

    Deterministic: it begins with the first point, and of equally far ones the first counts. Of many points each n-th
    is a candidate, n as small as `MAX_DISTANCES` permits (from 2048 wanted points on the candidates are the choice). Of
    fewer points than wanted all are taken, and repeated in turn until there are enough.

    Args:
        points: float32 (3, N), finite, N at least 1.
        count: how many are wanted.

    Returns:
        float32 (count, 3).
    """
    number = points.shape[1]
    if number <= count:
        return np.ascontiguousarray(points[:, np.arange(count) % number].T)
    points = np.ascontiguousarray(points[:, _candidates(number, count)])
    candidates = points.shape[1]
    if candidates == count:
        return np.ascontiguousarray(points.T)
    nearest = np.full(candidates, np.inf, np.float32)  # squared distance to the nearest chosen point
    difference = np.empty_like(points)
    distance = np.empty_like(nearest)
    chosen = np.empty(count, np.intp)
    index = 0
    with np.errstate(over="ignore"):
        for step in range(count):
            chosen[step] = index
            np.subtract(points, points[:, index : index + 1], out=difference)
            np.multiply(difference, difference, out=difference)
            np.add(difference[0], difference[1], out=distance)
            np.add(distance, difference[2], out=distance)
            np.minimum(nearest, distance, out=nearest)
            index = int(nearest.argmax())
    return np.ascontiguousarray(points[:, chosen].T)


def _candidates(number: int, count: int) -> NDArray[np.intp]:
    """Indices of the points that may be chosen, evenly over all of them, whatever the ratio."""
    candidates = min(number, max(count, MAX_DISTANCES // count))
    return np.arange(candidates) * number // candidates


def _axis(message: Any, name: str, where: str) -> tuple[int, np.dtype[Any]]:
    """Offset and type of a coordinate within a point."""
    for field in message.fields:
        if field.name == name and int(field.datatype) in _FLOATS and int(field.count) <= 1:
            kind = np.dtype(_FLOATS[int(field.datatype)]).newbyteorder(">" if message.is_bigendian else "<")
            return int(field.offset), kind
    there = ", ".join(f"{field.name} (datatype {field.datatype})" for field in message.fields) or "none"
    raise DecodeError(
        Code.INVALID, where, there[:300], problem="has point clouds with the fields {value}",
        expected=f"{name!r} as float32 or float64", remedy="use a topic with coordinates",
    )  # fmt: skip
