# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How late a ROS timer calls on a real machine: recorded by this file's command, replayed over injected time.

``.venv/bin/python test/support/timer_traces.py`` records both traces again, half a minute each, into
test/data/timer_traces: ``quiet.txt`` as the machine is, ``loaded.txt`` beside one busy process for each core. With a
name it records that one. A line is the lateness of one call of a 100 Hz timer on rclpy's executor, in microseconds
after the time at which it was due.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "data" / "timer_traces"
TRACES = ("quiet", "loaded")
RECORDED_PERIOD_NS = 10_000_000
SECONDS = 30.0


def lateness_ns(name: str) -> np.ndarray:
    """(N,) of a recorded trace."""
    return np.loadtxt(FOLDER / f"{name}.txt", dtype=np.int64, comments="#") * 1000


def calls_ns(lateness: np.ndarray, period_ns: int, start_ns: int) -> Iterator[int]:
    """Times at which a timer of `period_ns` calls, without end, one recorded lateness after the other.

    A call that is later than its period swallows those that were due meanwhile, as rcl's timers do.
    """
    due_ns, last_ns, number = start_ns, start_ns, 0
    while True:
        due_ns += period_ns
        if due_ns <= last_ns:
            continue
        last_ns = due_ns + int(lateness[number % len(lateness)])
        number += 1
        yield last_ns


def record(seconds: float) -> np.ndarray:
    """Lateness of the calls of a 100 Hz timer, (N,) in ns."""
    import rclpy
    from rclpy.clock import Clock, ClockType

    rclpy.init()
    node = rclpy.create_node("timer_trace")
    calls: list[tuple[int, int]] = []  # when, and when the next one is due

    def called() -> None:
        now_ns = time.monotonic_ns()
        calls.append((now_ns, now_ns + timer.time_until_next_call()))

    timer = node.create_timer(
        RECORDED_PERIOD_NS * 1e-9, called, clock=Clock(clock_type=ClockType.STEADY_TIME)
    )
    end_s = time.monotonic() + seconds + 1.0
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.shutdown()
    steady = calls[100:]  # after a second
    return np.array([now - due for (_, due), (now, _) in itertools.pairwise(steady)], dtype=np.int64)


def main() -> int:
    """Record both traces."""
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or TRACES:
        busy = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range(os.cpu_count() or 1 if name == "loaded" else 0)
        ]
        try:
            late = record(SECONDS)
        finally:
            for process in busy:
                process.kill()
                process.wait()
        load = os.getloadavg()[0]
        head = (
            f"# lateness of a 100 Hz timer, us; {os.cpu_count()} cores, load average {load:.1f}, "
            f"{len(busy)} busy processes beside it, niceness {os.nice(0)}"
        )
        lines = [head, *(str(int(value)) for value in late // 1000)]
        (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        p50, p99, worst = np.percentile(late / 1e6, (50, 99, 100))
        print(
            f"{name}: {len(late)} calls; late by {p50:.2f} / {p99:.2f} / {worst:.2f} ms (median, 99th percentile, most)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
