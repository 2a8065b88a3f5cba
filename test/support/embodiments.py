# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Robots of a few words: an embodiment of streams and an action that say only what the test is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from hpt_ros.embodiment import FORMAT, Embodiment

TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"


def stream(
    name: str, modality: str, type_: str, rate_hz: float, tolerance_s: float = 0.1, **keys: Any
) -> dict[str, Any]:
    """A stream of any kind, on the topic of its name."""
    return {
        "name": name,
        "modality": modality,
        "topic": f"/{name}",
        "type": type_,
        "rate_hz": rate_hz,
        "tolerance_s": tolerance_s,
        **keys,
    }


def camera(name: str, height: int, width: int, *, tolerance_s: float = 0.15, **keys: Any) -> dict[str, Any]:
    """A stream of images, in colour and at 10 Hz unless `keys` say otherwise."""
    given = {"modality": "image", "type_": "sensor_msgs/msg/Image", "rate_hz": 10.0, **keys}
    return stream(name, tolerance_s=tolerance_s, image={"height": height, "width": width}, **given)


def joints(names: Iterable[str], *, rate_hz: float = 50.0, **keys: Any) -> dict[str, Any]:
    """A stream of joints, of their positions unless `keys` say otherwise."""
    given = {"topic": "/joint_states", "fields": ["position"], **keys}
    return stream("joints", "state", "sensor_msgs/msg/JointState", rate_hz, joints=list(names), **given)


def limit(name: str, most: float = 1.0, velocity: float = 1.0, acceleration: float = 1.0) -> dict[str, Any]:
    """Limits of one number of the action, alike on both sides of zero."""
    return {"name": name, "lower": -most, "upper": most, "velocity": velocity, "acceleration": acceleration}


def trajectory(limits: Iterable[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    """An action that is the trajectory of the joints that have these limits."""
    found = list(limits)
    return {
        "topic": "/command",
        "type": TRAJECTORY,
        "names": [item["name"] for item in found],
        "horizon": 4,
        "limits": found,
        **keys,
    }


def embodiment(name: str, streams: list[dict[str, Any]], action: dict[str, Any], **keys: Any) -> Embodiment:
    """The robot that the file of these streams and this action is of, at 10 ticks a second."""
    whole = {"format": FORMAT, "name": name, "tick_hz": 10.0, "streams": streams, "action": action, **keys}
    return Embodiment.loads(yaml.safe_dump(whole))
