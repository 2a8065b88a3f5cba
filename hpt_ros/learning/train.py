"""The training loop: reads top to bottom in the order in which it runs.

Shapes: B batch, T observation horizon, V views, H x W pixels, D state, K action horizon (chunk), A action dimensions.

Every random draw of a step (order, augmentation, dropout) comes from the seed and the step's number, so a run that is
stopped and resumed computes what the whole run would have computed; on one CPU bit for bit.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.errors import HptError
from hpt_ros.learning.augment import augment_images, augment_state
from hpt_ros.learning.cache import open_cache
from hpt_ros.learning.card import write_card
from hpt_ros.learning.dataset import Dataset
from hpt_ros.learning.interrupt import interruptible
from hpt_ros.learning.loader import prefetched
from hpt_ros.learning.recipe import Recipe, recipe_mapping
from hpt_ros.learning.reporter import Reporter, Silent
from hpt_ros.learning.samples import Split, Windows, gather, samples_at, split_episodes
from hpt_ros.learning.start import Start, build_policy
from hpt_ros.learning.state import load_state, save_state
from hpt_ros.model import Policy, Statistics, save_checkpoint
from hpt_ros.structured import dump_yaml

ADAM_BETAS = (0.9, 0.95)  # as usual for transformers since GPT-3 (arXiv 2005.14165, appendix B)


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
        start: where the weights come from; random ("from scratch") if None.
        resume: go on from ``out/train_state.pt``.
        cache_root: folder of the frame cache, see `open_cache`.
        device: "cpu", "cuda", "cuda:1".
        report: where messages go.
        command: the command line, for the card.
        stop_after: stop as Ctrl-C would once this many steps are done.

    Raises:
        HptError: bad data, an `out` that already holds a run, a recipe that does not fit, a loss that is not finite.
    """
    report, out = report or Silent(), Path(out)
    _check_out(out, resume)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)

    # --- data: episodes to train and to validate on, statistics of the former alone, frames from the cache
    split = split_episodes(dataset, recipe.validation_share, recipe.seed)
    report.say(
        f"data: {dataset.summary()}; {len(split.train)} episodes train, {len(split.validation)} validate"
    )
    statistics = training_statistics(dataset, split)
    frames = open_cache(dataset, cache_root, progress=lambda done, total: report.bar("decoding", done, total))
    report.say(f"frames: {frames.note}")
    horizons = dataset.embodiment.observation_horizon, dataset.embodiment.action.horizon
    windows = Windows.of(split.train, *horizons)

    # --- policy: random, then what `start` names; the averaged copy is the one that is validated and saved
    torch.manual_seed(recipe.seed)
    policy = build_policy(recipe, dataset.embodiment, statistics, start or Start(), report.say).to(device)
    average = copy.deepcopy(policy).eval().requires_grad_(False)
    optimiser = _optimiser(policy, recipe)
    first, best = 0, None
    if resume:
        first, best = load_state(out, policy, average, optimiser, recipe, dataset)
        report.say(f"resumed after step {first} of {recipe.iterations}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.yaml").write_text(dump_yaml(recipe_mapping(recipe)), encoding="utf-8")
    metrics = Metrics(out / "metrics.jsonl", first)

    def make(step: int) -> dict[str, Tensor]:
        """One augmented batch, on the CPU; runs in the background thread."""
        batch = gather(
            dataset, frames.frames, windows, samples_at(step, recipe.batch_size, len(windows), recipe.seed)
        )
        random = torch.Generator().manual_seed(_step_seed(recipe.seed, step, 0))
        return {
            "image": augment_images(
                torch.from_numpy(batch.image), recipe.augment, random
            ),  # (B, T, V, H, W, 3) uint8
            "state": augment_state(torch.from_numpy(batch.state), recipe.augment, random),  # (B, T, D)
            "action": torch.from_numpy(batch.action),  # (B, K, A)
            "is_pad": torch.from_numpy(batch.is_pad),  # (B, K)
        }

    def save(step: int, measured: dict[str, Any]) -> None:
        nonlocal best
        saved = {"step": step, **measured}
        error = measured.get("validation_error")
        better = error is not None and (best is None or error < best)
        best = error if better else best
        for name in ("last", "best") if better else ("last",):
            card = write_card(dataset, split, recipe, saved, command=command, start=start or Start())
            save_checkpoint(
                out / name,
                average,
                embodiment_yaml=dataset.embodiment.to_yaml(),
                stats=_plain(statistics, split),
                card=card,
                metrics={key: value for key, value in saved.items() if isinstance(value, (int, float))},
                training=recipe_mapping(recipe),
            )
        save_state(out, policy, average, optimiser, recipe, dataset, step, best)

    # --- loop
    step, waited, began = first, 0.0, time.perf_counter()
    goal = recipe.iterations if stop_after is None else min(stop_after, recipe.iterations)
    logged_at, logged_step, saved_at, loss_sum = began, first, -1, torch.zeros((), device=device)
    use_autocast = recipe.precision == "bfloat16"
    kind = torch.device(device).type
    _train_mode(policy, recipe)
    with interruptible() as interrupted, prefetched(make, first, goal) as batches:
        while step < goal and not interrupted():
            lr = learning_rate(recipe, step)
            for group in optimiser.param_groups:
                group["lr"] = lr * group["lr_scale"]
            asked = time.perf_counter()
            batch = {key: value.to(device, non_blocking=True) for key, value in batches.next().items()}
            waited += time.perf_counter() - asked

            torch.manual_seed(_step_seed(recipe.seed, step, 1))  # dropout, drop path, horizon masking
            inputs = {key: batch[key] for key in _inputs(policy)}
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=use_autocast):
                loss = policy.loss(inputs, batch["action"], batch["is_pad"])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.gradient_clip:
                torch.nn.utils.clip_grad_norm_(policy.parameters(), recipe.gradient_clip)
            optimiser.step()
            _move_average(average, policy, ema_decay_at(recipe.ema_decay, step))
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
                measured = _validate(average, dataset, frames.frames, split, recipe)
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


def training_statistics(dataset: Dataset, split: Split) -> dict[str, Statistics]:
    """Statistics of the state (if any) and the action over the training episodes alone."""
    rows = np.concatenate([np.arange(episode.start, episode.stop) for episode in split.train])
    statistics = {"action": Statistics.of(dataset.action[rows])}
    if dataset.state.shape[1]:
        statistics["state"] = Statistics.of(dataset.state[rows])
    return statistics


def _plain(statistics: dict[str, Statistics], split: Split) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: {part: getattr(values, part).tolist() for part in ("min", "max", "mean", "std")}
        for name, values in statistics.items()
    }
    return figures | {"samples": sum(episode.length for episode in split.train)}


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step (Loshchilov and Hutter, arXiv 1608.03983)."""
    if step < recipe.warmup_iterations:
        return recipe.lr * (step + 1) / recipe.warmup_iterations
    share = (step - recipe.warmup_iterations) / (recipe.iterations - recipe.warmup_iterations)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * share))


def ema_decay_at(decay: float, step: int) -> float:
    """Decay of the averaged weights: low at first, so that the random start is soon forgotten."""
    return min(decay, (1 + step) / (10 + step))


def action_error(
    policy: Policy,
    dataset: Dataset,
    frames: NDArray[np.uint8],
    windows: Windows,
    samples: NDArray[np.int64],
    batch_size: int,
) -> tuple[float, NDArray[np.float64]]:
    """Loss, and mean absolute error of the chunk's steps (K,) in the action's unit, over some samples.

    The policy must be in evaluation mode. Steps beyond an episode's end do not count.
    """
    absolute = np.zeros(windows.action_horizon)
    counts = np.zeros(windows.action_horizon)
    loss = 0.0
    for place in range(0, len(samples), batch_size):
        chosen = samples[place : place + batch_size]
        batch = gather(dataset, frames, windows, chosen)
        inputs = {key: getattr(batch, key) for key in _inputs(policy)}
        with torch.inference_mode():
            loss += float(policy.loss(inputs, batch.action, batch.is_pad)) * len(chosen)
            predicted = policy.predict(inputs).float().cpu().numpy()  # (B, K, A)
        real = ~batch.is_pad  # (B, K)
        absolute += (np.abs(predicted - batch.action).mean(2) * real).sum(0)
        counts += real.sum(0)
    return loss / len(samples), absolute / np.maximum(counts, 1)


class Metrics:
    """Appends JSON lines; a resumed run first drops the lines after the step that it goes on from."""

    def __init__(self, path: Path, after: int) -> None:
        kept = []
        if path.is_file() and after:
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # the line that was being written when the power went
                    continue
                if entry.get("step", 0) <= after:
                    kept.append(line)
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._path = path

    def write(self, **values: Any) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


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


def _inputs(policy: Policy) -> tuple[str, ...]:
    return policy.config.modalities


def _step_seed(seed: int, step: int, use: int) -> int:
    return int(np.random.SeedSequence([seed, step, use]).generate_state(1, np.uint64)[0] >> 1)


def _train_mode(policy: Policy, recipe: Recipe) -> None:
    policy.train()
    if recipe.freeze_trunk:
        policy.trunk.eval()  # no drop path in a trunk that does not learn


def _optimiser(policy: Policy, recipe: Recipe) -> torch.optim.AdamW:
    groups: list[dict[str, Any]] = []
    scales = {"encoders": recipe.lr_scale_encoder, "stems": 1.0, "trunk": recipe.lr_scale_trunk, "heads": 1.0}
    if recipe.freeze_trunk:
        for parameter in policy.part("trunk"):
            parameter.requires_grad_(False)
    for part, scale in scales.items():
        learned = [parameter for parameter in policy.part(part) if parameter.requires_grad]
        for decayed in (True, False):
            chosen = [parameter for parameter in learned if is_decayed(parameter) == decayed]
            if chosen:
                decay = recipe.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "lr_scale": scale, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=ADAM_BETAS)


def is_decayed(parameter: Tensor) -> bool:
    """Matrices and convolutions of any dimension are decayed; biases, norms and learnable tokens (1, n, d) are not."""
    return parameter.ndim >= 2 and not (parameter.ndim == 3 and parameter.shape[0] == 1)


@torch.no_grad()
def _move_average(average: Policy, policy: Policy, decay: float) -> None:
    pairs = [
        (a, p) for a, p in zip(average.parameters(), policy.parameters(), strict=True) if p.requires_grad
    ]
    if pairs:
        torch._foreach_lerp_([a for a, _ in pairs], [p for _, p in pairs], 1.0 - decay)
    for a, b in zip(average.buffers(), policy.buffers(), strict=True):
        a.copy_(b)


def _validate(
    average: Policy, dataset: Dataset, frames: NDArray[np.uint8], split: Split, recipe: Recipe
) -> dict[str, Any]:
    if not split.validation:
        return {}
    windows = Windows.of(
        split.validation, dataset.embodiment.observation_horizon, dataset.embodiment.action.horizon
    )
    count = min(recipe.validation_samples, len(windows))
    samples = np.linspace(0, len(windows) - 1, count).round().astype(np.int64)
    loss, errors = action_error(average, dataset, frames, windows, samples, recipe.batch_size)
    return {
        "validation_loss": loss,
        "validation_error": float(errors.mean()),
        "validation_error_per_step": [round(float(error), 6) for error in errors],
    }
