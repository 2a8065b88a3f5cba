# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How often a healthy robot is stopped for nothing, written into docs/safety.md.

``.venv/bin/python test/false_stops.py`` (about a quarter of an hour; ``--hours 0.1 --minutes 0.5`` is quicker)

In lock step: an hour of the real control room at the times of a recorded timer, with messages that come late and get
lost, an arm that lags, sags and is measured with noise, behind joint_trajectory_controller as shipped. Then the real
node over the middleware in real time, as the machine is and beside one busy process for each core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import numpy as np
from far_rig import Swing
from policy_rig import ROBOT, policy_rig
from support.arm import COBOT
from support.stream import START_NS, Delays, Plan, Stream, shipped_controller
from support.timer_traces import TRACES, calls_ns, lateness_ns

from hpt_ros.control import Limits
from hpt_ros.sim.controllers import JAZZY

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "safety.md"
BEGIN, END = "<!-- false stops: written by test/false_stops.py -->", "<!-- end of false stops -->"
STOPS = ("stale_stops", "exhausted_stops", "tracking_stops", "frozen_stops", "clock_jumps", "faults")
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


def replay_row(trace: str, hours: float) -> str:
    """The line of a healthy robot in lock step."""
    stream = replayed(trace, hours)
    reasons = Counter(reason.split(":")[0][:60] for _, reason in stream.stops)
    gave_up = len(stream.robot.controller.events)
    words = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3)) or "none"
    return (
        f"| in lock step, {trace} timer | {60 * hours:.0f} | {len(stream.stops) / hours:.3g} | "
        f"{gave_up / hours:.3g} | {words} |"
    )


def live_row(minutes: float, busy: int) -> str:
    """The line of the real node over the middleware."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        with policy_rig() as rig:
            rig.policy = Swing()
            node = rig.start()
            rig.until_moving()
            begun = dict(node.counters())
            time.sleep(60.0 * minutes)
            counted = {name: node.counters()[name] - begun[name] for name in STOPS}
            state = node.state.name
    finally:
        for process in processes:
            process.kill()
            process.wait()
    words = ", ".join(f"{count} {name}" for name, count in counted.items() if count) or "none"
    stops = sum(count for name, count in counted.items() if name != "faults")
    where = (
        f"real node, {busy} busy processes on {os.cpu_count()} cores"
        if busy
        else "real node, as the machine was"
    )
    return f"| {where} | {minutes:g} | {60.0 * stops / minutes:.3g} | - | {words}; {state} in the end |"


def main() -> int:
    """Run all and rewrite the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0, help="of each replay in lock step")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each run of the real node")
    arguments = parser.parse_args()
    lines = [
        BEGIN,
        "| healthy robot | minutes | stops per hour | given up by its controller, per hour | why |",
        "| --- | --- | --- | --- | --- |",
    ]
    for trace in TRACES:
        lines.append(replay_row(trace, arguments.hours))
        print(lines[-1], flush=True)
    for busy in (0, os.cpu_count() or 1):
        lines.append(live_row(arguments.minutes, busy))
        print(lines[-1], flush=True)
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + "\n".join([*lines, END]) + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
