"""Conditions on the pose under which motion may start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpt_ros.control.chunk import Vector
from hpt_ros.control.safety import Limits


def outside_limits(names: Sequence[str], measured: Vector, limits: Limits, tolerance: float) -> str:
    """Why the measured pose (dim,) is too far outside the position limits to start from; empty if it is not."""
    beyond = np.maximum(limits.lower - measured, measured - limits.upper)
    worst = int(np.argmax(beyond))
    if beyond[worst] <= tolerance:
        return ""
    return (
        f"{names[worst]} is measured at {measured[worst]:.4f}, {beyond[worst]:.4f} outside its limits "
        f"[{limits.lower[worst]:g}, {limits.upper[worst]:g}]; move the robot inside or correct the limits"
    )


def too_far(names: Sequence[str], target: Vector, pose: Vector, limits: Limits, reach_s: float) -> str:
    """Why the first target (dim,) is too far from the pose (dim,); empty if it is not.

    Near is what each dimension's velocity limit covers in `reach_s`: it suits radians and metres alike.
    """
    reach = limits.velocity * reach_s
    away = np.abs(np.clip(target, limits.lower, limits.upper) - pose)
    worst = int(np.argmax(away - reach))
    if away[worst] <= reach[worst]:
        return ""
    return (
        f"the policy's first target for {names[worst]} is {target[worst]:.3f}, {away[worst]:.3f} from its pose "
        f"{pose[worst]:.3f}, but at most {reach[worst]:.3f} was expected; move the robot to where its "
        "demonstrations began"
    )
