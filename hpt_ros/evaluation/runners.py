# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who runs an episode in place of a policy, since it knows the environment's expert: `RUNNERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.demonstration import ReplayRollout
from hpt_ros.evaluation.expert import ExpertRollout
from hpt_ros.evaluation.rollout import RolloutConfig, Runner
from hpt_ros.sim.environment import Environment

EXPERT: Final = "expert"
REPLAY: Final = "replay"
# What a name is made into, of the environment, how episodes are run, and what follows the name after a colon.
RUNNERS: Final[Mapping[str, Callable[[Environment, RolloutConfig, str], Runner]]] = {
    EXPERT: lambda environment, config, argument: ExpertRollout(environment, config),
    REPLAY: lambda environment, config, argument: ReplayRollout(
        environment, config, int(argument) if argument else None
    ),
}


def is_runner(text: str) -> bool:
    """Return whether a text names a runner, such as "expert", "replay" and "replay:7".

    Raises:
        HptError: what follows the name is no scene, or the name takes none.
    """
    name, colon, argument = text.partition(":")
    if name not in RUNNERS:
        return False
    if colon and (name != REPLAY or not (argument.isascii() and argument.isdecimal())):
        raise HptError(
            Code.INVALID, "the policy", text,
            expected=f"{REPLAY!r}, or {REPLAY}:SEED with the seed of the scene that is demonstrated",
        )  # fmt: skip
    return True


def make_runner(text: str, environment: Environment, config: RolloutConfig) -> Runner:
    """Make the runner that a text names.

    Raises:
        HptError: the environment has no expert, or as `is_runner`.
    """
    if not is_runner(text):
        raise HptError(Code.UNKNOWN, "the runner", text, known=tuple(RUNNERS))
    name, _, argument = text.partition(":")
    return RUNNERS[name](environment, config, argument)
