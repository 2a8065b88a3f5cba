# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far a controller that scales trajectories makes the motors step, written into docs/safety.md.

``.venv/bin/python test/pace_table.py`` (a minute; over injected time, the same on every machine)

The real control room, told of the robot's scaling, sends its messages every 10 ms to the model of
scaled_joint_trajectory_controller, whose cycle is 2 ms; the policy wants 0.8 rad/s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from support.document import rewrite, table
from support.slider import CYCLE_S, FULL, Slider

SCALINGS = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05)
MESSAGES: dict[str, dict[str, Any]] = {
    "all take equally long": {"late_every": 0},
    "one in 50 takes a cycle longer": {"late_every": 50},
    "each takes 1 ms and some tenths": {},
    "... with `speed_scaling.trajectories` false": {"trajectories": False},
}


def cell(scaling: float, values: dict[str, Any]) -> str:
    """Largest acceleration that the motors were commanded, and their largest step beyond the own speed's in a cycle."""
    life = Slider(scaling, **values).run(8.0)
    motion = life.robot.motion(skip=1000)
    beyond_mrad = 1e3 * CYCLE_S * max(0.0, float(motion.velocity.max()) - scaling * FULL)
    stops = f" ({len(life.stops)} stops)" if life.stops else ""
    return f"{motion.acceleration.max():.0f} / {beyond_mrad:.1f}{stops}"


def rows() -> Iterator[str]:
    """All lines."""
    for name, values in MESSAGES.items():
        yield f"| {name} | " + " | ".join(cell(scaling, values) for scaling in SCALINGS) + " |"


def main() -> int:
    """Run all and rewrite the table."""
    heads = ["messages", *(f"{scaling:.0%}" for scaling in SCALINGS)]
    rewrite("speed scaling", "test/pace_table.py", table(heads, rows()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
