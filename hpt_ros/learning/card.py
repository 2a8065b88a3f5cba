"""The card of a checkpoint: what it is and how it was made, for people."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any

import torch

from hpt_ros.learning.dataset import Dataset
from hpt_ros.learning.recipe import Recipe, recipe_mapping
from hpt_ros.learning.samples import Split
from hpt_ros.learning.start import Start
from hpt_ros.structured import dump_yaml


def write_card(
    dataset: Dataset, split: Split, recipe: Recipe, saved: dict[str, Any], *, command: str, start: Start
) -> str:
    """Markdown text; `saved` holds the step and, where there was a validation, its figures."""
    robot = dataset.embodiment
    tasks = sorted({episode.task for episode in dataset.episodes if episode.task})
    unit = robot.action.unit
    lines = [
        f"# HPT policy for {robot.name}",
        "",
        f"{robot.description or robot.name}; trained with `hpt finetune` on "
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}.",
        "",
        "## Made from",
        f"- data: `{dataset.root.name}`: {dataset.summary()}",
        f"- episodes: {len(split.train)} to train, {len(split.validation)} to validate "
        f"(indices {', '.join(str(episode.index) for episode in split.validation) or 'none'})",
        f"- tasks: {'; '.join(tasks) or 'none given'}",
        f"- trunk: {start.trunk or start.init or 'random (from scratch)'}",
        f"- image encoder: {start.image_encoder or start.init or 'random (from scratch)'}",
        f"- command: `{command or 'called from Python'}`",
        f"- code: {_commit()}; PyTorch {torch.__version__}",
        "",
        "## Figures",
        f"- step {saved['step']} of {recipe.iterations}, batch size {recipe.batch_size}",
    ]
    if "validation_error" in saved:
        lines += [
            f"- validation loss {saved['validation_loss']:.5f} (smooth L1 on normalised actions)",
            f"- mean absolute action error {saved['validation_error']:.5f} {unit}; per step of the chunk: "
            + ", ".join(f"{error:.4f}" for error in saved["validation_error_per_step"]),
        ]
    else:
        lines.append("- not validated at this step")
    lines += ["", "## Recipe", "```yaml", dump_yaml(recipe_mapping(recipe)).rstrip(), "```", ""]
    return "\n".join(lines)


def _commit() -> str:
    """The commit of the source tree that this runs from, where it is one."""
    folder = Path(__file__).resolve().parent
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
            ).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(folder)])
        )
    except (OSError, subprocess.SubprocessError):
        return "an installed package, no commit known"
    return f"commit {commit.strip()}{' with changes in hpt_ros/learning' if status.strip() else ''}"
