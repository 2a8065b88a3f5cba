# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policies that the node can run, one object each: `POLICIES`. Packages outside add theirs (`hpt_ros.registry`)."""

from __future__ import annotations

from typing import Any

from hpt_ros.policies import baselines, hpt
from hpt_ros.policies.loading import LoadedPolicy, PolicyKind, PolicySettings
from hpt_ros.registry import Registry

POLICIES: Registry[PolicyKind] = Registry(
    "policy",
    "hpt_ros.policies",
    PolicyKind,
    {kind.name: kind for kind in (hpt.CHECKPOINT, baselines.HOLD, baselines.RANDOM)},
)


def load_policy(kind: str, **settings: Any) -> LoadedPolicy:
    """Make the policy that the node's parameters name.

    Args:
        kind: a name of `POLICIES`.
        settings: of `PolicySettings`.

    Raises:
        HptError: something is missing, damaged, or of another robot.
    """
    return POLICIES[kind].load(PolicySettings(**settings))
