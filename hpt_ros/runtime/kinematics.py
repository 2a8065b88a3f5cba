# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A robot's URDF: where its links are, and its joints' limits. Forward kinematics is MuJoCo's, which reads URDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import Kinematics
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.urdf import MOVING, UrdfLimit, joint_limit, parse_urdf
from hpt_ros.errors import Code, HptError
from hpt_ros.mujoco_engine import mujoco

# MuJoCo wants a mass for what moves; kinematics does not use it.
_SETTINGS = {"boundmass": "1e-3", "boundinertia": "1e-6", "fusestatic": "false", "discardvisual": "false"}


@dataclass(frozen=True, slots=True)
class Urdf:
    """A parsed `robot_description`."""

    name: str
    kinematics: Kinematics
    limits: tuple[UrdfLimit, ...]  # in the order of the names given


def read_urdf(text: str, names: Sequence[str]) -> Urdf:
    """Read a URDF.

    Args:
        text: XML, as the parameter `robot_description` holds it.
        names: joints that are commanded, in the action's order; all others stay at 0 (mimic joints follow theirs).

    Raises:
        HptError: no URDF, or a joint that it does not have, or one that does not move.
    """
    root = parse_urdf(text)
    joints = {joint.get("name", ""): joint for joint in root.findall("joint")}
    for name in names:
        if name not in joints:
            raise HptError(
                Code.UNKNOWN, "robot_description", name, problem="has no joint {value}", known=joints,
                remedy="give the URDF of the robot in the embodiment file",
            )  # fmt: skip
        if joints[name].get("type") not in MOVING:
            raise HptError(
                Code.INVALID, "robot_description", name,
                problem=f"has the joint {{value}} of type {joints[name].get('type')!r}",
                expected="the action moves it, so revolute, continuous or prismatic",
                remedy="correct one of them",
            )  # fmt: skip
    limits = tuple(joint_limit(joints[name]) for name in names)
    return Urdf(root.get("name", ""), _kinematics(root, joints, names), limits)


def list_commanded_joints(robot: Embodiment) -> list[str]:
    """Joints that the action moves by their position, in its order."""
    return [name for part in robot.action.parts for name in part.joints]


def root_link(text: str) -> str:
    """The link that hangs on no joint, in whose frame the others are.

    Raises:
        HptError: no URDF.
    """
    root = parse_urdf(text)
    children = {child.get("link") for child in root.findall("joint/child")}
    return next((name for link in root.findall("link") if (name := link.get("name", "")) not in children), "")


def require_limits(robot: Embodiment, urdf: Urdf) -> None:
    """Raise unless the limits that the embodiment file gives lie within the URDF's.

    Raises:
        HptError: names the first joint and limit that do not, and both values.
    """
    joints = set(list_commanded_joints(robot))
    limits = [limit for limit in robot.action.limits if limit.name in joints]
    for ours, theirs in zip(limits, urdf.limits, strict=True):
        if ours.continuous and not theirs.continuous:
            raise HptError(
                Code.INVALID, f"embodiment {robot.name!r}", ours.name,
                problem="has {value} as a continuous joint, but robot_description gives it limits of position",
                remedy="give them in the embodiment file in place of continuous, or correct the URDF",
            )  # fmt: skip
        for what, value, bound, sign in (
            ("lower", ours.lower, theirs.lower, -1),
            ("upper", ours.upper, theirs.upper, 1),
            ("velocity", ours.velocity, theirs.velocity, 1),
        ):
            if value is not None and sign * value > sign * bound:
                raise HptError(
                    Code.INVALID, f"embodiment {robot.name!r}", value,
                    problem=f"has the {what} limit {{value}} for {ours.name!r}, but robot_description says "
                    f"{bound:g}", remedy="narrow the limit in the embodiment file, or correct the URDF",
                )  # fmt: skip


def with_limits(robot: Embodiment, urdf: Urdf) -> Embodiment:
    """The robot with the limits that its embodiment file leaves out, as the URDF has them.

    Raises:
        HptError: the URDF has no such limit either, or one that contradicts the file's.
    """
    of_joint = dict(zip(list_commanded_joints(robot), urdf.limits, strict=True))
    found = []
    for limit in robot.action.limits:
        given = {key: getattr(of_joint[limit.name], key) for key in limit.missing}
        endless = of_joint[limit.name].continuous if limit.name in of_joint else False
        for key, value in given.items():
            if not np.isfinite(value):
                remedy = ", or continuous: true, since the URDF has it as continuous" if endless else ""
                raise HptError(
                    Code.MISSING, f"neither embodiment {robot.name!r} nor robot_description", limit.name,
                    problem=f"has the {key} limit of {{value}}",
                    remedy=f"write it into the embodiment file{remedy}",
                )  # fmt: skip
        limit = replace(limit, **given)
        if not limit.continuous and not cast(float, limit.lower) < cast(float, limit.upper):
            raise HptError(
                Code.INVALID, repr(limit.name), limit.lower,
                problem=f"has lower {{value}} and upper {limit.upper:g} in embodiment {robot.name!r} and "
                "robot_description together", expected="lower < upper", remedy="correct one of them",
            )  # fmt: skip
        found.append(limit)
    return replace(robot, action=replace(robot.action, limits=tuple(found)))


def _kinematics(
    root: ElementTree.Element, joints: dict[str, ElementTree.Element], names: Sequence[str]
) -> Kinematics:
    """Links and joints alone: shapes name mesh files that need not be here."""
    bare = ElementTree.Element("robot", {"name": root.get("name") or "robot"})
    ElementTree.SubElement(ElementTree.SubElement(bare, "mujoco"), "compiler", _SETTINGS)
    for link in root.findall("link"):
        ElementTree.SubElement(bare, "link", {"name": link.get("name", "")})
    for joint in joints.values():
        kept = ElementTree.SubElement(bare, "joint", joint.attrib)
        kept.extend(part for part in joint if part.tag in ("parent", "child", "origin", "axis"))
        if joint.get("type") in (
            "revolute",
            "prismatic",
        ):  # MuJoCo wants one; positions are not clamped by it
            ElementTree.SubElement(
                kept, "limit", {"lower": "-100", "upper": "100", "effort": "1", "velocity": "1"}
            )
    try:
        model = mujoco.MjModel.from_xml_string(ElementTree.tostring(bare, encoding="unicode"))
    except ValueError as error:
        raise HptError(
            Code.UNREADABLE, "robot_description", remedy="correct the URDF", cause=error
        ) from error
    data = mujoco.MjData(model)
    address = np.array([model.joint(name).qposadr[0] for name in names], dtype=np.intp)
    followers = _mimics(joints, list(names), model)
    moving = [
        index for index in range(1, model.nbody) if model.body_weldid[index] != 0
    ]  # body 0 is the world; a weld id of 0 is fixed to it
    links = tuple(str(model.body(index).name) for index in moving)

    def origins(position: NDArray[np.float64]) -> NDArray[np.float64]:
        data.qpos[address] = position
        for follower, leader, factor, offset in followers:
            data.qpos[follower] = factor * position[leader] + offset
        mujoco.mj_kinematics(model, data)
        return np.array(data.xpos[moving])

    return Kinematics(links, origins)


def _mimics(
    joints: dict[str, ElementTree.Element], names: list[str], model: mujoco.MjModel
) -> list[tuple[int, int, float, float]]:
    """(qpos address, index of the commanded joint that it follows, multiplier, offset) of mimic joints."""
    found = []
    for name, joint in joints.items():
        mimic = joint.find("mimic")
        if mimic is not None and mimic.get("joint") in names and name not in names:
            leader = names.index(str(mimic.get("joint")))
            found.append(
                (
                    int(model.joint(name).qposadr[0]),
                    leader,
                    float(mimic.get("multiplier", "1")),
                    float(mimic.get("offset", "0")),
                )
            )
    return found
