# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether a policy and an embodiment file are of one robot: names, dimensions, horizons and sizes of all modalities."""

from __future__ import annotations

from collections.abc import Iterator

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.modalities import MODALITIES
from hpt_ros.model import PolicyConfig


class IncompatiblePolicyError(HptError):
    """A policy's configuration and an embodiment file contradict one another."""


def check_compatible(
    config: PolicyConfig,
    robot: Embodiment,
    *,
    policy: str = "the checkpoint's config.yaml",
    file: str = "its embodiment.yaml",
    remedy: str = "the folder was mixed from two checkpoints, copy it again",
) -> None:
    """Raise unless the policy reads what the embodiment's streams give, and gives what its action takes.

    Streams of modalities that the policy has no stem for are left alone.

    Args:
        config: the policy's.
        robot: the embodiment file's.
        policy, file: what they are called in the error.
        remedy: how its sentence ends.

    Raises:
        IncompatiblePolicyError: names the first thing that differs and both values.
    """
    for what, ours, theirs in _pairs(config, robot):
        if ours != theirs:
            raise IncompatiblePolicyError(
                Code.INVALID, policy, ours, problem=f"has {what} {{value}} but {file} has {theirs!r}",
                remedy=remedy,
            )  # fmt: skip


def _pairs(config: PolicyConfig, robot: Embodiment) -> Iterator[tuple[str, object, object]]:
    """Yield what is compared: its name, the policy's value, the embodiment's."""
    yield "name", config.embodiment, robot.name
    yield "action dimension", config.action_dim, robot.action.dim
    yield "action horizon", config.action_horizon, robot.action.horizon
    yield "observation horizon", config.observation_horizon, robot.observation_horizon
    for name, ours in config.shapes.items():
        theirs = MODALITIES[name].shape(robot.streams_of(name))
        if 0 in ours:  # precomputed features have no rows and columns of images
            ours, theirs = ours[:1], theirs[:1]
        yield f"shape of {name!r}", ours, theirs
