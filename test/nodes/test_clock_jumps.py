# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real node, a process of its own, while its clock is set or its machine sleeps."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from policy_rig import FILE, PERIOD_S, ROBOT, Rig, policy_rig, wait_for
from std_srvs.srv import Trigger

from hpt_msgs.srv import ClearFault
from rosbag_tools.reading.reader import Bag

SHIM = Path(__file__).resolve().parents[1] / "data" / "clock_shim.c"
DAY_S = 86_400.0


class ShiftedNode:
    """A policy node as a process whose clock can be set, and the robot that it drives."""

    def __init__(self, rig: Rig, shim: Path, folder: Path) -> None:
        self.rig, self.robot = rig, rig.robot
        self._shifts = [0, 0]
        numbers = folder / "shifts"
        numbers.write_bytes(bytes(16))
        with numbers.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 16)
        self._log = (folder / "log").open("w+", encoding="utf-8")
        # Patient, for machines that are busy: what is tested is not how long HOLDING may last.
        patient = ["safety.hold_timeout_s:=10.0", "tracking.duration_s:=5.0", "watchdog.timeout_s:=1.5"]
        arguments = ["policy:=random", f"embodiment:={FILE}", "autostart:=true", *patient]
        arguments += [f"log_decisions:={folder / 'decisions'}"]
        command = [sys.executable, "-m", "hpt_ros.nodes.policy.policy_node", "--ros-args"]
        command += [word for argument in arguments for word in ("-p", argument)]
        environment = {**os.environ, "LD_PRELOAD": str(shim), "CLOCK_SHIFT": str(numbers)}
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._log, env=environment)

    def shift(self, by_s: float, *, asleep_s: float = 0.0) -> None:
        """Set the clock of the machine, which node and robot share."""
        self._shifts[0] += round(by_s * 1e9)
        self._shifts[1] += round(asleep_s * 1e9)
        self._map[:16] = struct.pack("<qq", *self._shifts)
        self.robot.clock_off_s = self._shifts[0] / 1e9

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def status(self) -> Any:
        return self.robot.statuses[-1] if self.robot.statuses else None

    def jumps(self) -> int:
        status = self.status()
        return int(dict(zip(status.counter_names, status.counter_values, strict=True))["clock_jumps"])

    def until_moving(self) -> None:
        wait_for(lambda: self.status() and self.status().state_name == "RUNNING", "RUNNING", 60.0)
        wait_for(lambda: np.abs(self.robot.commands[-1].velocity).max() > 0.05, "motion")

    def require_rest(self, since: int) -> None:
        """Commands go on within the limits, from one to the next, until the robot rests."""
        wait_for(lambda: any(not item.velocity.any() for item in self.robot.commands[since:]), "rest")
        sent = self.robot.commands[max(since - 20, 0) :]
        dues = np.array([item.due_ns for item in sent])
        path = np.array([item.position for item in sent])
        before = min(
            since, 20
        )  # messages that were commanded before the clock was set: their times say how far apart they are
        speeds: list[np.ndarray] = []
        allowed_s = []
        for index, step in enumerate(np.diff(path, axis=0)):
            if index + 1 < before or not speeds:
                apart_s = max((dues[index + 1] - dues[index]) / 1e9, PERIOD_S)
            else:
                # Times cross the clock's step, so the periods between two messages are those that fit the velocity
                # before: one, some where the timer was late, many where this machine had no time for the node.
                fits = {periods: step / (periods * PERIOD_S) for periods in range(1, 26)}
                best = min(fits, key=lambda fit: float(np.abs(fits[fit] - speeds[-1]).max()))
                apart_s = best * PERIOD_S
            speeds.append(step / apart_s)
            allowed_s.append(max(apart_s, 3 * PERIOD_S))
        allowed_s = allowed_s[1:]
        assert (np.abs(speeds) <= ROBOT.max_velocity * (1 + 1e-6)).all()
        change = np.abs(np.diff(speeds, axis=0)) / np.array(allowed_s)[:, None]
        assert (change <= ROBOT.max_acceleration).all()

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20.0)
        finally:
            self.process.kill()
            self.process.wait()
            print(self.log())
            self._log.close()


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler for Linux is here, so no process can have a clock of its own")
    library = tmp_path_factory.mktemp("shim") / "clock_shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SHIM], check=True)
    return library


@pytest.fixture(scope="module")
def shifted(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShiftedNode]:
    with policy_rig() as rig:
        folder = tmp_path_factory.mktemp("shifted")
        made = ShiftedNode(rig, shim, folder)
        yield made
        made.close()
        assert made.process.returncode == 0
        # Each log of decisions is whole, though its times went back.
        for path in (folder / "decisions").iterdir():
            with Bag.open(path) as bag:
                assert bag.topics["/policy_node/decisions"].count > 0
                assert len(list(bag.messages([*bag.topics]))) == sum(
                    topic.count for topic in bag.topics.values()
                )


@pytest.mark.parametrize("step_s", [-5.0, -0.52, -0.02, 0.02, 0.5, 5.0, -DAY_S, DAY_S])
def test_when_the_nodes_clock_is_set_while_moving_expect_braking_a_reason_and_motion_again(shifted, step_s):
    shifted.until_moving()
    jumps, sent = shifted.jumps(), len(shifted.robot.commands)
    shifted.shift(step_s)
    shifted.require_rest(sent)
    wait_for(lambda: shifted.jumps() == jumps + 1, "the jump to be counted")
    shifted.until_moving()
    way = "forward" if step_s > 0 else "back"
    assert f"RUNNING -> HOLDING: the system clock was set {way} by {abs(step_s):.2f}" in shifted.log()
    assert shifted.jumps() == jumps + 1
    assert "-> FAULT" not in shifted.log()


def test_when_the_machine_slept_while_moving_expect_braking_and_the_sleep_named(shifted):
    shifted.until_moving()
    sent = len(shifted.robot.commands)
    shifted.shift(600.0, asleep_s=600.0)
    shifted.require_rest(sent)
    shifted.until_moving()
    assert "RUNNING -> HOLDING: this machine slept for 600.0" in shifted.log()


@pytest.mark.parametrize("step_s", [-5.0, 5.0])
def test_when_the_clock_was_set_expect_stop_and_deactivation_to_brake_all_the_same(shifted, step_s):
    shifted.until_moving()
    sent = len(shifted.robot.commands)
    shifted.shift(step_s)
    assert "brakes" in shifted.robot.call(Trigger, "stop").message
    shifted.require_rest(sent)
    assert shifted.robot.call(ClearFault, "clear_fault").success
    shifted.until_moving()
    sent = len(shifted.robot.commands)
    shifted.shift(step_s)
    assert shifted.robot.change(Transition.TRANSITION_DEACTIVATE)
    shifted.require_rest(sent)
    assert shifted.robot.change(Transition.TRANSITION_ACTIVATE)
    shifted.until_moving()
