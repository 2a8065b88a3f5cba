"""The embodiment file: what recording, converting, training and running agree on about one robot."""

from __future__ import annotations

from hpt_ros.embodiment.schema import (
    FORMAT,
    Action,
    Embodiment,
    EmbodimentError,
    ImageSpec,
    JointLimit,
    Stream,
    image_feature,
    require_match,
)

__all__ = [
    "FORMAT",
    "Action",
    "Embodiment",
    "EmbodimentError",
    "ImageSpec",
    "JointLimit",
    "Stream",
    "image_feature",
    "require_match",
]
