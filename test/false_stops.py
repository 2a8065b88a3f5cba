# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How often a healthy robot is stopped for nothing, written into docs/safety.md.

``.venv/bin/python test/false_stops.py`` (about a quarter of an hour; ``--hours 0.1 --minutes 0.5`` is quicker)

In lock step: an hour of the real control room at the times of a recorded timer, with messages that come late and get
lost, an arm that lags, sags and is measured with noise, behind joint_trajectory_controller as shipped. Then the real
node over the middleware in real time, as the machine is and beside one busy process for each core, each twice: at
ordinary priority, and with real-time priority, so that nothing else on the machine takes its cores. What stops there
come on top at ordinary priority are the machine's load. Node and robot are threads of one process. What is latched is
cleared, so that the run goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from far_rig import Swing
from policy_rig import ROBOT, policy_rig
from support.arm import COBOT
from support.document import rewrite, table
from support.domain import own_domain
from support.stream import START_NS, Delays, Plan, Stream, shipped_controller
from support.timer_traces import TRACES, calls_ns, lateness_ns

from hpt_ros.control import Limits, State
from hpt_ros.errors import Refusal
from hpt_ros.sim.controllers import JAZZY

HEADS = ("healthy robot", "minutes", "stops per hour", "given up by its controller, per hour", "why")
STOPS = ("stale_stops", "exhausted_stops", "tracking_stops", "frozen_stops", "clock_jumps", "faults")
LOOK_S = 0.02
SIZE = ROBOT.action.dim
LIMITS = Limits(ROBOT.lower, ROBOT.upper, ROBOT.max_velocity, ROBOT.max_acceleration)
# Joints that swing through a third of a radian, each at its own pace: up to 0.6 rad/s, as the demo's.
PACES = 1.0 + 0.15 * np.arange(SIZE)
SWING = Plan("swing", lambda t: (ROBOT.lower + ROBOT.upper) / 2 + 0.3 * np.sin(t[:, None] * PACES))
DELAYS = Delays(transport_s=0.002, camera_s=0.04, inference_s=0.06, lost=0.001)


def replayed(trace: str, hours: float, seed: int = 0) -> Stream:
    """A healthy robot in lock step."""
    return Stream(
        shipped_controller(JAZZY, [f"joint{number}" for number in range(SIZE)]),
        COBOT,
        LIMITS,
        rate_hz=ROBOT.action.rate_hz,
        plan=SWING,
        calls=calls_ns(lateness_ns(trace), round(1e9 / ROBOT.action.rate_hz), START_NS),
        delays=DELAYS,
        seed=seed,
    ).run(3600.0 * hours)


def summary(reasons: list[Refusal | None]) -> str:
    """The three most frequent reasons, without their figures."""
    plain = [f"{reason.subject} {reason.code.value}" for reason in reasons if reason is not None]
    return "; ".join(f"{count} x {reason}" for reason, count in Counter(plain).most_common(3)) or "none"


def replay_row(trace: str, hours: float) -> str:
    """The line of a healthy robot in lock step."""
    stream = replayed(trace, hours)
    gave_up = len(stream.robot.controller.events)
    return (
        f"| in lock step, {trace} timer | {60 * hours:.0f} | {len(stream.stops) / hours:.3g} | "
        f"{gave_up / hours:.3g} | {summary([reason for _, reason in stream.stops])} |"
    )


@contextmanager
def beside(busy: int, *, first: bool) -> Iterator[None]:
    """So many busy processes beside this one, and this one's threads before all of the machine's others or among them.

    Raises:
        PermissionError: only root, or a user with a limit `rtprio`, comes first.
    """
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        if first:  # threads that are made from now on inherit it
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        for process in processes:
            process.kill()
            process.wait()


def live_row(minutes: float, busy: int, *, first: bool) -> str:
    """The line of the real node over the middleware."""
    reasons: list[Refusal | None] = []
    with beside(busy, first=first), policy_rig() as rig:
        rig.policy = Swing()
        node = rig.start()
        rig.until_moving()
        assert node.runtime is not None
        before, ends_s = node.counters(), time.monotonic() + 60.0 * minutes
        while time.monotonic() < ends_s:
            time.sleep(LOOK_S)
            with node.lock:
                now, reason = node.counters(), node.runtime.controller.activation.reason
            if node.state is State.FAULT:
                node.clear_fault()
            reasons += [reason] * sum(now[name] - before[name] for name in STOPS)
            before = now
    name = f"real node, beside {busy} busy processes" if busy else "real node, as the machine was"
    name += f" ({os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f})"
    if first:
        name += ", with real-time priority"
    return f"| {name} | {minutes:g} | {60.0 / minutes * len(reasons):.3g} | - | {summary(reasons)} |"


def rows(hours: float, minutes: float) -> Iterator[str]:
    """All lines."""
    for trace in TRACES:
        yield replay_row(trace, hours)
    for busy in (0, os.cpu_count() or 1):
        for first in (False, True):
            yield live_row(minutes, busy, first=first)


def main() -> int:
    """Run all and rewrite the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0, help="of each replay in lock step")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each run of the real node")
    arguments = parser.parse_args()
    own_domain()
    rewrite("false stops", "test/false_stops.py", table(HEADS, rows(arguments.hours, arguments.minutes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
