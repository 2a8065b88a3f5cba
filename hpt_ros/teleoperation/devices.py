# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a person's devices say: a terminal's keys and a Joy message's axes, as velocities. No IO; time is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpt_ros.registry import Registry

Floats = NDArray[np.float64]

# A terminal says that a key went down, and repeats it while it is held, but never that it came up: each press moves for
# this long, which is longer than the interval of any terminal's repetition (30 ms at its usual 33 a second).
KEY_S: Final = 0.2
TWIST: Final = 6  # x, y, z in the frame of the base, and about these axes


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person wants now.

    Attributes:
        twist: (6,) linear over angular, each from -1 to 1 of the speed that is set, in the frame of the base.
        joint: of the joint that is chosen, -1 to 1.
        gripper: 1 opens, -1 closes, 0 leaves it.
    """

    twist: tuple[float, ...] = (0.0,) * TWIST
    joint: float = 0.0
    gripper: int = 0

    def __add__(self, other: Wish) -> Wish:
        """Of two devices at once; no more than full speed."""
        both = np.clip(np.array(self.twist) + other.twist, -1.0, 1.0)
        joint = float(np.clip(self.joint + other.joint, -1.0, 1.0))
        return Wish(tuple(both.tolist()), joint, other.gripper or self.gripper)


# Key -> axis of the twist and direction.
MOTION_KEYS: Final[Mapping[str, tuple[int, float]]] = {
    "w": (0, 1.0), "s": (0, -1.0), "a": (1, 1.0), "d": (1, -1.0), "r": (2, 1.0), "f": (2, -1.0),
    "u": (3, 1.0), "o": (3, -1.0), "i": (4, 1.0), "k": (4, -1.0), "j": (5, 1.0), "l": (5, -1.0),
}  # fmt: skip
JOINT_KEYS: Final[Mapping[str, float]] = {"+": 1.0, "=": 1.0, "-": -1.0}
GRIPPER_KEYS: Final[Mapping[str, int]] = {"h": 1, "g": -1}


class Keys:
    """Keys that move the robot, as long as they are held."""

    def __init__(self) -> None:
        """Begin with none held."""
        self._until_ns: dict[str, int] = {}

    def press(self, key: str, now_ns: int) -> bool:
        """Take a key; returns whether it moves anything."""
        if key not in MOTION_KEYS and key not in JOINT_KEYS and key not in GRIPPER_KEYS:
            return False
        self._until_ns[key] = now_ns + round(KEY_S * 1e9)
        return True

    def release(self) -> None:
        """Let all of them come up."""
        self._until_ns.clear()

    def wish(self, now_ns: int) -> Wish:
        """Return what the keys that are held say together."""
        self._until_ns = {key: until for key, until in self._until_ns.items() if now_ns < until}
        twist, joint, gripper = np.zeros(TWIST), 0.0, 0
        for key in self._until_ns:
            if key in MOTION_KEYS:
                axis, direction = MOTION_KEYS[key]
                twist[axis] += direction
            joint += JOINT_KEYS.get(key, 0.0)
            gripper += GRIPPER_KEYS.get(key, 0)
        return Wish(
            tuple(np.clip(twist, -1.0, 1.0).tolist()), float(np.clip(joint, -1.0, 1.0)), int(np.sign(gripper))
        )


@dataclass(frozen=True, slots=True)
class JoyLayout:
    """Which axis and which button of a sensor_msgs/Joy does what.

    Attributes:
        name: of the device.
        axes: of each part of the twist the index of its axis and the direction, or None.
        buttons: index of a button to what it does: a word of `hpt_ros.teleoperation.episodes.WORDS`, "open" or "close".
        pairs: part of the twist to two buttons, of which the first moves forward and the second back.
        dead_zone: ratio of an axis' range about its middle that counts as the middle.
    """

    name: str
    axes: tuple[tuple[int, float] | None, ...]
    buttons: Mapping[int, str]
    pairs: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    dead_zone: float = 0.1


# joy_node's order of an Xbox-like pad: axes 0, 1 left stick, 3, 4 right stick; buttons A, B, X, Y, LB, RB, back, start.
GAMEPAD: Final = JoyLayout(
    "gamepad",
    axes=((1, 1.0), (0, 1.0), (4, 1.0), None, None, (3, 1.0)),
    buttons={0: "begin", 1: "discard", 2: "failure", 3: "success", 6: "close", 7: "open"},
    pairs={3: (4, 5)},
)
# spacenav's sensor_msgs/Joy: the cap's translation, then its rotation, in the frame of the base; two buttons.
SPACE_MOUSE: Final = JoyLayout(
    "spacemouse",
    axes=tuple((index, 1.0) for index in range(TWIST)),
    buttons={0: "begin", 1: "success"},
    dead_zone=0.05,
)
LAYOUTS: Registry[JoyLayout] = Registry(
    "joystick", "hpt_ros.joysticks", JoyLayout, {item.name: item for item in (GAMEPAD, SPACE_MOUSE)}
)


def beyond_dead_zone(value: float, dead_zone: float) -> float:
    """Return an axis from -1 to 1 without what is within the dead zone, and full at its end; 0 if it is no number."""
    if not np.isfinite(value):
        return 0.0
    beyond = max(0.0, min(abs(value), 1.0) - dead_zone) / (1.0 - dead_zone)
    return float(np.copysign(beyond, value)) if beyond else 0.0


class Joystick:
    """A sensor_msgs/Joy as velocities and presses."""

    def __init__(self, layout: JoyLayout) -> None:
        """Begin with nothing seen."""
        self.layout = layout
        self._held: frozenset[int] | None = (
            None  # None before the first message: what is held then was not pressed now
        )
        self._gripper = 0
        self._twist: tuple[float, ...] = (0.0,) * TWIST

    def take(self, axes: Sequence[float], buttons: Sequence[int]) -> list[str]:
        """Take a message; returns the commands of the buttons that went down since the one before."""
        layout = self.layout
        twist = np.zeros(TWIST)
        for part, axis in enumerate(layout.axes):
            if axis is not None and axis[0] < len(axes):
                twist[part] = axis[1] * beyond_dead_zone(float(axes[axis[0]]), layout.dead_zone)
        now = frozenset(index for index, value in enumerate(buttons) if value)
        for part, (forward, back) in layout.pairs.items():
            twist[part] += (forward in now) - (back in now)
        events = {index: word for index, word in layout.buttons.items() if index in now}
        self._gripper = int(np.sign(sum({"open": 1, "close": -1}.get(word, 0) for word in events.values())))
        self._twist = tuple(np.clip(twist, -1.0, 1.0).tolist())
        before = now if self._held is None else self._held
        self._held = now
        return [
            word for index, word in events.items() if index not in before and word not in ("open", "close")
        ]

    def wish(self) -> Wish:
        """Return what the last message said."""
        return Wish(self._twist, 0.0, self._gripper)
