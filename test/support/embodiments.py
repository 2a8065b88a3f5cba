# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Robots of a few words: an embodiment of streams and an action that say only what the test is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from hpt_ros.embodiment import FORMAT, Embodiment


def camera(name: str, height: int, width: int, **keys: Any) -> dict[str, Any]:
    """A stream of colour images at 10 Hz."""
    return {
        "name": name,
        "modality": "image",
        "topic": f"/{name}",
        "type": "sensor_msgs/msg/Image",
        "rate_hz": 10.0,
        "tolerance_s": 0.15,
        "image": {"height": height, "width": width},
        **keys,
    }


def joints(names: Iterable[str], **keys: Any) -> dict[str, Any]:
    """A stream of the positions of joints at 50 Hz."""
    return {
        "name": "joints",
        "modality": "state",
        "topic": "/joint_states",
        "type": "sensor_msgs/msg/JointState",
        "rate_hz": 50.0,
        "tolerance_s": 0.1,
        "joints": list(names),
        "fields": ["position"],
        **keys,
    }


def limit(name: str, most: float = 1.0, velocity: float = 1.0, acceleration: float = 1.0) -> dict[str, Any]:
    """Limits of one number of the action, alike on both sides of zero."""
    return {"name": name, "lower": -most, "upper": most, "velocity": velocity, "acceleration": acceleration}


def trajectory(limits: Iterable[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    """An action that is the trajectory of the joints that have these limits."""
    found = list(limits)
    return {
        "topic": "/command",
        "type": "trajectory_msgs/msg/JointTrajectory",
        "names": [item["name"] for item in found],
        "horizon": 4,
        "limits": found,
        **keys,
    }


def embodiment(name: str, streams: list[dict[str, Any]], action: dict[str, Any], **keys: Any) -> Embodiment:
    """The robot that the file of these streams and this action is of, at 10 ticks a second."""
    whole = {"format": FORMAT, "name": name, "tick_hz": 10.0, "streams": streams, "action": action, **keys}
    return Embodiment.loads(yaml.safe_dump(whole))
