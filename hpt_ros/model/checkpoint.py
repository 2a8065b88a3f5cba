# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders: a policy with everything that running it needs.

| file | what it holds |
| --- | --- |
| config.yaml | format, the policy's configuration, the weights' hash, metrics, the training recipe |
| model.safetensors | every tensor of the policy, float32 or (half precision) float16 |
| embodiment.yaml | the embodiment file's text, unchanged |
| stats.json | statistics of the training data, and the sizes that its images had before they were resized |
| card.md | how it was made, for people |
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from hpt_ros.errors import Code, HptError
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.policy import Policy
from hpt_ros.model.sources import read_tensors, sha256_of
from hpt_ros.model.weights import load_strictly
from hpt_ros.model.writing import publish
from hpt_ros.structured import dump_yaml, field, read_dataclass, read_yaml_file, to_mapping

FORMAT = 1
CONFIG, WEIGHTS, EMBODIMENT, STATS, CARD = (
    "config.yaml",
    "model.safetensors",
    "embodiment.yaml",
    "stats.json",
    "card.md",
)
FILES = (CONFIG, WEIGHTS, EMBODIMENT, STATS, CARD)
KEPT_FULL = "normalizer."  # raw units span any range; half precision would shift what the robot is told


class CheckpointError(HptError):
    """A checkpoint folder cannot be written, or is missing, damaged or inconsistent."""


@dataclass(frozen=True, slots=True)
class WeightsInfo:
    """What config.yaml says of model.safetensors."""

    sha256: str = field("SHA-256 of model.safetensors")
    tensors: int = field("number of tensors", minimum=1)
    half_precision: bool = field("whether weights are stored as float16 (statistics never are)")


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """The fixed part of config.yaml."""

    format: int = field("version of the checkpoint's layout", minimum=1)
    policy: PolicyConfig = field("what was built")
    weights: WeightsInfo = field("the weight file")
    metrics: dict[str, float] = field("figures of the training run")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint. The policy is in evaluation mode, on the CPU, in float32."""

    policy: Policy
    config: PolicyConfig
    weights: WeightsInfo
    embodiment_yaml: str
    stats: Mapping[str, Any]
    card: str
    metrics: Mapping[str, float]
    training: Mapping[str, Any]


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
    """Write a checkpoint folder so that it is there whole or not at all, and return its path.

    Everything is written to a sibling folder first, which then takes the name. An older checkpoint of that name is
    replaced; any other folder is left alone.

    Args:
        folder: where to; parents are made.
        policy: with statistics set.
        embodiment_yaml: the embodiment file's text.
        stats: statistics of the training data, as plain values for JSON.
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
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.writing-", dir=target.parent))
    try:
        tensors = _tensors_to_store(policy, half_precision)
        save_file(tensors, work / WEIGHTS, metadata={"format": "pt"})
        config = CheckpointConfig(
            format=FORMAT,
            policy=policy.config,
            weights=WeightsInfo(sha256_of(work / WEIGHTS), len(tensors), half_precision),
            metrics={name: float(value) for name, value in (metrics or {}).items()},
        )
        mapping = to_mapping(config) | {"training": dict(training or {})}
        (work / CONFIG).write_text(dump_yaml(mapping), encoding="utf-8")
        (work / EMBODIMENT).write_text(embodiment_yaml, encoding="utf-8")
        (work / STATS).write_text(json.dumps(stats, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        text = card if isinstance(card, str) else card(config.weights.sha256)
        (work / CARD).write_text(text, encoding="utf-8")
        publish(work)
        _replace(work, target)
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise CheckpointError(
            Code.UNWRITABLE, f"the checkpoint {str(target)!r}", remedy="nothing was changed", cause=error
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load a checkpoint folder, strictly.

    Raises:
        HptError: a file is missing, damaged or cut short, of a newer format, or does not fit the configuration.
    """
    path = Path(folder)
    config, training = read_config(path)
    actual = sha256_of(path / WEIGHTS)
    if actual != config.weights.sha256:
        size = (path / WEIGHTS).stat().st_size
        raise CheckpointError(
            Code.DAMAGED, f"the file {str(path / WEIGHTS)!r} ({size} bytes)",
            problem=f"is not the one that was saved (sha256 {actual[:16]}, expected "
            f"{config.weights.sha256[:16]})",
            remedy="it was changed or cut short, so copy the checkpoint again",
        )  # fmt: skip
    tensors = {
        name: value.to(torch.float32) if value.is_floating_point() else value
        for name, value in read_tensors(path / WEIGHTS).items()
    }
    policy = Policy(config.policy)
    load_strictly(policy, tensors, what="the policy of config.yaml", file=path / WEIGHTS)
    policy.require_ready()
    return Checkpoint(
        policy=policy.eval(),
        config=config.policy,
        weights=config.weights,
        embodiment_yaml=(path / EMBODIMENT).read_text(encoding="utf-8"),
        stats=_read_json(path / STATS),
        card=(path / CARD).read_text(encoding="utf-8"),
        metrics=config.metrics,
        training=training,
    )


def read_config(folder: str | Path) -> tuple[CheckpointConfig, dict[str, Any]]:
    """Read a checkpoint's config.yaml (fixed part, training recipe) without building the policy.

    Raises:
        HptError: no folder, a missing file, an unknown format, or a configuration that does not fit the schema.
    """
    path = Path(folder)
    if not path.is_dir():
        raise CheckpointError(
            Code.INVALID, f"the checkpoint {str(path)!r}", problem="is no folder",
            remedy=f"give the folder that holds {CONFIG}",
        )  # fmt: skip
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise CheckpointError(
            Code.MISSING, f"the checkpoint {str(path)!r}", problem=f"lacks {', '.join(missing)}",
            remedy=f"a checkpoint has {', '.join(FILES)}, so copy it whole",
        )  # fmt: skip
    mapping = read_yaml_file(path / CONFIG)
    where = f"the checkpoint's {str(path / CONFIG)!r}"
    if mapping.get("format") != FORMAT:
        raise CheckpointError(
            Code.INVALID, f"{where}, format", mapping.get("format"),
            problem=f"is {{value}}, but this version reads format {FORMAT}",
            remedy="use the hpt_ros that wrote it",
        )  # fmt: skip
    training = mapping.pop("training", {})
    if not isinstance(training, dict):
        raise CheckpointError(
            Code.UNREADABLE, f"{where}, key 'training'", problem="is no mapping",
            remedy="copy the checkpoint again",
        )  # fmt: skip
    return read_dataclass(CheckpointConfig, mapping, where=where), training


def _tensors_to_store(policy: Policy, half_precision: bool) -> dict[str, torch.Tensor]:
    stored: dict[str, torch.Tensor] = {}
    for name, value in policy.state_dict().items():
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


def _replace(work: Path, target: Path) -> None:
    """Give `work` the name `target`; a checkpoint already there is moved aside first and deleted last."""
    if not target.exists():
        work.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    target.rename(old / target.name)
    try:
        work.rename(target)
    except OSError:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
