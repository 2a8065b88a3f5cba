# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What each model of a controller tells its motors of our stream, written into docs/safety.md.

``.venv/bin/python test/controller_table.py`` (a minute or two; over injected time, the same on every machine)

The real control room sends its real messages at the times of a recorded timer to a model of a controller
(hpt_ros/sim/controllers.py), with an arm behind it that lags. The limits are those of panda_joint2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
from support.arm import ArmModel
from support.document import rewrite, table
from support.forward_controller import ForwardController
from support.stream import START_NS, Plan, Stream, shipped_controller
from support.timer_traces import TRACES, calls_ns, lateness_ns

from hpt_ros.control import Limits
from hpt_ros.sim.controllers import HUMBLE, JAZZY, ROLLING, TrajectoryController

SECONDS, RATE_HZ = 12.0, 50.0
LAGS_S = (0.0, 0.014, 0.04, 0.1)
ONE = np.ones(1)
LIMITS = Limits(-1.7628 * ONE, 1.7628 * ONE, 2.175 * ONE, 7.5 * ONE)

CONTROLLERS: dict[str, Callable[[], TrajectoryController | ForwardController]] = {
    "trajectory, Humble": lambda: shipped_controller(HUMBLE, ["joint"]),
    "trajectory, Jazzy, Kilted": lambda: shipped_controller(JAZZY, ["joint"]),
    "... without `interpolate_from_desired_state`": lambda: shipped_controller(
        JAZZY, ["joint"], interpolate_from_desired_state=False
    ),
    "trajectory, Rolling (August 2026)": lambda: shipped_controller(ROLLING, ["joint"]),
    "... with `allow_trajectory_replacement`": lambda: shipped_controller(
        ROLLING, ["joint"], allow_trajectory_replacement=True
    ),
    "forward": lambda: ForwardController(1),
}
# A smooth motion of at most 1.1 rad/s^2, and way points that step by 0.25 rad, as of a policy that is not smooth.
PLANS = (
    Plan("smooth", lambda t: 0.5 * (1.0 - np.cos(1.5 * t))[:, None]),
    Plan("steps", lambda t: np.where((t // 1.5) % 2 == 0, 0.0, 0.25)[:, None]),
)


def cell(name: str, trace: str, lag_s: float) -> str:
    """Most of both plans: acceleration told and of the curve over the limit, jerk, reversals beyond the plan's own."""
    acceleration, curve, jerk, reversals, stops = 0.0, 0.0, 0.0, 0, 0
    for plan in PLANS:
        stream = Stream(
            CONTROLLERS[name](),
            ArmModel(lag_s=lag_s),
            LIMITS,
            rate_hz=RATE_HZ,
            plan=plan,
            calls=calls_ns(lateness_ns(trace), round(1e9 / RATE_HZ), START_NS),
        ).run(SECONDS)
        motion = stream.robot.motion()
        acceleration = max(acceleration, float((motion.acceleration / LIMITS.acceleration).max()))
        curve = max(curve, float((motion.curve_acceleration / LIMITS.acceleration).max()))
        jerk = max(jerk, float(motion.jerk.max()))
        sent = np.diff([command.position[0] for command in stream.sent])
        own = np.sign(sent[np.abs(sent) > 0.01 / RATE_HZ])
        reversals += max(0, motion.reversals - int((np.diff(own) != 0).sum()))
        stops += len(stream.stops)
    return f"{acceleration:.3g} / {curve:.3g} / {jerk:.2g} / {reversals}" + (
        f" ({stops} stops)" if stops else ""
    )


def rows() -> Iterator[str]:
    """All lines."""
    for name in CONTROLLERS:
        for trace in TRACES:
            cells = [cell(name, trace, lag_s) for lag_s in LAGS_S]
            yield f"| {name} | {trace} | " + " | ".join(cells) + " |"


def main() -> int:
    """Run all and rewrite the table."""
    heads = ["controller", "timer", *(f"lag {1000 * lag:.0f} ms" for lag in LAGS_S)]
    rewrite("controllers", "test/controller_table.py", table(heads, rows()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
