# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth images: distances in mm, (height, width), 0 where nothing was measured."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality, image_size

MODALITY = Modality(
    name="depth",
    layout=Layout.STACKED,
    dtype="uint16",
    network="hpt_ros.model.modalities:Depth",
    sample=image_size,
    inputs=("depth_features", "depth"),
    needs=("image",),
    coded=True,
    axes=("height", "width"),
    statistics="hpt_ros.dataset.statistics:depth_statistics",
    normalised=False,
    same_size=False,
    sizes=("depth_views", "depth_height", "depth_width"),
    example=(1, 120, 160),
)
