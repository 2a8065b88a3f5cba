# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether a dataset's features are those of the robot that it is opened as."""

from __future__ import annotations

from dataclasses import replace

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import (
    ACTION,
    VIDEO,
    Feature,
    features_of,
    join_feature_name,
)  # fmt: skip
from hpt_ros.dataset.metadata import Info
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, did_you_mean
from hpt_ros.modalities import Layout


def check_features(info: Info, robot: Embodiment) -> dict[str, Feature]:
    """Check that rate, features, shapes, dtypes and names are the embodiment's; return them as they are stored.

    Raises:
        DatasetError: they are not; both values are named.
    """
    where = f"dataset {str(info.root)!r}"
    if abs(info.fps - robot.tick_hz) > 1e-6:
        raise DatasetError(
            Code.MISMATCH, where, info.fps,
            problem=f"has fps {{value}}, but embodiment {robot.name!r} has tick_hz {robot.tick_hz:g}",
            remedy="convert the bags again with this embodiment",
        )  # fmt: skip
    for modality in robot.modalities:
        sizes = {stream.shape[:2] for stream in robot.streams_of(modality.name)}
        if modality.layout is Layout.STACKED and len(sizes) > 1:
            raise DatasetError(
                Code.CONFLICT, where, sorted(sizes),
                problem=f"has {modality.name} views of the sizes {{value}} (height, width), but all views of a "
                "policy must have one size",
                remedy="give them the same size in the embodiment file and convert again",
            )  # fmt: skip
    names = {
        join_feature_name(modality.name): list(robot.names_of(modality.name))
        for modality in robot.modalities
        if modality.layout is Layout.JOINED
    }
    names[ACTION] = list(robot.action.names)
    found = {}
    for key, wanted in features_of(robot, coded=True).items():
        feature = info.features.get(key)
        if feature is None:
            raise DatasetError(
                Code.MISSING, where, key,
                problem=f"lacks the feature {{value}} of embodiment {robot.name!r}; its features are "
                f"{', '.join(info.features)}",
                remedy=did_you_mean(key, info.features).removeprefix("; ") or "use files of the same robot",
            )  # fmt: skip
        dtype, shape = wanted.dtype, wanted.shape
        found[key] = replace(wanted, coded=wanted.coded and feature.codes is not None)
        if found[key].coded:
            dtype, shape = VIDEO, (*shape, 1)
        if feature.dtype != dtype or feature.shape != shape:
            raise DatasetError(
                Code.MISMATCH, where, (feature.dtype, list(feature.shape)),
                problem=f"has feature {key!r} of dtype {feature.dtype!r} and shape {list(feature.shape)}, but "
                f"embodiment {robot.name!r} has {dtype!r} and {list(shape)}",
                remedy="use files of the same robot",
            )  # fmt: skip
        if key in names and feature.names is not None and list(feature.names) != names[key]:
            raise DatasetError(
                Code.MISMATCH, where, list(feature.names),
                problem=f"has {key} names {list(feature.names)}, but embodiment {robot.name!r} has {names[key]}",
                remedy="order counts: use files of the same robot",
            )  # fmt: skip
    return found
