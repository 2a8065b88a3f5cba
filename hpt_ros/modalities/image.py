# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Images of cameras: RGB of 8 bits, (height, width, 3)."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality, Shape, Sized, image_size


def sample(stream: Sized) -> Shape:
    """Return (height, width, 3)."""
    return (*image_size(stream), 3)


MODALITY = Modality(
    name="image",
    layout=Layout.STACKED,
    dtype="uint8",
    network="hpt_ros.model.modalities:Image",
    sample=sample,
    inputs=("image_features", "image"),
    needs=("image",),
    video=True,
    folder="images",
    axes=("height", "width", "channels"),
    normalised=False,
    same_size=False,
    sizes=("views", "image_height", "image_width", 3),
    example=(2, 240, 320, 3),
)
