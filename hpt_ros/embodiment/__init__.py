"""The embodiment file: what recording, converting, training and running agree on about one robot."""

from __future__ import annotations

from hpt_ros.embodiment.schema import (
    FORMAT,
    Action,
    Embodiment,
    Feature,
    JointLimit,
    image_feature,
    require_match,
    stream_feature,
)
from hpt_ros.embodiment.streams import MODALITIES, EmbodimentError, ImageSpec, Stream

__all__ = [
    "FORMAT",
    "MODALITIES",
    "Action",
    "Embodiment",
    "EmbodimentError",
    "Feature",
    "ImageSpec",
    "JointLimit",
    "Stream",
    "image_feature",
    "require_match",
    "stream_feature",
]
