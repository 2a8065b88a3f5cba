# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders: the policy of one or many embodiments, with everything that running it needs.

| file | what it holds |
| --- | --- |
| config.yaml | format, the policies' configurations, the weights' hash, metrics, the training recipe |
| model.safetensors | every tensor, float32 or (half precision) float16 |
| embodiments/NAME/embodiment.yaml | the embodiment file's text, unchanged |
| embodiments/NAME/stats.json | statistics of the training data, and its images' sizes before they were resized |
| README.md | the model card: how it was made, for people |

Format 1, of one embodiment, has embodiment.yaml, stats.json and card.md beside config.yaml; it is read, not written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from hpt_ros.atomic import replace_atomically
from hpt_ros.errors import Code
from hpt_ros.model.checkpoint_folder import (
    CARD,
    CARD_OF_ONE,
    CONFIG,
    EMBODIMENT,
    EMBODIMENTS,
    FORMAT,
    FORMAT_OF_ONE,
    STATS,
    WEIGHTS,
    CheckpointConfig,
    CheckpointError,
    WeightsInfo,
    is_many,
    locate,
    read_config,
)
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.multi import MultiPolicy, load_into
from hpt_ros.model.policy import Policy
from hpt_ros.model.weight_files import read_tensors, save_tensors, sha256_of
from hpt_ros.structured import dump_yaml, to_mapping

KEPT_FULL = "normalizer."  # raw units span any range; half precision would shift what the robot is commanded


@dataclass(frozen=True, slots=True)
class RobotFiles:
    """What a checkpoint holds of one embodiment besides its policy."""

    embodiment_yaml: str
    stats: Mapping[str, Any]  # plain values, for JSON


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One embodiment's part of a checkpoint. The policy is in evaluation mode, on the CPU, in float32."""

    policy: Policy
    config: PolicyConfig
    weights: WeightsInfo
    embodiment_yaml: str
    stats: Mapping[str, Any]
    card: str
    metrics: Mapping[str, float]
    training: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MultiCheckpoint:
    """A loaded checkpoint. The policies are in evaluation mode, on the CPU, in float32."""

    policy: MultiPolicy
    robots: Mapping[str, RobotFiles]
    weights: WeightsInfo
    card: str
    metrics: Mapping[str, float]
    training: Mapping[str, Any]

    def single(self, name: str) -> Checkpoint:
        """One embodiment's part; it shares the weights.

        Raises:
            HptError: there is no such embodiment.
        """
        policy, robot = self.policy.single(name), self.robots[name]
        return Checkpoint(
            policy, policy.config, self.weights, robot.embodiment_yaml, robot.stats,
            self.card, self.metrics, self.training,
        )  # fmt: skip


def save_checkpoint(
    folder: str | Path,
    policy: Policy,
    *,
    embodiment_yaml: str,
    stats: Mapping[str, Any],
    card: str | Callable[[str], str],
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, Any] | None = None,
    half_precision: bool = False,
) -> Path:
    """Write the checkpoint of one embodiment; see `save_multi_checkpoint`."""
    return save_multi_checkpoint(
        folder,
        MultiPolicy.of(policy),
        {policy.config.embodiment: RobotFiles(embodiment_yaml, stats)},
        card=card,
        metrics=metrics,
        training=training,
        half_precision=half_precision,
    )


def save_multi_checkpoint(
    folder: str | Path,
    policy: MultiPolicy,
    robots: Mapping[str, RobotFiles],
    *,
    card: str | Callable[[str], str],
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, Any] | None = None,
    half_precision: bool = False,
) -> Path:
    """Write a checkpoint folder so that it is there complete or not at all, and return its path.

    Everything is written to a sibling folder first, which then takes the name. An older checkpoint of that name is
    replaced; any other folder is left alone.

    Args:
        folder: where to; parents are made.
        policy: with statistics set.
        robots: embodiment to its file's text and the statistics of its training data.
        card: Markdown for people: data, command, commit, metrics; or what returns it, given the weight file's hash.
        metrics: figures of the training run, for config.yaml.
        training: the training recipe as plain values, for config.yaml.
        half_precision: store weights as float16; they are cast back to float32 on loading.

    Raises:
        HptError: the policy has no statistics, a value does not fit float16, or the folder is not ours to replace.
    """
    target = Path(folder)
    policy.require_ready()
    if target.exists() and not (
        target.is_dir() and (not any(target.iterdir()) or (target / CONFIG).is_file())
    ):
        raise CheckpointError(
            Code.EXISTS, f"{str(target)!r} exists and",
            problem=f"is no checkpoint (it has no {CONFIG}), so it is not replaced",
            remedy="name another folder",
        )  # fmt: skip
    try:
        with replace_atomically(target) as work:
            work.mkdir()
            tensors = _tensors_to_store(policy, half_precision)
            trunk = next(iter(policy.config.policies.values())).trunk
            # One entry alone: safetensors writes several in any order, and the same weights should be the same file.
            save_tensors(tensors, work / WEIGHTS, metadata={"heads": str(trunk.heads)})
            config = CheckpointConfig(
                format=FORMAT,
                model=policy.config,
                weights=WeightsInfo(sha256_of(work / WEIGHTS), len(tensors), half_precision),
                metrics={name: float(value) for name, value in (metrics or {}).items()},
            )
            mapping = to_mapping(config) | {"training": dict(training or {})}
            (work / CONFIG).write_text(dump_yaml(mapping), encoding="utf-8")
            for name in policy.names:
                robot_folder, robot = work / EMBODIMENTS / name, robots[name]
                robot_folder.mkdir(parents=True)
                (robot_folder / EMBODIMENT).write_text(robot.embodiment_yaml, encoding="utf-8")
                stats = json.dumps(robot.stats, indent=1, allow_nan=False)
                (robot_folder / STATS).write_text(f"{stats}\n", encoding="utf-8")
            text = card if isinstance(card, str) else card(config.weights.sha256)
            (work / CARD).write_text(text, encoding="utf-8")
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise CheckpointError(
            Code.UNWRITABLE, f"the checkpoint {str(target)!r}", remedy="nothing was changed", cause=error
        ) from error
    return target


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load one embodiment's policy from a checkpoint, strictly; the others of the file are not built.

    Args:
        folder: the checkpoint of one embodiment, or the folder of one among many, ``CHECKPOINT/embodiments/NAME``.

    Raises:
        HptError: a file is missing, damaged or cut short, of a newer format, or does not fit the configuration; or
            the checkpoint is of many embodiments and none is named.
    """
    root, name = locate(Path(folder))
    config, training = read_config(root)
    names = tuple(config.model.policies)
    if name is None:
        if len(names) > 1:
            raise CheckpointError(
                Code.INVALID, f"the checkpoint {str(root)!r}",
                problem=f"is of the embodiments {', '.join(names)}", expected="one",
                remedy=f"name it, as {str(root / EMBODIMENTS / names[0])!r}",
            )  # fmt: skip
        (name,) = names
    policy = Policy(config.model.only(name))
    load_into(policy, config.model, _read_weights(root, config), file=root / WEIGHTS)
    policy.require_ready()
    robot = _read_robot(root, config.format, name)
    return Checkpoint(
        policy=policy.eval(),
        config=policy.config,
        weights=config.weights,
        embodiment_yaml=robot.embodiment_yaml,
        stats=robot.stats,
        card=_read_card(root, config.format),
        metrics=config.metrics,
        training=training,
    )


def load_multi_checkpoint(folder: str | Path) -> MultiCheckpoint:
    """Load the policies of all embodiments of a checkpoint folder, strictly.

    Raises:
        HptError: a file is missing, damaged or cut short, of a newer format, or does not fit the configuration.
    """
    root = Path(folder)
    config, training = read_config(root)
    policy = MultiPolicy(config.model)
    policy.load_tensors(_read_weights(root, config), what="the policy of config.yaml", file=root / WEIGHTS)
    policy.require_ready()
    return MultiCheckpoint(
        policy=policy.eval(),
        robots={name: _read_robot(root, config.format, name) for name in policy.names},
        weights=config.weights,
        card=_read_card(root, config.format),
        metrics=config.metrics,
        training=training,
    )


def first_policy(folder: str | Path) -> Policy:
    """A policy of the checkpoint, for what all its embodiments share: the trunk."""
    root, name = locate(Path(folder))
    if name is None and is_many(root):
        root = root / EMBODIMENTS / next(iter(read_config(root)[0].model.policies))
    return load_checkpoint(root if name is None else folder).policy


def _read_weights(root: Path, config: CheckpointConfig) -> dict[str, torch.Tensor]:
    """The weight file's tensors, float32 where they are no integers, if it is the one that was saved."""
    actual = sha256_of(root / WEIGHTS)
    if actual != config.weights.sha256:
        size = (root / WEIGHTS).stat().st_size
        raise CheckpointError(
            Code.DAMAGED, f"the file {str(root / WEIGHTS)!r} ({size} bytes)",
            problem=f"is not the one that was saved (sha256 {actual[:16]}, expected "
            f"{config.weights.sha256[:16]})",
            remedy="it was changed or cut short, so copy the checkpoint again",
        )  # fmt: skip
    return {
        name: value.to(torch.float32) if value.is_floating_point() else value
        for name, value in read_tensors(root / WEIGHTS).items()
    }


def _read_robot(root: Path, layout: int, name: str) -> RobotFiles:
    robot_folder = root if layout == FORMAT_OF_ONE else root / EMBODIMENTS / name
    return RobotFiles(
        (robot_folder / EMBODIMENT).read_text(encoding="utf-8"), _read_json(robot_folder / STATS)
    )


def _read_card(root: Path, layout: int) -> str:
    return (root / (CARD_OF_ONE if layout == FORMAT_OF_ONE else CARD)).read_text(encoding="utf-8")


def _tensors_to_store(policy: MultiPolicy, half_precision: bool) -> dict[str, torch.Tensor]:
    stored: dict[str, torch.Tensor] = {}
    for name, value in policy.tensors().items():
        tensor = value.detach().to("cpu")
        if tensor.is_floating_point():
            half = half_precision and not name.startswith(KEPT_FULL)
            tensor = tensor.to(torch.float16 if half else torch.float32)
            if not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(
                    Code.NOT_FINITE, f"the weight {name!r}",
                    problem=f"holds a value that is no finite number{' in float16' if half else ''}",
                    remedy=f"{'store it in full precision' if half else 'train again with a lower learning rate'}",
                )  # fmt: skip
        stored[name] = tensor.contiguous().clone()  # safetensors refuses tensors that share memory
    return stored


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(
            Code.UNREADABLE, f"the file {str(file)!r}", problem="is no JSON",
            remedy="copy the checkpoint again", cause=error,
        ) from error  # fmt: skip
    if not isinstance(data, dict):
        raise CheckpointError(
            Code.UNREADABLE, f"the file {str(file)!r}", problem="holds no JSON object",
            remedy="copy the checkpoint again",
        )  # fmt: skip
    return data
