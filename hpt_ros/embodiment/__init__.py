"""The embodiment file: what recording, converting, training and running agree on about one robot."""

from __future__ import annotations

from hpt_ros.embodiment.action import Action, JointLimit, Output, RotationLimit
from hpt_ros.embodiment.schema import (
    FORMAT,
    Embodiment,
    Feature,
    image_feature,
    require_match,
    stream_feature,
)
from hpt_ros.embodiment.space import ActionSpace
from hpt_ros.embodiment.streams import MODALITIES, EmbodimentError, ImageSpec, Stream

__all__ = [
    "FORMAT",
    "MODALITIES",
    "Action",
    "ActionSpace",
    "Embodiment",
    "EmbodimentError",
    "Feature",
    "ImageSpec",
    "JointLimit",
    "Output",
    "RotationLimit",
    "Stream",
    "image_feature",
    "require_match",
    "stream_feature",
]
