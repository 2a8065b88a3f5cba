# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a URDF states of joints: https://wiki.ros.org/urdf/XML/joint."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

from hpt_ros.errors import Code, HptError

MAX_URDF_BYTES = 8 * 1024 * 1024  # robots with every mesh named stay below 1 MiB
MOVING = ("revolute", "continuous", "prismatic")


@dataclass(frozen=True, slots=True)
class UrdfLimit:
    """What a URDF says of a joint, in rad or m and per second; infinite where it says nothing."""

    lower: float
    upper: float
    velocity: float
    continuous: bool = False
    prismatic: bool = False


def parse_urdf(text: str) -> ElementTree.Element:
    """The <robot> of a URDF.

    Args:
        text: XML, as the parameter `robot_description` holds it.

    Raises:
        HptError: no URDF.
    """
    if len(text) > MAX_URDF_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise HptError(
            Code.INVALID, "robot_description", len(text),
            problem="has {value} characters or declares entities, which no URDF needs",
            remedy="set the URDF itself (xacro's output), not a file name",
        )  # fmt: skip
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise HptError(
            Code.UNREADABLE, "robot_description", problem="is no XML",
            remedy="set the URDF itself (xacro's output), not a file name", cause=error,
        ) from error  # fmt: skip
    if root.tag != "robot" or root.find("link") is None:
        raise HptError(
            Code.INVALID, "robot_description", root.tag, problem="is XML of a {value}",
            expected="a URDF's <robot> with links", remedy="run xacro on it",
        )  # fmt: skip
    return root


def joint_limits(text: str) -> dict[str, UrdfLimit]:
    """Limits of every joint of a URDF that moves, by its name.

    Raises:
        HptError: no URDF, or a limit that is no number.
    """
    joints = (joint for joint in parse_urdf(text).findall("joint") if joint.get("type") in MOVING)
    return {joint.get("name", ""): joint_limit(joint) for joint in joints}


def joint_limit(joint: ElementTree.Element) -> UrdfLimit:
    """Limits of a <joint>.

    Raises:
        HptError: a limit is no number.
    """
    found = joint.find("limit")
    bounded = joint.get("type") != "continuous" and found is not None

    def number(key: str, default: float) -> float:
        raw = None if found is None else found.get(key)
        try:
            return default if raw is None else float(raw)
        except ValueError as error:
            raise HptError(
                Code.INVALID, f"robot_description, joint {joint.get('name')!r}", raw,
                problem=f"has {key} {{value}}", expected="a number", remedy="correct the URDF",
            ) from error  # fmt: skip

    velocity = number("velocity", np.inf)
    return UrdfLimit(
        number("lower", 0.0) if bounded else -np.inf,
        number("upper", 0.0) if bounded else np.inf,
        velocity if velocity > 0.0 else np.inf,  # 0 is what exporters write when nobody entered it
        joint.get("type") == "continuous",
        joint.get("type") == "prismatic",
    )
