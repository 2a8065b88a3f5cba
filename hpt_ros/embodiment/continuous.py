# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joints that turn without end: an angle and the same angle after a turn are one position.

As a number such an angle has a seam, at which a driver that reports -pi to pi jumps. So what is observed of it is its
cosine and sine, as orientations are observed by columns of their matrix, and what a policy predicts is the way from
where the joint is. Datasets hold commands as angles from -pi to pi; the control room counts turns, so that its numbers
do not jump.
"""

from __future__ import annotations

from dataclasses import replace

from hpt_ros.embodiment.action import Action
from hpt_ros.embodiment.output import JointLimit
from hpt_ros.embodiment.streams import EmbodimentError, Stream
from hpt_ros.errors import Code


def reconcile(
    streams: tuple[Stream, ...], action: Action, where: str
) -> tuple[tuple[Stream, ...], tuple[JointLimit, ...]]:
    """Streams and limits that agree on which joints are continuous, whichever of them the file says it of.

    Raises:
        EmbodimentError: a joint that cannot be continuous.
    """
    commanded = {limit.name for limit in action.limits if limit.continuous}
    streams = tuple(
        replace(
            stream,
            continuous=tuple(name for name in stream.joints if name in {*stream.continuous, *commanded}),
        )
        if "position" in stream.fields and set(stream.continuous) <= set(stream.joints)
        else stream
        for stream in streams
    )
    observed = {name for stream in streams for name in stream.continuous}
    limits = tuple(
        replace(limit, continuous=limit.name in {*observed, *commanded}) for limit in action.limits
    )
    for stream in streams:
        named = f"{where}, stream {stream.name!r}"
        for name in stream.continuous:
            if name not in stream.joints or "position" not in stream.fields:
                raise EmbodimentError(
                    Code.INVALID, f"{named}, continuous joint", name,
                    expected=f"one of its joints ({', '.join(stream.joints) or 'none'}), with position among "
                    "its fields",
                )  # fmt: skip
    units = {name: part.unit for part in action.parts for name in part.names}
    for limit in limits:
        if limit.continuous:
            _check(limit, action, units, f"{where}, action, limit of {limit.name!r}")
    return streams, limits


def _check(limit: JointLimit, action: Action, units: dict[str, str], where: str) -> None:
    if limit.name not in units:
        raise EmbodimentError(
            Code.UNEXPECTED, where, problem="is of no joint, but continuous is",
            remedy="remove the key 'continuous'",
        )  # fmt: skip
    if limit.name in action.grippers:
        raise EmbodimentError(
            Code.UNEXPECTED, where, problem="is continuous and a gripper, but a gripper opens and closes",
            remedy="remove one of the two",
        )  # fmt: skip
    if units[limit.name] != "rad":
        raise EmbodimentError(
            Code.INVALID, where, units[limit.name], problem="is continuous and has the unit {value}",
            expected="rad", remedy="command it in rad",
        )  # fmt: skip
    if limit.lower is not None or limit.upper is not None:
        raise EmbodimentError(
            Code.UNEXPECTED, where,
            problem="is continuous and has a lower or an upper limit, but a joint that turns without end has "
            "none", remedy="remove the limits, or the key 'continuous'",
        )  # fmt: skip
