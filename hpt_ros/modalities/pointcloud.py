# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Point clouds: coordinates in m in the sensor's frame, (points, 3); the order of the points means nothing."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality, Shape, Sized


def sample(stream: Sized) -> Shape:
    """Return (points, 3)."""
    return stream.points, 3


MODALITY = Modality(
    name="pointcloud",
    layout=Layout.STACKED,
    dtype="float32",
    network="hpt_ros.model.modalities:PointCloud",
    sample=sample,
    needs=("points",),
    axes=("point", "axis"),
    sizes=("clouds", "cloud_points", 3),
    example=(1, 512, 3),
)
