# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Environments that are named together, as benchmarks list their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpt_ros.errors import Code, HptError
from hpt_ros.registry import Registry
from hpt_ros.sim.environment import ENVIRONMENTS
from hpt_ros.sim.suites.aloha import tasks as aloha
from hpt_ros.sim.suites.fetch import tasks as fetch
from hpt_ros.sim.suites.libero import tasks as libero
from hpt_ros.sim.suites.metaworld import tasks as metaworld
from hpt_ros.sim.suites.so101 import tasks as so101


@dataclass(frozen=True, slots=True)
class EnvironmentSet:
    """Environments by one name.

    Attributes:
        name: as `hpt eval --env` takes it; no environment has it.
        environments: their names.
    """

    name: str
    environments: tuple[str, ...]


def _suite(name: str, suite: str, tasks: Iterable[str]) -> EnvironmentSet:
    return EnvironmentSet(name, tuple(f"{suite}/{task}" for task in tasks))


# To add a set: its line.
SETS: Registry[EnvironmentSet] = Registry(
    "set of environments",
    "hpt_ros.environment_sets",
    EnvironmentSet,
    {
        found.name: found
        for found in (
            _suite("metaworld", "metaworld", metaworld.INSTRUCTIONS),
            _suite("metaworld/hpt4", "metaworld", metaworld.HPT4),
            _suite("metaworld/hpt20", "metaworld", metaworld.HPT20),
            _suite("so101", "so101", so101.INSTRUCTIONS),
            _suite("aloha", "aloha", aloha.INSTRUCTIONS),
            _suite("fetch", "fetch", fetch.INSTRUCTIONS),
            _suite("libero", "libero", libero.INSTRUCTIONS),
        )
    },
)


def environments_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the environments of names, each of an environment or of a set of them; each once.

    Raises:
        HptError: there is none of that name, or it is of another package that cannot be loaded.
    """
    found: dict[str, None] = {}
    for name in names:
        if name not in SETS and name not in ENVIRONMENTS:
            raise HptError(
                Code.UNKNOWN, "the environment", name, known=[*ENVIRONMENTS, *SETS],
                remedy="correct it, or install the package that has it (hpt_ros.environments)",
            )  # fmt: skip
        found |= dict.fromkeys(SETS[name].environments if name in SETS else (name,))
    for name in found:
        ENVIRONMENTS[name]
    return tuple(found)
