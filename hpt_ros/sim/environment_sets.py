# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Environments that are named together, as benchmarks list their tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.environment import ENVIRONMENTS
from hpt_ros.sim.suites.aloha import tasks as aloha
from hpt_ros.sim.suites.fetch import tasks as fetch
from hpt_ros.sim.suites.libero import tasks as libero
from hpt_ros.sim.suites.metaworld import tasks as metaworld
from hpt_ros.sim.suites.so101 import tasks as so101

SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "metaworld": tuple(f"metaworld/{task}" for task in metaworld.INSTRUCTIONS),
    "metaworld/hpt4": tuple(f"metaworld/{task}" for task in metaworld.HPT4),
    "metaworld/hpt20": tuple(f"metaworld/{task}" for task in metaworld.HPT20),
    "so101": tuple(f"so101/{task}" for task in so101.INSTRUCTIONS),
    "aloha": tuple(f"aloha/{task}" for task in aloha.INSTRUCTIONS),
    "fetch": tuple(f"fetch/{task}" for task in fetch.INSTRUCTIONS),
    "libero": tuple(f"libero/{task}" for task in libero.INSTRUCTIONS),
}


def environments_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the environments of names, each of an environment or of a set of them; each once.

    Raises:
        HptError: there is none of that name.
    """
    found: dict[str, None] = {}
    for name in names:
        if name not in SETS and name not in ENVIRONMENTS:
            raise HptError(
                Code.UNKNOWN, "the environment", name, known=[*ENVIRONMENTS, *SETS],
                remedy="correct it, or install the package that has it (hpt_ros.environments)",
            )  # fmt: skip
        found |= dict.fromkeys(SETS.get(name, (name,)))
    for name in found:
        ENVIRONMENTS[name]  # one of another package that cannot be loaded
    return tuple(found)
