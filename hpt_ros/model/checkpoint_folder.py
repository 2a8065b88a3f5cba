# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where a checkpoint is, what files it has, and what its configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.errors import Code, HptError
from hpt_ros.model.config import upgrade_policy, with_current_keys
from hpt_ros.model.multi import MultiPolicyConfig
from hpt_ros.structured import field, read_dataclass, read_yaml_file

FORMAT, FORMAT_OF_ONE = 2, 1
CONFIG, WEIGHTS, CARD = "config.yaml", "model.safetensors", "README.md"
EMBODIMENTS, EMBODIMENT, STATS = "embodiments", "embodiment.yaml", "stats.json"
CARD_OF_ONE = "card.md"


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
    model: MultiPolicyConfig = field("what was built")
    weights: WeightsInfo = field("the weight file")
    metrics: dict[str, float] = field("figures of the training run")


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
    _require_files(path, (CONFIG, WEIGHTS))
    mapping = read_yaml_file(path / CONFIG)
    where = f"the checkpoint's {str(path / CONFIG)!r}"
    if mapping.get("format") not in (FORMAT, FORMAT_OF_ONE):
        raise CheckpointError(
            Code.INVALID, f"{where}, format", mapping.get("format"),
            problem=f"is {{value}}, but this version reads formats {FORMAT_OF_ONE} and {FORMAT}",
            remedy="use the hpt_ros that wrote it",
        )  # fmt: skip
    if mapping["format"] == FORMAT_OF_ONE and isinstance(mapping.get("policy"), dict):
        policy = mapping.pop("policy")
        mapping["model"] = {"policies": {str(policy.get("embodiment")): policy}}
    training = mapping.pop("training", {})
    if not isinstance(training, dict):
        raise CheckpointError(
            Code.UNREADABLE, f"{where}, key 'training'", problem="is no mapping",
            remedy="copy the checkpoint again",
        )  # fmt: skip
    policies = mapping["model"].get("policies") if isinstance(mapping.get("model"), dict) else None
    if isinstance(policies, dict):
        mapping["model"] = with_current_keys(mapping["model"])
        mapping["model"]["policies"] = {name: upgrade_policy(policy) for name, policy in policies.items()}
    config = read_dataclass(CheckpointConfig, mapping, where=where)
    _require_files(
        path,
        [CARD_OF_ONE, EMBODIMENT, STATS]
        if config.format == FORMAT_OF_ONE
        else [CARD, *(f"{EMBODIMENTS}/{n}/{f}" for n in config.model.policies for f in (EMBODIMENT, STATS))],
    )
    return config, training


def is_many(folder: str | Path) -> bool:
    """Whether a folder is a checkpoint of several embodiments, and not the folder of one of them."""
    root, name = locate(Path(folder))
    return name is None and len(read_config(root)[0].model.policies) > 1


def locate(path: Path) -> tuple[Path, str | None]:
    """Return the checkpoint's folder, and the name of the embodiment if `path` is one's folder in it."""
    if path.parent.name == EMBODIMENTS and (path.parent.parent / CONFIG).is_file():
        return path.parent.parent, path.name
    return path, None


def _require_files(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (path / name).is_file()]
    top = path.parent.parent
    if CONFIG in missing and path.parent.name == EMBODIMENTS and (top / CONFIG).is_file():
        raise CheckpointError(
            Code.INVALID, f"the folder {str(path)!r}", problem="is of one robot of a checkpoint",
            expected="the whole checkpoint", remedy=f"give {str(top)!r}",
        )  # fmt: skip
    of_run = [path / name for name in ("best", "last") if (path / name / CONFIG).is_file()]
    if CONFIG in missing and of_run:
        raise CheckpointError(
            Code.INVALID, f"the folder {str(path)!r}", problem="is a training run and no checkpoint",
            remedy=f"give the run's own, {str(of_run[0])!r}",
        )  # fmt: skip
    if missing:
        raise CheckpointError(
            Code.MISSING, f"the checkpoint {str(path)!r}", problem=f"lacks {', '.join(missing)}",
            remedy=f"a checkpoint has {CONFIG}, {WEIGHTS}, {CARD} and {EMBODIMENTS}/NAME/ with {EMBODIMENT} "
            f"and {STATS}, so copy it whole",
        )  # fmt: skip
