# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Velocities of a base: within their limits, changing no faster than permitted, and zero in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_ros.control import ControlConfig, Controller, Limits, State
from hpt_ros.control.rates import RateFilter

DT_S, DIM = 0.02, 3
LOWER, UPPER = np.array([-0.2, 0.0, -1.0]), np.array([0.5, 0.4, 1.0])
ACCELERATION = np.array([0.5, 1.0, 3.0])
PERIOD_NS = 20_000_000


@given(arrays(np.float64, (30, DIM), elements=st.floats(-3.0, 3.0)))
def test_whatever_is_wanted_expect_legal_velocities_and_zero_after_braking(targets: Any) -> None:
    rates = RateFilter(LOWER, UPPER, ACCELERATION, DT_S)
    sent = [np.zeros(DIM)]
    sent += [rates.apply(target).value for target in targets]
    way = rates.path_to_rest()
    for expected in way:
        np.testing.assert_allclose(rates.brake().value, expected, atol=1e-12)
        sent.append(expected)
    assert rates.at_rest
    values = np.array(sent)
    assert (values >= LOWER).all()
    assert (values <= UPPER).all()
    assert (np.abs(np.diff(values, axis=0)) <= ACCELERATION * DT_S * (1 + 1e-8)).all()


def test_a_legal_velocity_passes_bit_for_bit() -> None:
    rates = RateFilter(LOWER, UPPER, ACCELERATION, DT_S)
    target = np.array([0.01, 0.013, -0.06])
    assert rates.apply(target).value.tolist() == target.tolist()
    assert not rates.apply(target).clamped
    assert rates.apply(np.array([0.01, 9.0, 0.0])).clamped


@settings(max_examples=25)
@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.integers(5, 60))
def test_a_controller_of_a_base_drives_it_and_tells_it_zero_when_it_ends(
    first: float, second: float, steps: int
) -> None:
    """Two chunks of constant velocities, then the task ends: what the base is commanded at each moment."""
    velocity, acceleration = np.array([0.5, 1.5]), np.array([0.8, 3.0])
    limits = Limits(-velocity, velocity, acceleration, 100.0 * acceleration, rates=(0, 1))
    control = Controller(ControlConfig(), limits, ["base.vx", "base.wz"], [], rate_hz=50.0)
    control.activate()
    now, told, times = 10**12, [], []

    def period() -> None:
        nonlocal now
        control.note_pose(np.zeros(2), now)
        command = control.step(now)
        if command is not None:
            told.append(command.position)
            times.append(now)
            np.testing.assert_array_equal(
                command.curve.controls[-1], 0.0
            )  # whoever follows it stands in the end
        now += PERIOD_NS

    for _ in range(10):
        period()
    for speed in (first, second):
        for _ in range(steps):
            if control.wants_chunk(now):
                control.take_chunk(now, 0.1, np.tile([0.5 * speed, 1.5 * speed], (16, 1)), now)
            period()
    assert control.state is State.RUNNING
    control.disable()
    while not control.at_rest:
        period()
    path = np.array(told)
    assert (np.abs(path) <= velocity * (1 + 1e-9)).all()
    changes = np.abs(np.diff(path, axis=0)) / (np.diff(times)[:, None] / 1e9)
    assert (changes <= acceleration * (1 + 1e-6)).all()
    assert not path[-1].any()
