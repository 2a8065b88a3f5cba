# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How often Meta-World's experts succeed in Meta-World itself: ``.venv/bin/python benchmarks/metaworld_expert.py``.

Beside it, `hpt eval expert --env metaworld/hpt20` on the same seeds says how often they do through an environment's
topics. Once each expert is asked at every step of 80 Hz, once every fourth, at 20 Hz.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import Any

import numpy as np

from hpt_ros.sim.environment_sets import SETS, environments_of
from hpt_ros.sim.suites.metaworld.environment import STEPS, MetaWorldEnvironment

FIRST_SEED = 1000


def succeeds(sawyer: Any, policy: Any, seed: int, every: int) -> bool:
    """Whether an expert solves a scene within an episode of Meta-World's own."""
    sawyer.seed(seed)
    observation, _ = sawyer.reset()
    action = np.zeros(4)
    for step in range(STEPS):
        if step % every == 0:
            action = np.clip(policy.get_action(observation), -1.0, 1.0)
        observation, _, _, _, info = sawyer.step(action)
        if info["success"]:
            return True
    return False


def main() -> int:
    """Measure, and print a line for each task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", nargs="+", default=["metaworld/hpt4", "metaworld/hpt20"], metavar="NAME")
    parser.add_argument("--episodes", type=int, default=50, metavar="N")
    arguments = parser.parse_args()
    from metaworld.policies import ENV_POLICY_MAP

    warnings.simplefilter("ignore")
    totals = np.zeros(2, dtype=int)
    names = [name for name in environments_of(arguments.env) if name in SETS["metaworld"].environments]
    for name in names:
        task = name.removeprefix("metaworld/")
        sawyer = MetaWorldEnvironment(task=task)._sawyer
        counts = [
            sum(
                succeeds(sawyer, ENV_POLICY_MAP[f"{task}-v3"](), FIRST_SEED + index, every)
                for index in range(arguments.episodes)
            )
            for every in (1, 4)
        ]
        totals += counts
        print(f"{name:<40} {counts[0]} at 80 Hz, {counts[1]} at 20 Hz, of {arguments.episodes}", flush=True)
    print(f"{'all':<40} {totals[0]} at 80 Hz, {totals[1]} at 20 Hz, of {len(names) * arguments.episodes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
