# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The card of a checkpoint: what it is and how it was made, for people."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any

import torch

from hpt_ros.learning.evaluation import errors_text
from hpt_ros.learning.initial_weights import RANDOM, InitialWeights
from hpt_ros.learning.mixture import Member, Mixture
from hpt_ros.learning.preparation import spans_text
from hpt_ros.learning.recipe import Recipe, recipe_mapping
from hpt_ros.model.head_config import HEADS
from hpt_ros.structured import dump_yaml


def write_model_card(
    mixture: Mixture, recipe: Recipe, saved: dict[str, Any], *, command: str, start: InitialWeights
) -> str:
    """Markdown text; `saved` holds the step and, where there was a validation, its figures."""
    names = list(mixture.robots)
    tasks = dict.fromkeys(task for name in names for task in mixture.tasks(name) if task)
    today = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"
    if len(names) == 1:
        robot = mixture.members[0].dataset.embodiment
        head = [
            f"# HPT policy for {robot.name}",
            "",
            f"{robot.description or robot.name}; trained with `hpt finetune` on {today}.",
        ]
    else:
        head = [
            f"# HPT trunk and policies for {len(names)} embodiments",
            "",
            f"{', '.join(names)}; trained with `hpt pretrain` on {today}.",
        ]
    lines = [
        *head,
        "",
        "## Made from",
        *(_data(mixture.members[0]) if len(mixture.members) == 1 else _table(mixture, recipe)),
        f"- tasks: {'; '.join(tasks) or 'none given'}",
        f"- trunk: {_trunk(recipe, start)}",
        *_encoders(recipe, start),
        f"- command: `{command or 'called from Python'}`",
        f"- code: {commit()}; PyTorch {torch.__version__}",
        "",
        "## Figures",
        f"- step {saved['step']} of {recipe.iterations}, batch size {recipe.batch_size}",
        *_figures(mixture, recipe, saved),
    ]
    lines += ["", "## Recipe", "```yaml", dump_yaml(recipe_mapping(recipe)).rstrip(), "```", ""]
    return "\n".join(lines)


def _data(member: Member) -> list[str]:
    split = member.split
    return [
        f"- data: `{member.dataset.root.name}`: {member.dataset.summary()}",
        f"- episodes: {len(split.train)} to train, {len(split.validation)} to validate "
        f"(indices {', '.join(str(episode.index) for episode in split.validation) or 'none'})",
    ]


def _table(mixture: Mixture, recipe: Recipe) -> list[str]:
    """Every dataset of a mixture, with its licence and its weight."""
    rows = [
        f"| `{member.name}` | {member.embodiment} | {spans_text(member.dataset.embodiment)} | {member.licence} | "
        f"{100 * member.fraction:.1f} % | "
        f"{len(member.split.train)} | {len(member.split.validation)} | {member.failed} | {member.capped} | "
        f"{len(member.windows)} | {epochs(recipe, member):.1f} |"
        for member in mixture.members
    ]
    return [
        "| dataset | embodiment | in time | licence | weight | episodes to train | to validate | left out as failed | "
        "over the cap | samples | epochs in all |",
        "|" + " --- |" * 11,
        *rows,
        "",
        "Each robot keeps its own rate: observations and chunks are ticks of it, and nothing is resampled.",
        "",
    ]


def epochs(recipe: Recipe, member: Member) -> float:
    """How often the whole run sees each training sample of a member, on average."""
    return recipe.iterations * recipe.batch_size * member.fraction / len(member.windows)


def _figures(mixture: Mixture, recipe: Recipe, saved: dict[str, Any]) -> list[str]:
    if "validation_loss" not in saved:
        return ["- not validated at this step"]
    loss = f"({HEADS[recipe.policy.head.kind].loss}, on normalised actions)"
    errors = {
        name: errors_text(mixture.robots[name], each, 5) for name, each in saved["validation_errors"].items()
    }
    if "validation" in saved:
        return [
            f"- validation loss {saved['validation_loss']:.5f} {loss}, the mean over embodiments",
            *(
                f"- {name}: validation loss {figures['loss']:.5f}, mean absolute action error {errors[name]}"
                for name, figures in saved["validation"].items()
            ),
        ]
    ((_, text),) = errors.items()
    per_step = ", ".join(f"{error:.4f}" for error in saved.get("validation_error_per_step", ()))
    return [
        f"- validation loss {saved['validation_loss']:.5f} {loss}",
        f"- mean absolute action error {text}{f'; per step of the chunk: {per_step}' if per_step else ''}",
    ]


def _trunk(recipe: Recipe, start: InitialWeights) -> str:
    depth = recipe.policy.trunk.depth
    shared = f", parts that robots share from {start.shared}" if start.shared else ""
    if not depth:
        return f"none (the baseline without a trunk){shared}"
    frozen = depth if recipe.freeze_trunk else recipe.freeze_blocks
    return f"{start.trunk or start.init or RANDOM}{f', {frozen} of {depth} blocks frozen' if frozen else ''}{shared}"


def _encoders(recipe: Recipe, start: InitialWeights) -> list[str]:
    """One line for each network before the stems."""
    policy, lines = recipe.policy, []
    if "image" in policy.modalities:
        encoder = policy.image_encoder
        cached = ", features computed once" if recipe.cache_features else ""
        source = start.image_encoder or start.init or RANDOM
        state = "trained" if encoder.trainable else "frozen"
        lines.append(f"- image encoder: {encoder.kind}, {source}, {state}{cached}")
    if "depth" in policy.modalities:
        lines.append(f"- depth encoder: {start.init or RANDOM}, trained")
    if "language" in policy.modalities:
        model = start.language_model or policy.language.model
        lines.append(
            f"- language model: {policy.language.kind}{f' {model}' if model else ''}; the embeddings of the tasks are "
            "in the checkpoint, so the robot needs no language model"
        )
    return lines


def commit() -> str:
    """Return the commit of the source tree that this runs from, where it is one."""
    folder = Path(__file__).resolve().parent
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
            ).stdout
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(folder)])
        )
    except (OSError, subprocess.SubprocessError):
        return "an installed package, no commit known"
    return f"commit {commit.strip()}{' with changes in hpt_ros/learning' if status.strip() else ''}"
