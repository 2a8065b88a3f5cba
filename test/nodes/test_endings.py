# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""However the policy node's process ends, and whatever happens to its terminal, the robot is braked first."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_rig import FILE, Rig, policy_rig, wait_for

NODE = """
import os, sys
import numpy as np
import rclpy
from hpt_ros.nodes.policy import policy_node
from hpt_ros.nodes.common.run_lifecycle import run_lifecycle_node

class Node(policy_node.PolicyNode):
    def __init__(self):
        super().__init__()
        self.create_timer(0.02, self.act)
        self.acted = False

    def act(self):
        runtime = self.runtime
        moving = runtime is not None and np.abs(runtime.controller.filter.velocity).max() > 0.1
        if (moving or self.acted) and "ACT" in os.environ:
            self.acted = True
            exec(os.environ["ACT"])

sys.exit(run_lifecycle_node("policy_node", Node, sys.argv))
"""
LOG_MUCH = """
try:
    os.write(2, 65536 * b'x')  # as ten thousand lines of a library
except OSError:
    pass  # where it does not wait
self.get_logger().info('y')
"""


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def arguments() -> list[str]:
    words = [sys.executable, "-c", NODE, "--ros-args"]
    for value in ("policy:=random", f"embodiment:={FILE}", "autostart:=true", "watchdog.timeout_s:=1.5"):
        words += ["-p", value]
    return words


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def starting(act: str = "", **more: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **({"ACT": act} if act else {})}
        more = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **more}
        started.append(subprocess.Popen(arguments(), env=environment, **more))
        return started[-1]

    yield starting
    for process in started:
        process.kill()
        process.wait()


def until_moving(rig: Rig) -> None:
    moving = lambda: rig.robot.commands and np.abs(rig.robot.commands[-1].velocity).max() > 0.1  # noqa: E731
    wait_for(moving, "motion", 60.0)


def require_going_on(rig: Rig) -> None:
    sent = len(rig.robot.commands)
    wait_for(lambda: len(rig.robot.commands) > sent + 50, "further commands")


def require_braked(rig: Rig, process: subprocess.Popen[bytes], status: int = 0) -> None:
    assert process.wait(30.0) == status
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    rig.check_limits()


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGXCPU"])
def test_when_a_signal_would_end_the_process_while_moving_expect_the_robot_braked(rig, start, name):
    process = start()
    until_moving(rig)
    process.send_signal(getattr(signal, name))
    require_braked(rig, process)


def test_when_signals_come_while_it_brakes_expect_it_to_brake_to_the_end(rig, start):
    process = start()
    until_moving(rig)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM) * 5:
        process.send_signal(number)
        time.sleep(0.01)
        if process.poll() is not None:
            break
    require_braked(rig, process)


@pytest.mark.parametrize("name", ["SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGPIPE"])
def test_when_a_signal_of_the_terminal_comes_while_moving_expect_it_to_move_on(rig, start, name):
    process = start()
    until_moving(rig)
    process.send_signal(getattr(signal, name))
    require_going_on(rig)
    process.send_signal(signal.SIGINT)
    require_braked(rig, process)


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("sys.exit(3)", 3),
        ("raise KeyboardInterrupt", -signal.SIGINT),  # how Python itself ends of it
        ("rclpy.shutdown()", 0),
        ("self.context.shutdown()", 0),
    ],
)
def test_when_code_in_a_callback_ends_the_process_while_moving_expect_the_robot_braked(
    rig, start, act, status
):
    process = start(act)
    require_braked(rig, process, status)


def test_when_nobody_reads_what_it_logs_expect_it_to_move_on_and_to_end_braked(rig, start):
    process = start(LOG_MUCH, stderr=subprocess.PIPE)
    until_moving(rig)
    time.sleep(1.0)  # megabytes: no pipe takes that
    require_going_on(rig)
    process.send_signal(signal.SIGTERM)
    require_braked(rig, process)


def test_when_the_reader_of_its_log_ends_expect_it_to_move_on_and_to_end_braked(rig, start):
    process = start(LOG_MUCH, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    until_moving(rig)
    process.stderr.close()
    process.stdout.close()
    time.sleep(0.5)
    require_going_on(rig)
    process.send_signal(signal.SIGTERM)
    require_braked(rig, process)


def test_when_its_terminal_hangs_up_while_moving_expect_the_robot_braked(rig, start):
    master, terminal = pty.openpty()
    process = start(
        LOG_MUCH, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(terminal)
    until_moving(rig)
    os.close(master)
    require_braked(rig, process)


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE)
print(child.pid, flush=True)
for _ in child.stderr: pass
"""


def test_when_its_parent_is_killed_while_moving_expect_it_to_move_on_and_to_end_braked(rig):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments()],
        stdout=subprocess.PIPE, env={**os.environ, "ACT": LOG_MUCH}, start_new_session=True,
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        until_moving(rig)
        parent.kill()
        parent.wait()
        require_going_on(rig)
        os.kill(child, signal.SIGTERM)
        wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
        rig.check_limits()
    finally:
        parent.kill()
        wait_for(lambda: not Path(f"/proc/{child}").exists(), "the end of the process")
