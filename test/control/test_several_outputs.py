# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to a robot with an arm, a gripper and a hand that is commanded by its pose: commands stay legal."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from support.arm import COBOT, Arm, Wrist

from hpt_ros.control import Command, ControlConfig, Controller, Limits, State, StreamRate, TrackingConfig

S, MS = 1_000_000_000, 1_000_000
PERIOD_S, DT_S = 0.01, 0.1
NAMES = ("a", "hand.x", "hand.y", "hand.z", "hand.qx", "hand.qy", "hand.qz", "hand.qw", "finger")
PLAIN, QUATERNION = [0, 1, 2, 3, 8], slice(4, 8)
LIMITS = Limits(
    np.array([-2.0, -0.5, -0.5, 0.1, -1, -1, -1, -1, 0.0]),
    np.array([2.0, 0.5, 0.5, 0.6, 1, 1, 1, 1, 0.8]),
    np.array([2.0, 0.25, 0.25, 0.25, 0.6, 0.6, 0.6, 0.6, 1.0]),
    np.array([10.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 8.0]),
)
HOME = np.array([0.3, 0.0, 0.1, 0.3, 0.0, 0.0, 0.0, 1.0, 0.4])
TOLERANCE = 1 + 1e-6


class Rig:
    """The controller and a robot that lags, sags and is measured with noise, and is off by `away`; time is injected."""

    def __init__(self) -> None:
        self.controller = Controller(
            ControlConfig(tracking=TrackingConfig(error=0.5)), LIMITS, NAMES, (StreamRate("joints", 100.0),),
            rate_hz=1 / PERIOD_S, grippers=("finger",), turns=(4,),
            ahead_s=np.array([0.0, *[0.1] * 7, 0.25]),
        )  # fmt: skip
        self.now, self.pose, self.away, self.seen = 1_000 * S, HOME.copy(), 0.0, True  # pose: told last
        self.elapsed_ns = 0  # on the robot's own clock
        self.arm = Arm(COBOT, HOME[PLAIN], 0)
        self.wrist = Wrist(COBOT, Rotation.from_quat(HOME[QUATERNION]), 0)
        self.stretches: list[
            list[tuple[np.ndarray, np.ndarray]]
        ] = []  # measured pose before, command; one a stretch
        self.last: Command | None = None

    def tick(self, ms: int = 10) -> None:
        self.now, self.elapsed_ns = self.now + ms * MS, self.elapsed_ns + ms * MS
        self.arm.advance(self.elapsed_ns, self.pose[PLAIN])
        self.wrist.advance(self.elapsed_ns, Rotation.from_quat(self.pose[QUATERNION]))
        measured = np.where(np.isin(np.arange(9), [0, 2]), self.away, 0.0)
        measured[PLAIN] += self.arm.measured()
        measured[QUATERNION] = self.wrist.measured().as_quat()
        if self.seen:
            self.controller.note_message("joints", self.now, self.now)
            self.controller.note_pose(measured, self.now)
        command = self.controller.step(self.now)
        if command is not None:
            if self.last is None:
                self.stretches.append([])
            self.stretches[-1].append((measured, command.position))
            self.pose = command.position.copy()
        self.last = command

    def chunk(self, rates: np.ndarray, turn: np.ndarray, horizon: int = 12) -> None:
        steps = DT_S * np.arange(horizon)[:, None]
        rows = self.pose + steps * rates
        start = Rotation.from_quat(self.pose[QUATERNION])
        rows[:, QUATERNION] = (Rotation.from_rotvec(steps * turn) * start).as_quat()
        self.controller.take_chunk(self.now - 20 * MS, DT_S, rows, self.now)

    def check(self) -> None:
        for stretch in self.stretches:
            path = np.array([position for _, position in stretch])
            plain = path[:, PLAIN]
            assert (plain >= LIMITS.lower[PLAIN]).all()
            assert (plain <= LIMITS.upper[PLAIN]).all()
            velocity = np.diff(plain, axis=0) / PERIOD_S
            assert (np.abs(velocity) <= LIMITS.velocity[PLAIN] * TOLERANCE).all()
            acceleration = np.diff(velocity, axis=0) / PERIOD_S
            assert (np.abs(acceleration) <= LIMITS.acceleration[PLAIN] * TOLERANCE + 1e-9).all()
            np.testing.assert_allclose(np.linalg.norm(path[:, QUATERNION], axis=1), 1.0, atol=1e-9)
            turns = Rotation.from_quat(path[:, QUATERNION])
            if len(path) < 3:
                continue
            omega = (turns[1:] * turns[:-1].inv()).as_rotvec() / PERIOD_S
            assert (np.linalg.norm(omega, axis=1) <= 0.6 * TOLERANCE).all()
            assert (np.linalg.norm(np.diff(omega, axis=0), axis=1) / PERIOD_S <= 3.0 * (1 + 1e-5)).all()


EVENTS = (
    "chunk",
    "tick",
    "nothing seen",
    "moved",
    "stop",
    "clear",
    "task",
    "back",
    "away",
    "nan",
    "no orientation",
)
happenings = st.lists(
    st.tuples(
        st.sampled_from(EVENTS), st.integers(1, 40),
        st.lists(st.floats(-4, 4), min_size=9, max_size=9), st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    ),
    max_size=25,
)  # fmt: skip


def happen(rig: Rig, kind: str, count: int, rates: np.ndarray, turn: np.ndarray) -> None:
    controller: Any = rig.controller
    if kind == "chunk":
        rig.chunk(rates / 4, turn)
    elif kind == "nothing seen":
        rig.seen = not rig.seen
    elif kind == "moved":  # beyond what tracking permits, or within
        rig.away = float(rates[0]) / 4
    elif kind == "stop":
        controller.stop()
    elif kind == "clear":
        controller.clear_fault()
    elif kind == "task":
        controller.disable()
        controller.enable()
    elif kind == "back":
        rig.now -= count * S
    elif kind == "away":
        rig.tick(10 * count)
    elif kind in ("nan", "no orientation"):
        rows = np.tile(rig.pose, (4, 1))
        rows[2, QUATERNION] = np.nan if kind == "nan" else 0.0
        controller.take_chunk(rig.now, DT_S, rows, rig.now)


@settings(max_examples=100)
@given(happenings)
def test_whatever_happens_to_several_outputs_expect_every_command_within_its_limits(events) -> None:
    rig = Rig()
    rig.controller.activate()
    for _ in range(5):
        rig.tick()
    for kind, count, rates, turn in events:
        happen(rig, kind, count, np.array(rates), np.array(turn))
        for _ in range(count):
            rig.tick()
    rig.check()


def test_the_rig_moves_all_of_its_outputs() -> None:
    rig = Rig()
    rig.controller.activate()
    for _ in range(5):
        rig.tick()
    for _ in range(3):
        rig.chunk(np.array([0.5, 0.1, 0, 0.1, 0, 0, 0, 0, 0.5]), np.array([0.0, 0.3, 0.0]))
        for _ in range(40):
            rig.tick()
    assert rig.controller.state is State.RUNNING
    rig.check()
    assert (np.abs(rig.pose - HOME)[[0, 1, 3, 5, 8]] > 0.05).all()
