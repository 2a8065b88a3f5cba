# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a LeRobotDataset v3.0 states of itself in ``meta/info.json``, made of an embodiment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.dataset.layout import (
    COUNTERS,
    DATA_FILE_MB,
    DATA_PATH,
    FILES_PER_CHUNK,
    LABELS,
    VERSION,
    VIDEO,
    VIDEO_FILE_MB,
    VIDEO_PATH,
    Feature,
    features_of,
    integer_fps,
)  # fmt: skip
from hpt_ros.dataset.video import COLOUR, DEPTH, DEPTH_KEY_EVERY, DEPTH_LOSSLESS, Encoding
from hpt_ros.embodiment import Embodiment


def make_info(
    embodiment: Embodiment,
    episodes: int,
    frames: int,
    tasks: int,
    labels: Iterable[str] = (),
    *,
    coded: bool = False,
) -> dict[str, Any]:
    """Return ``meta/info.json`` of a dataset of so many episodes, frames and tasks, with some of `LABELS`.

    With `coded`, depth is stored as a video of codes.
    """
    fps = integer_fps(embodiment)
    names = {modality.name: list(modality.axes) for modality in embodiment.modalities}
    names["action"] = list(embodiment.action.names)
    features: dict[str, Any] = {}
    stored = features_of(embodiment, coded)
    for key, feature in stored.items():
        elements = (
            embodiment.stream(feature.stream).names
            if feature.stream
            else embodiment.names_of(feature.modality)
        )
        features[key] = {
            "dtype": feature.dtype,
            "shape": list(feature.shape),
            "names": names[feature.modality] or list(elements),
        }
        if feature.is_video:
            features[key]["info"] = _video_info(feature, fps, COLOUR, 3)
        elif feature.coded:
            features[key] = {
                "dtype": VIDEO,
                "shape": [*feature.shape, 1],
                "names": [*names[feature.modality], "channels"],
                "info": _video_info(feature, fps, DEPTH, 1) | _depth_info(),
            }
    for name, dtype in {**{name: LABELS[name] for name in labels}, **COUNTERS}.items():
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return {
        "codebase_version": VERSION,
        "robot_type": embodiment.name,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": VIDEO_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": None if all(feature.in_rows for feature in stored.values()) else VIDEO_PATH,
        "features": features,
    }


def _video_info(feature: Feature, fps: int, encoding: Encoding, channels: int) -> dict[str, Any]:
    return {
        "video.height": feature.shape[0],
        "video.width": feature.shape[1],
        "video.codec": encoding.name,
        "video.pix_fmt": encoding.pixel_format,
        **({} if feature.coded else {"video.is_depth_map": False}),  # the key of before lerobot 0.6
        "video.fps": fps,
        "video.channels": channels,
        "has_audio": False,
    }


def _depth_info() -> dict[str, Any]:
    """Return what lerobot 0.6 states of a video of depth, and encodes it by again when it edits (`get_video_info`)."""
    return {
        "is_depth_map": True,
        "depth_unit": "mm",
        "video.g": DEPTH_KEY_EVERY,
        "video.extra_options": {"x265-params": DEPTH_LOSSLESS},
        "video.video_backend": "pyav",
        **DepthCodes().to_info(),
    }
