# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One cell of a study: an ordinary run folder, and the file that says what came of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hpt_ros.atomic import write_text
from hpt_ros.errors import Code, HptError
from hpt_ros.learning.initial_weights import build_policy, completed, with_packaged_weights
from hpt_ros.learning.preparation import statistics_of
from hpt_ros.learning.reporter import Reporter, Silent
from hpt_ros.learning.resume_state import FILE
from hpt_ros.learning.train import train
from hpt_ros.structured import to_mapping
from hpt_ros.studies.budget import TRAINING, spent
from hpt_ros.studies.config import Cell, StudyConfig, recipe_of, start_of
from hpt_ros.studies.pool import Pool

RESULT = "result.json"
# What all cells of a folder have in common, and axes whose names may get more, but no other changes.
_SHARED = ("mixture", "recipe", "set", "held_out")
_NAMED = ("size", "variant", "start", "trunk")


def require_trainable(study: StudyConfig, cells: list[Cell], pool: Pool) -> None:
    """Build the policy of each kind of cell with its first weights, so that a mistake shows before the first hour.

    Raises:
        HptError: a recipe, its data or its weights do not fit; the error names the cell.
    """
    for cell in cells:
        recipe_of(study, cell)
    for cell in {(cell.episodes, cell.datasets): cell for cell in cells}.values():
        pool.of(cell)
    seen = set()
    for cell in cells:
        kind = (cell.datasets, cell.size, cell.variant, cell.start, cell.trunk)
        if kind in seen:
            continue
        seen.add(kind)
        recipe, mixture, start = recipe_of(study, cell), pool.of(cell), start_of(study, cell)
        try:
            recipe, start = completed(recipe, start), with_packaged_weights(recipe, start)
            build_policy(recipe, mixture, statistics_of(mixture, recipe), start, Silent().say)
        except HptError as error:
            raise error.within(f"cell {cell.name!r}") from error


def require_same(study: StudyConfig, out: Path) -> None:
    """Note in the study's folder what its cells have in common, or check that those that are there have it too.

    Axes may get more values, and seeds too; what a name stands for may not change.

    Raises:
        HptError: the folder has the runs of another study.
    """
    values = to_mapping(study)
    common: dict[str, Any] = {name: values[name] for name in _SHARED}
    for axis in _NAMED:
        common |= {f"{axis} {name}".rstrip(): value for name, value in (values.get(axis) or {}).items()}
    if study.evaluate is not None:  # more scenes and environments may be added
        added = ("environments", "scenes", "validation_scenes")
        chosen = to_mapping(study.evaluate).items()
        common |= {f"evaluate.{name}": value for name, value in chosen if name not in added}
    file = out / "study.json"
    there = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name, value in common.items():
        if name in there and there[name] != value:
            raise HptError(
                Code.MISMATCH, f"{name} of the study in {str(out)!r}", there[name], expected=f"{value!r}, as now",
                remedy="name another --out, or give what changed another name",
            )  # fmt: skip
    if there != there | common:
        write_text(file, json.dumps(there | common, indent=1) + "\n")


def read_result(cell: Cell, out: Path) -> dict[str, Any] | None:
    """Read what came of a cell's training; None if it is not done."""
    file = out / cell.name / RESULT
    if not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def samples_left(study: StudyConfig, cell: Cell, out: Path) -> int:
    """Return the samples of a cell's steps that are still to be trained; 0 of one that is done."""
    if read_result(cell, out) is not None:
        return 0
    recipe = recipe_of(study, cell)
    return max((recipe.iterations - _steps(out / cell.name)) * recipe.batch_size, 1)


def train_cell(
    study: StudyConfig, cell: Cell, out: Path, pool: Pool, report: Reporter, device: str = "auto"
) -> dict[str, Any]:
    """Train a cell, go on with one that was interrupted, or read what came of one that is done.

    Args:
        study: its configuration.
        cell: of it.
        out: the study's folder.
        pool: the study's data.
        report: where messages go.
        device: as of `train`.

    Raises:
        HptError: as `train`; the cell is of another study; KeyboardInterrupt after it was saved.
    """
    if (found := read_result(cell, out)) is not None:
        return found
    folder = out / cell.name
    mixture, recipe = pool.of(cell), recipe_of(study, cell)
    before = _steps(folder)
    with spent(folder, TRAINING, lambda: max(_steps(folder) - before, 0) * recipe.batch_size):
        result = train(
            mixture, recipe, folder, start=start_of(study, cell), resume=(folder / FILE).is_file(), device=device,
            report=report, command="hpt study",
        )  # fmt: skip
    if result.interrupted:
        raise KeyboardInterrupt
    lines = _metrics(folder)
    losses = [line["validation_loss"] for line in lines if "validation_loss" in line]
    values = {
        **asdict(cell),
        "validation_loss": losses[-1],
        "best_validation_loss": min(losses),
        "training_loss": [line["loss"] for line in lines if "lr" in line][-1],
        "iterations": recipe.iterations,
        "batch": recipe.batch_size,
        "training_episodes": sum(len(member.split.train) for member in mixture.members),
        "training_ticks": sum(len(member.windows) for member in mixture.members),
        "parameters": _parameters(folder),
        "tokens_per_sample": sum(
            member.fraction
            * sum(stem.tokens for stem in recipe.policy.with_streams_of(member.dataset.embodiment).stems)
            for member in mixture.members
        ),
        "curve": [[line["step"], line["validation_loss"]] for line in lines if "validation_loss" in line],
    }
    write_text(folder / RESULT, json.dumps(values, indent=1) + "\n")
    return values


def _metrics(folder: Path) -> list[dict[str, Any]]:
    file = folder / "metrics.jsonl"
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _steps(folder: Path) -> int:
    """Return the last step of which metrics tell."""
    return max((int(line["step"]) for line in _metrics(folder)), default=0)


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(str(folder / "last" / "model.safetensors"), "np") as file:
        return sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118 - no mapping
