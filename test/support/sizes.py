# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Policies' configurations with a key for each size, which is shorter to change one by one than shapes are."""

from __future__ import annotations

from typing import Any

from hpt_ros.model import PolicyConfig

# Modality to the keys of its input's axes; a number is an axis that is always as long.
SIZES: dict[str, tuple[str | int, ...]] = {
    "image": ("views", "image_height", "image_width", 3),
    "depth": ("depth_views", "depth_height", "depth_width"),
    "state": ("state_dim",),
    "wrench": ("wrench_dim",),
    "tactile": ("tactile_arrays", "tactile_values"),
    "pointcloud": ("clouds", "cloud_points", 3),
}


def policy_config(**values: Any) -> PolicyConfig:
    """A configuration; modalities whose first size is 0, or not given, have no shape."""
    sizes = {key: values.pop(key) for axes in SIZES.values() for key in axes if key in values}
    shapes = {
        name: tuple(sizes.get(key, 0) if isinstance(key, str) else key for key in axes)
        for name, axes in SIZES.items()
        if sizes.get(str(axes[0]))
    }
    return PolicyConfig(**{"shapes": shapes, **values})
