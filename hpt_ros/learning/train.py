# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The training loop of `hpt finetune` and `hpt pretrain`: reads top to bottom in the order in which it runs.

Shapes: B batch, T observation horizon, V views, H x W pixels, D state, K action horizon (chunk), A action dimensions.

A step's batch mixes samples of several datasets. Those of one dataset go through its robot's stems, the shared trunk
and its robot's head; the gradients of all are summed before the optimiser moves. Every random draw of a step (samples,
augmentation, dropout) comes from the seed, the step's number and the process's rank, so a run that is stopped and
resumed computes what the entire run would have computed; on one CPU bit for bit.
"""

from __future__ import annotations

import copy
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from hpt_ros.dataset import Dataset
from hpt_ros.devices import DEFAULT_DEVICE, choose_device
from hpt_ros.learning import run_folder
from hpt_ros.learning.batch_source import BatchSource, open_batch_source
from hpt_ros.learning.batches import BatchMaker, MicroBatch, step_seed
from hpt_ros.learning.distributed import Processes
from hpt_ros.learning.divergence import DivergenceWatch
from hpt_ros.learning.evaluation import summary, validate
from hpt_ros.learning.initial_weights import (
    InitialWeights,
    build_policy,
    complete_recipe,
    with_packaged_weights,
)
from hpt_ros.learning.loader import prefetch
from hpt_ros.learning.mixture import Mixture, mixture_of
from hpt_ros.learning.model_card import write_model_card
from hpt_ros.learning.optimiser import (
    build_optimiser,
    ema_decay_at,
    freeze,
    learning_rate,
    move_average,
    train_mode,
)
from hpt_ros.learning.preparation import statistics_of, tell_of
from hpt_ros.learning.recipe import Recipe, recipe_mapping
from hpt_ros.learning.reporter import Reporter, Silent
from hpt_ros.learning.resume_state import load_state, save_state
from hpt_ros.learning.run_log import RunFacts, RunLog
from hpt_ros.learning.sharded import Sharded, gather
from hpt_ros.learning.signals import interruptible
from hpt_ros.learning.statistics import retain
from hpt_ros.model import MultiPolicy, RobotFiles, save_multi_checkpoint
from hpt_ros.structured import dump_yaml


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended."""

    steps: int
    interrupted: bool
    # Least on validation episodes: of one embodiment the mean absolute action error in the action's unit, of several
    # the loss, averaged over embodiments.
    best_error: float | None
    samples_per_s: float
    data_wait_ratio: float  # of the steps' time, waiting for batches
    stopped_early: bool = False  # since validations had not become better for as long as the recipe says


class Losses(torch.nn.Module):
    """The loss as the forward pass of one module, which DistributedDataParallel wants."""

    def __init__(self, policy: MultiPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, batch: MicroBatch) -> Tensor:
        """Return the weighted loss, a scalar."""
        random = torch.Generator().manual_seed(batch.thinning)
        policy = self.policy.single(batch.embodiment)
        return policy.loss(batch.inputs, batch.action, batch.is_pad, thinning=random) * batch.weight


def train(
    data: Dataset | Mixture,
    recipe: Recipe,
    out: str | Path,
    *,
    start: InitialWeights | None = None,
    resume: bool = False,
    cache_root: str | Path | None = None,
    device: str = DEFAULT_DEVICE,
    report: Reporter | None = None,
    command: str = "",
    wandb: str = "",
    stop_after: int | None = None,
    processes: Processes | None = None,
    readers: int = 0,
) -> TrainingResult:
    """Train a policy and leave its checkpoints in the folder `out`.

    Args:
        data: demonstrations, opened: of one robot, or a mixture.
        recipe: everything else the result depends on.
        out: the run's folder: ``last/`` and ``best/`` (checkpoints), ``metrics.jsonl``, ``recipe.yaml``,
            ``train_state.pt`` (what `resume` needs), ``report.html``, ``tensorboard/``.
        start: where the weights come from; random ("from scratch") if None. A resumed run goes on with its own.
        resume: go on from ``out/train_state.pt``.
        cache_root: folder of decoded frames and cached features, see `open_cache`.
        device: see `choose_device`; that of `processes` if these are given.
        report: where messages go.
        command: the command line, for card and report.
        wandb: project of Weights & Biases that draws the run too; empty: none.
        stop_after: stop as Ctrl-C would once this many steps are done.
        processes: those that share the run's batches, see `hpt_ros.learning.distributed`; this one alone if None.
        readers: number of processes that make batches, for each process of the run; 0: a thread. It changes nothing
            but the speed.

    Raises:
        HptError: bad data, an `out` that already holds a run, a recipe that does not fit, a loss that is not finite.
    """
    if processes is None:
        chosen = choose_device(device)
        processes = Processes(device=chosen.name, reason=chosen.reason)
    report = (report or Silent()) if processes.first else Silent()
    device, out, start = processes.device, Path(out), start or InitialWeights()
    run_folder.require_usable(out, resume=resume)
    processes.require_divided(recipe.batch_size)
    report.say(f"device: {processes.device} ({processes.reason})")
    recipe, start = complete_recipe(recipe, start), with_packaged_weights(recipe, start)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)

    # --- data: episodes to train and to validate on, statistics of the former alone, frames from the cache
    mixture = data if isinstance(data, Mixture) else mixture_of(data, recipe.validation_ratio, recipe.seed)
    tell_of(mixture, report)
    robots, statistics = mixture.robots, statistics_of(mixture, recipe)

    # --- policy: random, then what `start` names; the averaged copy is the one that is validated and saved
    torch.manual_seed(recipe.seed)
    policy = build_policy(recipe, mixture, statistics, start, report.say, resume=resume).to(device)
    average = copy.deepcopy(policy).eval().requires_grad_(False)
    freeze(policy, recipe, recipe.iterations)  # what never learns
    losses: torch.nn.Module = Losses(policy)
    sharded = None
    if processes.world > 1 and recipe.shard:
        sharded = Sharded(losses, policy, average, processes)
    elif processes.world > 1:
        # Which embodiments a process has in a step differs, so it must be looked up which weights have no gradient.
        losses = DistributedDataParallel(losses, find_unused_parameters=True, forward_sync_buffers=False)
    optimiser = build_optimiser(policy, recipe)
    held: AbstractContextManager[Any] = run_folder.make(out) if processes.first else nullcontext()
    first, best = 0, None  # best: least validation error or loss, and its step
    if resume:
        first, best, start = load_state(out, policy, average, optimiser, recipe, mixture, sharded)
        report.say(f"resumed after step {first} of {recipe.iterations}")
    robot_files = {
        name: RobotFiles(
            robot.to_yaml(),
            retain(average.single(name).normaliser.statistics, mixture.of(name), recipe.statistics),
        )
        for name, robot in robots.items()
    }
    # Opened before images are decoded, which may take hours: what a tracker lacks is reported now.
    if processes.first:
        (out / "recipe.yaml").write_text(dump_yaml(recipe_mapping(recipe)), encoding="utf-8")
    facts = RunFacts(mixture, recipe, start, statistics, device, processes.world, command)
    log = RunLog(out, first, facts, first=processes.first, wandb=wandb, say=report.say)
    sources: list[BatchSource] = []
    for turn in range(2):  # the first process fills the caches, then the others open them
        if processes.first == (turn == 0):
            sources = [
                open_batch_source(
                    policy.single(member.embodiment), member.dataset, cache_root, report,
                    cache_features=recipe.cache_features and "image" in policy.single(member.embodiment).encoders,
                    changed=recipe.augment, copies=recipe.feature_copies,
                    name=member.name if len(mixture.members) > 1 else "",
                )
                for member in mixture.members
            ]  # fmt: skip
        if turn == 0:
            processes.wait_for_first()
    processes.wait()

    def save(step: int, measured: dict[str, Any]) -> None:
        nonlocal best
        score = measured.get("validation_error", measured.get("validation_loss", math.inf))
        better = score < (best[0] if best else math.inf)
        best = (float(score), step) if better else best
        if sharded:
            sharded.gather()
            shards = sharded.save(out, optimiser, step)
        if not processes.first:
            return
        saved = {"step": step, **measured}
        card = write_model_card(mixture, recipe, saved, command=command, start=start)
        for name in ("last", "best") if better else ("last",):
            save_multi_checkpoint(
                out / name,
                average,
                robot_files,
                card=card,
                metrics={key: value for key, value in saved.items() if isinstance(value, (int, float))}
                | {f"validation_loss {name}": f["loss"] for name, f in saved.get("validation", {}).items()},
                training=recipe_mapping(recipe),
            )
        tensors = shards if sharded else (policy, average, optimiser)
        save_state(out, tensors, recipe, mixture, step, best, start)

    # --- loop
    step, waited, began = first, 0.0, time.perf_counter()
    goal = recipe.iterations if stop_after is None else min(stop_after, recipe.iterations)
    logged_at, logged_step, saved_at, loss_sum = began, first, -1, torch.zeros((), device=device)
    logged_wait = 0.0
    use_autocast = recipe.precision == "bfloat16"
    kind = torch.device(device).type
    watch = DivergenceWatch(mixture, out, processes, lr=recipe.lr)
    patience = recipe.early_stopping * recipe.validation_every  # steps without a better one; 0: any number
    make = BatchMaker(mixture, sources, recipe, processes.rank, processes.world, sharded is not None, device)
    reading = prefetch(make, first, goal, readers=readers, pin=kind == "cuda")
    with interruptible() as interrupted, reading as batches, log, held:
        while step < goal and not processes.any(interrupted()):
            if patience and best and step >= best[1] + patience:
                break
            if step in (first, recipe.first_iterations):  # the trunk learns from the second step on
                freeze(policy, recipe, step)
                train_mode(policy, recipe, step)
            lr = learning_rate(recipe, step)
            for group in optimiser.param_groups:
                group["lr"] = lr * group["lr_scale"]
            asked = time.perf_counter()
            parts = batches.next()
            waited += time.perf_counter() - asked

            torch.manual_seed(step_seed(recipe.seed, step, 1, processes.rank))  # dropout and drop path
            optimiser.zero_grad(set_to_none=True)
            for number, part in enumerate(parts, 1):
                part = part.on(device)
                # Processes add up their gradients once a step, with the last part's.
                alone = isinstance(losses, DistributedDataParallel) and number < len(parts)
                with losses.no_sync() if alone else nullcontext():  # type: ignore[operator]
                    with torch.autocast(kind, dtype=torch.bfloat16, enabled=use_autocast):
                        loss = losses(part)
                    # DistributedDataParallel takes the mean of the processes' gradients; wanted is the sum.
                    (loss * processes.world).backward()
                loss_sum += loss.detach()
                watch.add_loss(step, part.member, part.samples, loss.detach())
            if recipe.gradient_clip:
                norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), recipe.gradient_clip)
                watch.add_gradient(step, gather(norm))
            optimiser.step()
            if sharded:
                sharded.move_average(ema_decay_at(recipe.ema_decay, step))
            else:
                move_average(average, policy, ema_decay_at(recipe.ema_decay, step))
            step += 1

            validates = step % recipe.validation_every == 0 or step == goal
            if validates or step % recipe.log_every == 0:
                watch.check()  # before anything is saved
            if step % recipe.log_every == 0 or step == goal:
                mean = float(processes.sum(loss_sum)) / (step - logged_step)
                now = time.perf_counter()
                rate = (step - logged_step) * recipe.batch_size / (now - logged_at)
                wait = (waited - logged_wait) / (now - logged_at)
                log.write(step, loss=mean, lr=lr, samples_per_s=rate, data_wait_ratio=wait)
                report.bar(
                    "training", step, recipe.iterations,
                    f"loss {mean:.4f}  lr {lr:.1e}  {rate:.0f} samples/s, {100 * wait:.0f} % waiting for data",
                )  # fmt: skip
                logged_at, logged_wait, logged_step = now, waited, step
                loss_sum = torch.zeros((), device=device)
            if validates:
                before = time.perf_counter()
                if sharded:
                    sharded.gather()
                measured = validate(average, mixture, sources, recipe, processes)
                log.note_validation(step, measured, average, sources)
                if measured:
                    report.say(f"step {step}: {summary(measured, robots)}")
                save(step, measured)
                saved_at = step
                logged_at += time.perf_counter() - before  # samples/s is of training alone
        early = bool(patience and best and best[1] + patience <= step < recipe.iterations)
        if saved_at != step and step < goal and not early:
            watch.check()
            save(step, {})
    processes.wait()
    spent = max(time.perf_counter() - began, 1e-9)
    done = (step - first) * recipe.batch_size
    stopped = step < recipe.iterations and not early
    return TrainingResult(step, stopped, best and best[0], done / spent, waited / spent, early)
