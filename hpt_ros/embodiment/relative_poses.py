# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Poses in the action vector relative to others, in the tool's frame: T_0^-1 T_i, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.output import OutputSlice
from hpt_ros.embodiment.rotations import from_rotation, to_rotation

Floats = NDArray[np.float64]


def relative_poses(part: OutputSlice, actions: Floats, reference: Floats) -> Floats:
    """Return relative poses (B, H, n) of absolute ones and what they are relative to, both (B, H, action dim)."""
    rotation, position, good = _split(part, actions)
    turn, origin, known = _split(part, reference)
    back = turn.inv()
    found = _join(part, back * rotation, back.apply(position - origin), good & known)
    return found.reshape(*actions.shape[:2], -1)


def absolute_poses(part: OutputSlice, actions: Floats, start: Floats, *, delta: bool) -> Floats:
    """Return absolute poses (B, H, n) of relative ones; inverse of `relative_poses`.

    Args:
        part: the output.
        actions: (B, H, action dim).
        start: (B, action dim), the absolute action that the first is relative to.
        delta: each is relative to the one before; else all to the first.
    """
    turn, origin, known = _split(part, start)
    found = np.empty((*actions.shape[:2], len(part.output.elements)))
    for step in range(actions.shape[1]):
        rotation, position, good = _split(part, actions[:, step])
        reached, turned, good = origin + turn.apply(position), turn * rotation, good & known
        found[:, step] = _join(part, turned, reached, good)
        if delta:
            turn, origin, known = turned, reached, good
    return found


def _split(part: OutputSlice, actions: Floats) -> tuple[Any, Floats, NDArray[np.bool_]]:
    """scipy Rotation and position (N, 3) of actions (..., action dim), and (N,) where they are a pose."""
    values = actions[..., part.action].reshape(-1, len(part.output.elements))
    rotation, good = to_rotation(values[:, 3:], part.output.rotation)
    return rotation, values[:, :3], good & np.isfinite(values).all(axis=1)


def _join(part: OutputSlice, rotation: Any, position: Floats, good: NDArray[np.bool_]) -> Floats:
    values = np.concatenate([position, from_rotation(rotation, part.output.rotation)], axis=1)
    return np.where(good[:, None], values, np.nan)
