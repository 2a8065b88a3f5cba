# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a modality IS, one object each: `MODALITIES`. Packages outside add theirs (`hpt_ros.registry`)."""

from __future__ import annotations

from hpt_ros.modalities import actions, depth, image, language, pointcloud, state, tactile, wrench
from hpt_ros.modalities.base import Decoder, Layout, Modality, Shape, Sized
from hpt_ros.registry import Registry

# Their order is that of a dataset's features, and of a policy's inputs.
MODALITIES: Registry[Modality] = Registry(
    "modality",
    "hpt_ros.modalities",
    Modality,
    {
        module.MODALITY.name: module.MODALITY
        for module in (image, depth, tactile, pointcloud, state, wrench, actions, language)
    },
)

# Those that more is known of than their own object says: how a chunk begins, what a task is, what encodes images.
STATE, IMAGE, DEPTH = state.MODALITY.name, image.MODALITY.name, depth.MODALITY.name
ACTIONS, LANGUAGE = actions.MODALITY.name, language.MODALITY.name

__all__ = [
    "ACTIONS",
    "DEPTH",
    "IMAGE",
    "LANGUAGE",
    "MODALITIES",
    "STATE",
    "Decoder",
    "Layout",
    "Modality",
    "Shape",
    "Sized",
]
