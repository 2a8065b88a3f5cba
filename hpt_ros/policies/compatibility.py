# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether a policy and an embodiment file are of one robot: names, dimensions, horizons and sizes of all modalities."""

from __future__ import annotations

from collections.abc import Iterator

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.model import PolicyConfig
from hpt_ros.model.config import DEPTH, IMAGE, POINT_CLOUD, STATE, TACTILE, WRENCH


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
    if STATE in config.modalities:
        yield "state dimension", config.state_dim, len(robot.names_of("state"))
    if WRENCH in config.modalities:
        yield "wrench dimension", config.wrench_dim, len(robot.names_of("wrench"))
    if IMAGE in config.modalities:
        size = (config.image_height, config.image_width)
        encodes = config.image_encoder.kind != "none"  # features have no picture's size
        yield from _pictures(robot, "image", config.views, size if encodes else None)
    if DEPTH in config.modalities:
        size = (config.depth_height, config.depth_width)
        yield from _pictures(robot, "depth", config.depth_views, size)
    for modality, word, shape in (
        (TACTILE, "tactile arrays", (config.tactile_arrays, config.tactile_values)),
        (POINT_CLOUD, "point clouds", (config.clouds, config.cloud_points, 3)),
    ):
        if modality in config.modalities:
            streams = robot.streams_of(modality)
            yield f"shape of the {word}", shape, (len(streams), *(streams[0].shape if streams else ()))


def _pictures(
    robot: Embodiment, modality: str, views: int, size: tuple[int, int] | None
) -> Iterator[tuple[str, object, object]]:
    streams = robot.streams_of(modality)
    yield f"number of {modality} views", views, len(streams)
    if size is not None:
        for stream in streams:
            height_width = None if stream.image is None else (stream.image.height, stream.image.width)
            yield f"height and width of the {modality} view {stream.name!r}", size, height_width
