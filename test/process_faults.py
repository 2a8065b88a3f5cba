# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Rows of the fault table about the node's process, its timer and the enabling switch; the robot lags."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from policy_rig import FILE, NS, Rig, Robot, policy_rig, wait_for

from hpt_ros.control import State
from hpt_ros.sim.trajectory import JointTrajectory

SHIM = Path(__file__).resolve().parent / "data" / "clock_shim.c"


class Recording(Robot):  # type: ignore[misc]
    """Keeps the last message whole."""

    def _on_command(self, message: Any) -> None:
        self.last = JointTrajectory.of(message)
        super()._on_command(message)


def started(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A policy node as a process, with a policy that moves at random."""
    command = [sys.executable, "-m", "hpt_ros.nodes.policy.policy_node", "--ros-args"]
    for argument in ("policy:=random", f"embodiment:={FILE}", "autostart:=true", *arguments):
        command += ["-p", argument]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})


def until_moving(rig: Rig) -> None:
    """Wait for motion."""
    robot = rig.robot
    wait_for(lambda: robot.commands and np.abs(robot.commands[-1].velocity).max() > 0.1, "motion", 60.0)


def ended(number: signal.Signals, used: Callable[..., str]) -> str:
    """The line of a node that gets a signal while it moves."""
    with policy_rig(Recording) as rig:
        process = started()
        until_moving(rig)
        count, sent_s = len(rig.robot.commands), time.monotonic()
        process.send_signal(number)
        code = process.wait(30.0)
        took_s = time.monotonic() - sent_s
        time.sleep(0.3)
        sent = list(rig.robot.commands)
        last = rig.robot.last.points[-1].state.velocities
        rest = last is not None and not last.any()
    end = "at rest, so the arm brakes by itself" if rest else "in motion: the controller must stop the arm"
    words = f"exit {code} after {took_s:.2f} s; the last message ends {end}"
    return f"| the node gets {number.name} | - | - | {len(sent) - count} | {used(sent)} | {words} |"


def slipped(used: Callable[..., str]) -> str:
    """The line of an enabling switch that is let go for 60 ms, ten times."""
    with policy_rig() as rig:
        rig.robot.switch_held = True
        node = rig.start(deadman__topic="/deadman")
        rig.until_moving()
        for _ in range(10):
            rig.robot.switch_held = False
            time.sleep(0.06)
            rig.robot.switch_held = True
            rig.until(State.RUNNING)
            time.sleep(0.3)
        sent = list(rig.robot.commands)
        stops = node.counters()["deadman_stops"]
    words = f"braked {stops} times, and went on each time"
    return f"| the enabling switch slips, ten times | - | - | - | {used(sent)} | {words} |"


def late(used: Callable[..., str]) -> str:
    """The line of a process that stands still for 60 ms, ten times."""
    with policy_rig() as rig:
        node = rig.start()
        rig.until_moving()
        library = ctypes.PyDLL(None)  # unlike CDLL, it keeps Python's lock: no thread of the process runs
        for _ in range(10):
            library.usleep(60_000)
            time.sleep(0.1)
        sent = list(rig.robot.commands)
        gaps = node.counters()["command_gaps"]
        state = node.state.name
    words = f"it does not stop ({state}): {gaps} gaps"
    return f"| the node stands still for 60 ms, ten times | - | - | - | {used(sent)} | {words} |"


def lost(used: Callable[..., str]) -> str:
    """The line of a network that loses one message in ten."""

    class Losing(Robot):  # type: ignore[misc]
        number = dropped = 0

        def _on_command(self, message: Any) -> None:
            self.number += 1
            if self.number % 10 == 0:
                self.dropped += 1
            else:
                super()._on_command(message)

    with policy_rig(Losing) as rig:
        node = rig.start()
        rig.until_moving()
        time.sleep(2.0)
        sent, robot = list(rig.robot.commands), rig.robot
        gaps, state = node.counters()["command_gaps"], node.state.name
    words = f"it does not stop ({state}): {robot.dropped} of {robot.number} messages lost, {gaps} gaps"
    return f"| one command message in ten is lost | - | - | - | {used(sent)} | {words} |"


def clock_set(by_s: float, used: Callable[..., str]) -> str:
    """The line of a machine whose system clock is set while the robot moves."""
    name = f"the system clock is set {'forward' if by_s > 0 else 'back'} by {abs(by_s):g} s"
    compiler = shutil.which("gcc")
    if compiler is None:
        return f"| {name} | - | - | - | - | not measured: it needs gcc |"
    with TemporaryDirectory() as folder, policy_rig() as rig:
        shim, numbers = Path(folder) / "shim.so", Path(folder) / "shifts"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(shim), str(SHIM), "-ldl"], check=True)
        numbers.write_bytes(bytes(16))
        process = started(environment={"LD_PRELOAD": str(shim), "CLOCK_SHIFT": str(numbers)})
        until_moving(rig)
        count, set_s = len(rig.robot.commands), time.monotonic()
        with numbers.open("r+b") as file:
            file.write(struct.pack("<qq", round(by_s * NS), 0))
        rig.robot.clock_off_s = by_s
        robot = rig.robot
        wait_for(lambda: any(not item.velocity.any() for item in robot.commands[count:]), "rest")
        still_s = time.monotonic() - set_s
        number = next(i for i, item in enumerate(robot.commands[count:]) if not item.velocity.any())
        sent = list(robot.commands)
        wait_for(lambda: robot.statuses[-1].state_name == "RUNNING", "motion again")
        process.send_signal(signal.SIGTERM)
        process.wait(30.0)
    return f"| {name} | - | {still_s:.2f} | {number} | {used(sent)} | it brakes, holds, and goes on |"


def rows(used: Callable[..., str]) -> list[Callable[[], str]]:
    """All rows; `used` says how much of the limits commands used."""
    return [
        lambda: clock_set(-5.0, used),
        lambda: clock_set(5.0, used),
        lambda: slipped(used),
        lambda: late(used),
        lambda: lost(used),
        lambda: ended(signal.SIGTERM, used),
        lambda: ended(signal.SIGHUP, used),
        lambda: ended(signal.SIGKILL, used),
    ]
