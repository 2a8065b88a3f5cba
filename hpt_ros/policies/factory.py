# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policies that the node can run, one object each: `POLICIES`. Packages outside add theirs (`hpt_ros.registry`)."""

from __future__ import annotations

from typing import Any

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.policies import baselines, hpt
from hpt_ros.policies.loading import LoadedPolicy, PolicyKind, PolicySettings
from hpt_ros.registry import Registry

POLICIES: Registry[PolicyKind] = Registry(
    "policy",
    "hpt_ros.policies",
    PolicyKind,
    {kind.name: kind for kind in (hpt.CHECKPOINT, baselines.HOLD, baselines.RANDOM)},
)
# Policies of this project that bring no robot of their own.
BASELINES = tuple(name for name, kind in POLICIES.of_project().items() if kind.make is not None)


def load_policy(kind: str, **settings: Any) -> LoadedPolicy:
    """Make the policy that the node's parameters name.

    Args:
        kind: a name of `POLICIES`.
        settings: of `PolicySettings`.

    Raises:
        HptError: something is missing, damaged, or of another robot.
    """
    return POLICIES[kind].load(PolicySettings(**settings))


def load_baseline(kind: str, robot: Embodiment, seed: int = 0) -> LoadedPolicy:
    """Make a policy that brings no robot of its own.

    Args:
        kind: a name of `POLICIES` whose kind brings no robot, as `BASELINES`.
        robot: that it drives, with all its limits.
        seed: of what is drawn at random.

    Raises:
        HptError: there is none of that name, it brings its robot, or it cannot drive this one.
    """
    make = POLICIES[kind].make
    if make is None:
        raise HptError(
            Code.INVALID, "the policy", kind, problem="{value} brings its own robot",
            expected="one for any robot",
            remedy=f"name {' or '.join(BASELINES)}",
        )  # fmt: skip
    return LoadedPolicy(make(robot, PolicySettings(seed=seed)), robot, "", robot.observation_horizon)
