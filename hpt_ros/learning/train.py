# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The training loop: reads top to bottom in the order in which it runs.

Shapes: B batch, T observation horizon, V views, H x W pixels, D state, K action horizon (chunk), A action dimensions.

Every random draw of a step (order, augmentation, dropout) comes from the seed and the step's number, so a run that is
stopped and resumed computes what the whole run would have computed; on one CPU bit for bit.
"""

from __future__ import annotations

import copy
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpt_ros.dataset import Dataset
from hpt_ros.dataset.metadata import read_image_sizes
from hpt_ros.errors import HptError
from hpt_ros.learning.augment import augment_images, augment_state
from hpt_ros.learning.card import write_card
from hpt_ros.learning.evaluation import validate
from hpt_ros.learning.interrupt import interruptible
from hpt_ros.learning.loader import prefetched
from hpt_ros.learning.metrics import Metrics
from hpt_ros.learning.optimiser import build_optimiser, ema_decay_at, learning_rate, move_average, train_mode
from hpt_ros.learning.recipe import Recipe, recipe_mapping
from hpt_ros.learning.reporter import Reporter, Silent
from hpt_ros.learning.samples import Split, Windows, samples_at, split_episodes
from hpt_ros.learning.source import open_source
from hpt_ros.learning.start import Start, build_policy, completed
from hpt_ros.learning.state import load_state, save_state
from hpt_ros.learning.statistics import training_statistics
from hpt_ros.model import Statistics, save_checkpoint
from hpt_ros.structured import dump_yaml


class TrainError(HptError):
    """The run cannot start, or its numbers went bad."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    steps: int
    interrupted: bool
    best_error: float | None  # mean absolute action error on validation episodes, in the action's unit
    samples_per_s: float
    data_wait_share: float  # of the steps' time, waiting for batches


def train(
    dataset: Dataset,
    recipe: Recipe,
    out: str | Path,
    *,
    start: Start | None = None,
    resume: bool = False,
    cache_root: str | Path | None = None,
    device: str = "cpu",
    report: Reporter | None = None,
    command: str = "",
    stop_after: int | None = None,
) -> Result:
    """Train a policy and leave its checkpoints in the folder `out`.

    Args:
        dataset: demonstrations, opened.
        recipe: everything else the result depends on.
        out: the run's folder: ``last/`` and ``best/`` (checkpoints), ``metrics.jsonl``, ``recipe.yaml``,
            ``train_state.pt`` (what `resume` needs).
        start: where the weights come from; random ("from scratch") if None. A resumed run goes on with its own.
        resume: go on from ``out/train_state.pt``.
        cache_root: folder of decoded frames and cached features, see `open_cache`.
        device: "cpu", "cuda", "cuda:1".
        report: where messages go.
        command: the command line, for the card.
        stop_after: stop as Ctrl-C would once this many steps are done.

    Raises:
        HptError: bad data, an `out` that already holds a run, a recipe that does not fit, a loss that is not finite.
    """
    report, out, start = report or Silent(), Path(out), start or Start()
    _check_out(out, resume)
    recipe = completed(recipe, start)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)

    # --- data: episodes to train and to validate on, statistics of the former alone, frames from the cache
    split = split_episodes(dataset, recipe.validation_share, recipe.seed)
    report.say(
        f"data: {dataset.summary()}; {len(split.train)} episodes train, {len(split.validation)} validate"
    )
    statistics = training_statistics(dataset, split, recipe.policy.modalities)
    horizons = dataset.embodiment.observation_horizon, dataset.embodiment.action.horizon
    windows = Windows.of(split.train, *horizons)

    # --- policy: random, then what `start` names; the averaged copy is the one that is validated and saved
    torch.manual_seed(recipe.seed)
    policy = build_policy(
        recipe, dataset.embodiment, statistics, start, report.say, dataset.tasks, resume=resume
    ).to(device)
    average = copy.deepcopy(policy).eval().requires_grad_(False)
    optimiser = build_optimiser(policy, recipe)
    first, best = 0, None
    if resume:
        first, best, start = load_state(out, policy, average, optimiser, recipe, dataset)
        report.say(f"resumed after step {first} of {recipe.iterations}")
    source = open_source(policy, dataset, cache_root, report, cache_features=recipe.cache_features)
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.yaml").write_text(dump_yaml(recipe_mapping(recipe)), encoding="utf-8")
    metrics = Metrics(out / "metrics.jsonl", first)

    def make(step: int) -> dict[str, Tensor]:
        """One augmented batch, on the CPU; runs in the background thread."""
        samples = samples_at(step, recipe.batch_size, len(windows), recipe.seed)
        batch = source.batch(windows, samples)
        tensors = {key: torch.from_numpy(values) for key, values in batch.inputs.items()}
        # Each has random numbers of its own, so that one that is not there does not change the other's.
        if "image" in tensors:
            random = torch.Generator().manual_seed(_step_seed(recipe.seed, step, 0))
            tensors["image"] = augment_images(tensors["image"], recipe.augment, random)
        if "state" in tensors:
            random = torch.Generator().manual_seed(_step_seed(recipe.seed, step, 2))
            tensors["state"] = augment_state(tensors["state"], recipe.augment, random)
        return {
            **tensors,
            "action": torch.from_numpy(batch.action),  # (B, K, A)
            "is_pad": torch.from_numpy(batch.is_pad),  # (B, K)
        }

    image_sizes = read_image_sizes(dataset.root)

    def save(step: int, measured: dict[str, Any]) -> None:
        nonlocal best
        saved = {"step": step, **measured}
        error = measured.get("validation_error")
        better = error is not None and (best is None or error < best)
        best = error if better else best
        for name in ("last", "best") if better else ("last",):
            card = write_card(dataset, split, recipe, saved, command=command, start=start)
            save_checkpoint(
                out / name,
                average,
                embodiment_yaml=dataset.embodiment.to_yaml(),
                stats=_plain(statistics, split) | {"image_sizes": image_sizes},
                card=card,
                metrics={key: value for key, value in saved.items() if isinstance(value, (int, float))},
                training=recipe_mapping(recipe),
            )
        save_state(out, policy, average, optimiser, recipe, dataset, step, best, start)

    # --- loop
    step, waited, began = first, 0.0, time.perf_counter()
    goal = recipe.iterations if stop_after is None else min(stop_after, recipe.iterations)
    logged_at, logged_step, saved_at, loss_sum = began, first, -1, torch.zeros((), device=device)
    use_autocast = recipe.precision == "bfloat16"
    kind = torch.device(device).type
    train_mode(policy, recipe)
    with interruptible() as interrupted, prefetched(make, first, goal) as batches:
        while step < goal and not interrupted():
            lr = learning_rate(recipe, step)
            for group in optimiser.param_groups:
                group["lr"] = lr * group["lr_scale"]
            asked = time.perf_counter()
            batch = {key: value.to(device, non_blocking=True) for key, value in batches.next().items()}
            waited += time.perf_counter() - asked

            torch.manual_seed(_step_seed(recipe.seed, step, 1))  # dropout, drop path, horizon masking
            inputs = {key: values for key, values in batch.items() if key not in ("action", "is_pad")}
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=use_autocast):
                loss = policy.loss(inputs, batch["action"], batch["is_pad"])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.gradient_clip:
                torch.nn.utils.clip_grad_norm_(policy.parameters(), recipe.gradient_clip)
            optimiser.step()
            move_average(average, policy, ema_decay_at(recipe.ema_decay, step))
            loss_sum += loss.detach()
            step += 1

            if step % recipe.log_every == 0 or step == goal:
                now = time.perf_counter()
                mean = float(loss_sum) / (step - logged_step)
                if not math.isfinite(mean):
                    raise TrainError(
                        f"the loss became {mean} within the {recipe.log_every} steps before step {step}; the "
                        f"checkpoints in {str(out)!r} are from before it: lower lr ({recipe.lr:g}) and go on from them "
                        "with --init"
                    )
                rate = (step - logged_step) * recipe.batch_size / (now - logged_at)
                metrics.write(
                    step=step, loss=mean, lr=lr, samples_per_s=rate, data_wait_share=waited / (now - began)
                )
                report.bar(
                    "training", step, recipe.iterations, f"loss {mean:.4f}  lr {lr:.1e}  {rate:.0f} samples/s"
                )
                logged_at, logged_step, loss_sum = now, step, torch.zeros((), device=device)
            if step % recipe.validation_every == 0 or step == goal:
                before = time.perf_counter()
                measured = validate(average, source, split, recipe)
                if measured:
                    metrics.write(step=step, **measured)
                    report.say(
                        f"step {step}: validation loss {measured['validation_loss']:.4f}, action error "
                        f"{measured['validation_error']:.4f} {dataset.embodiment.action.unit}"
                    )
                save(step, measured)
                saved_at = step
                logged_at += time.perf_counter() - before  # samples/s is of training alone
        if interrupted() and saved_at != step:
            save(step, {})
    spent = max(time.perf_counter() - began, 1e-9)
    done = (step - first) * recipe.batch_size
    return Result(step, step < recipe.iterations, best, done / spent, waited / spent)


def _plain(statistics: dict[str, Statistics], split: Split) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: {part: getattr(values, part).tolist() for part in ("min", "max", "mean", "std")}
        for name, values in statistics.items()
    }
    return figures | {"samples": sum(episode.length for episode in split.train)}


def _check_out(out: Path, resume: bool) -> None:
    if (
        not resume
        and out.is_dir()
        and any((out / name).exists() for name in ("train_state.pt", "last", "best"))
    ):
        raise TrainError(
            f"{str(out)!r} already holds a training run; add --resume to go on with it, or name another folder "
            "with --out"
        )
    if out.exists() and not out.is_dir():
        raise TrainError(
            f"{str(out)!r} is a file, but a folder for the run was expected; name another with --out"
        )
    if shutil.disk_usage(_existing(out)).free < 64 * 1024 * 1024:
        raise TrainError(
            f"the disk of {str(out)!r} has less than 64 MiB free; make room or name another folder with --out"
        )


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.absolute().parent)


def _step_seed(seed: int, step: int, use: int) -> int:
    return int(np.random.SeedSequence([seed, step, use]).generate_state(1, np.uint64)[0]) >> 1
