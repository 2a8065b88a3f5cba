# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The embodiment file: what recording, converting, training and running agree on about one robot."""

from __future__ import annotations

from hpt_ros.embodiment.action import Action
from hpt_ros.embodiment.action_space import ActionSpace
from hpt_ros.embodiment.deployment import Deployment, list_deployed_fields, require_deployable
from hpt_ros.embodiment.output import JointLimit, Output, RotationLimit
from hpt_ros.embodiment.schema import (
    FORMAT,
    Embodiment,
    require_match,
)
from hpt_ros.embodiment.streams import EmbodimentError, ImageSpec, Stream

__all__ = [
    "FORMAT",
    "Action",
    "ActionSpace",
    "Deployment",
    "Embodiment",
    "EmbodimentError",
    "ImageSpec",
    "JointLimit",
    "Output",
    "RotationLimit",
    "Stream",
    "list_deployed_fields",
    "require_deployable",
    "require_match",
]
