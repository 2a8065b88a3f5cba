# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Keys and joysticks as velocities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.teleoperation.devices import (
    GAMEPAD,
    GRIPPER_KEYS,
    JOINT_KEYS,
    KEY_S,
    LAYOUTS,
    MOTION_KEYS,
    SPACE_MOUSE,
    Joystick,
    Keys,
    Wish,
    beyond_dead_zone,
)
from hpt_ros.teleoperation.episodes import KEYS, WORDS

MOVING = [*MOTION_KEYS, *JOINT_KEYS, *GRIPPER_KEYS]


def test_no_key_has_two_meanings() -> None:
    every = [*MOVING, *KEYS, "[", "]", "\t", *"123456789"]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("key", MOTION_KEYS)
def test_a_key_moves_for_a_while_and_no_longer(key: str) -> None:
    axis, direction = MOTION_KEYS[key]
    keys, step_ns = Keys(), round(KEY_S * 1e9)
    assert keys.wish(0) == Wish()
    assert keys.press(key, 0)
    expected = [0.0] * 6
    expected[axis] = direction
    assert keys.wish(step_ns - 1).twist == tuple(expected)
    assert keys.press(key, step_ns - 1)  # the terminal repeats it
    assert keys.wish(2 * step_ns - 2).twist == tuple(expected)
    assert keys.wish(2 * step_ns - 1) == Wish()


@given(st.lists(st.tuples(st.sampled_from([*MOVING, "q", "é", "\x1b"]), st.integers(0, 10**9)), max_size=30))
def test_any_keys_wish_for_no_more_than_full_speed_and_in_the_end_for_nothing(typed) -> None:
    keys, now_ns = Keys(), 0
    for key, later_ns in typed:
        now_ns += later_ns
        assert keys.press(key, now_ns) == (key in MOVING)
        wish = keys.wish(now_ns)
        assert np.abs(wish.twist).max() <= 1.0
        assert abs(wish.joint) <= 1.0
        assert wish.gripper in (-1, 0, 1)
    assert keys.wish(now_ns + round(KEY_S * 1e9)) == Wish()


@given(st.floats(), st.floats(0.0, 0.9))
def test_an_axis_beyond_its_dead_zone(value: float, dead_zone: float) -> None:
    found = beyond_dead_zone(value, dead_zone)
    assert -1.0 <= found <= 1.0
    if not math.isfinite(value) or abs(value) <= dead_zone:
        assert found == 0.0
    elif abs(value) >= 1.0:
        assert found == math.copysign(1.0, value)
    else:
        assert found * value >= 0.0
        assert beyond_dead_zone(-value, dead_zone) == -found


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda item: item.name)
@given(
    axes=st.lists(st.floats(width=32), max_size=9),
    buttons=st.lists(st.integers(0, 1), max_size=12),
    count=st.integers(1, 3),
)
def test_any_message_of_any_device_is_a_wish(layout, axes, buttons, count) -> None:
    joystick = Joystick(layout)
    assert joystick.take(axes, [0] * len(buttons)) == []
    pressed = [joystick.take(axes, buttons) for _ in range(count)]
    assert set(pressed[0]) <= set(WORDS)
    assert pressed[1:] == [[]] * (count - 1)  # held is not pressed again
    wish = joystick.wish()
    assert np.abs(wish.twist).max() <= 1.0
    assert np.isfinite(wish.twist).all()


def test_what_is_held_at_the_start_was_not_pressed_now() -> None:
    assert Joystick(GAMEPAD).take([0.0] * 8, [1]) == []


def test_a_gamepads_sticks_and_shoulders_and_a_space_mouses_cap() -> None:
    gamepad = Joystick(GAMEPAD)
    gamepad.take([0.0] * 8, [0] * 11)
    buttons = [0] * 11
    buttons[0] = buttons[4] = buttons[7] = 1
    assert gamepad.take([0.0, 1.0, 0.0, 0.05, -1.0, 0.0, 0.0, 0.0], buttons) == ["begin"]
    assert gamepad.wish() == Wish((1.0, 0.0, -1.0, 1.0, 0.0, 0.0), 0.0, 1)
    cap = Joystick(SPACE_MOUSE)
    assert cap.take([0.01, -1.0, 0.525, 0.0, 0.0, 1.0], [0, 0]) == []
    assert cap.wish().twist == pytest.approx((0.0, -1.0, 0.5, 0.0, 0.0, 1.0))


def test_two_devices_together_wish_for_no_more_than_full_speed() -> None:
    both = Wish((1.0, 0.5, 0.0, 0.0, 0.0, 0.0), 1.0, 0) + Wish((1.0, -0.5, 0.0, 0.0, 0.0, 1.0), 1.0, -1)
    assert both == Wish((1.0, 0.0, 0.0, 0.0, 0.0, 1.0), 1.0, -1)
