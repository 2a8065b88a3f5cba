# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a run would train, and what it would take: a few real optimiser steps on the real network, nothing written.

States, actions and episodes are the data's; images are random, since decoding them would fill a cache.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.learning.batch_source import BatchSource, task_places
from hpt_ros.learning.batches import BatchMaker, MicroBatch
from hpt_ros.learning.distributed import Processes
from hpt_ros.learning.initial_weights import InitialWeights, build_policy, completed, with_packaged_weights
from hpt_ros.learning.mixture import Member, Mixture
from hpt_ros.learning.optimiser import build_optimiser, freeze, train_mode
from hpt_ros.learning.preparation import statistics_of, tell_of
from hpt_ros.learning.recipe import Recipe
from hpt_ros.learning.reporter import Reporter
from hpt_ros.learning.train import Losses
from hpt_ros.model import Policy
from hpt_ros.model.encoders import feature_shape
from hpt_ros.model.memory_estimate import training_peak_bytes

TIMED_STEPS = 3  # after one that warms up, and is where memory is counted


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would take.

    Attributes:
        parameters: of all policies; `learned` of them learn at some time.
        standing_bytes: weights, averaged weights and AdamW's two moments.
        step_bytes: most that a step has alive on top: the batch, activations and gradients.
        step_s: median of the timed steps.
        iterations: of the run.
        frames: of all cameras, to be decoded before the first step if they are not cached yet.
    """

    parameters: int
    learned: int
    standing_bytes: int
    step_bytes: int
    step_s: float
    iterations: int
    frames: int

    def lines(self) -> list[str]:
        """Return it for people."""
        total = self.standing_bytes + self.step_bytes
        return [
            f"{self.learned:,} of {self.parameters:,} parameters learn",
            f"memory: about {_mib(total)} ({_mib(self.standing_bytes)} of weights, averages and optimiser, "
            f"{_mib(self.step_bytes)} in a step), beside PyTorch itself and cached frames",
            f"time: about {_duration(self.iterations * self.step_s)} for {self.iterations} steps of "
            f"{self.step_s:.3g} s ({TIMED_STEPS} timed, on random images), beside decoding {self.frames:,} frames if "
            "they are not cached, and validation",
            "nothing was written",
        ]


def dry_run(
    mixture: Mixture, recipe: Recipe, start: InitialWeights, report: Reporter, processes: Processes
) -> DryRun:
    """Say what a run would be made of, and measure a few of its steps.

    Args:
        mixture: the data.
        recipe: of the run.
        start: where its weights would come from; they are loaded.
        report: where data and parts are said.
        processes: this one alone, with its device.

    Raises:
        HptError: whatever would keep the run from its first step.
    """
    processes.require_divided(recipe.batch_size)
    report.say(f"device: {processes.device} ({processes.reason})")
    recipe, start = completed(recipe, start), with_packaged_weights(recipe, start)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tell_of(mixture, report)
    torch.manual_seed(recipe.seed)
    policy = build_policy(recipe, mixture, statistics_of(mixture, recipe), start, report.say).to(
        processes.device
    )
    last = recipe.iterations - 1  # the step in which the most learns
    freeze(policy, recipe, last)
    train_mode(policy, recipe, last)
    optimiser, losses = build_optimiser(policy, recipe), Losses(policy)
    for group in optimiser.param_groups:
        group["lr"] = 0.0  # the steps are real, but lead nowhere
    sources = [_stand_in(policy.single(m.embodiment), m, recipe) for m in mixture.members]
    make = BatchMaker(mixture, sources, recipe, device=processes.device)

    def step(parts: Iterable[MicroBatch]) -> None:
        optimiser.zero_grad(set_to_none=True)
        for part in parts:
            with torch.autocast(
                torch.device(processes.device).type, torch.bfloat16, enabled=recipe.precision == "bfloat16"
            ):
                loss = losses(part.on(processes.device))
            loss.backward()

    step_bytes = training_peak_bytes(lambda: step(make(0)), processes.device)
    times = []
    for number in range(TIMED_STEPS):
        parts = make(number + 1)
        began = time.perf_counter()
        step(parts)
        optimiser.step()
        if torch.device(processes.device).type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    weights = sum(value.numel() * value.element_size() for value in policy.tensors().values())
    learned = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    return DryRun(
        parameters=sum(p.numel() for p in policy.parameters()),
        learned=learned,
        standing_bytes=2 * weights + 2 * 4 * learned,
        step_bytes=step_bytes,
        step_s=statistics.median(times),
        iterations=recipe.iterations,
        frames=sum(m.dataset.length * len(m.dataset.embodiment.image_streams) for m in mixture.members),
    )


def _stand_in(policy: Policy, member: Member, recipe: Recipe) -> BatchSource:
    """The source of a member, with one random frame, or its features, in place of all."""
    dataset, config = member.dataset, policy.config
    random = np.random.default_rng(recipe.seed)
    frames: NDArray[np.uint8] | None = None
    features = {}
    if "image" in config.modalities:
        shape = (config.views, *config.image_size(), 3)
        frame = random.integers(0, 256, shape, dtype=np.uint8)
        frames = np.broadcast_to(frame, (dataset.length, *shape))
        if recipe.cache_features:
            cell = random.normal(size=(config.views, *feature_shape(config))).astype(np.float32)
            features["image"] = np.broadcast_to(cell, (dataset.length, *cell.shape))
    tasks = task_places(policy, dataset) if "language" in config.modalities else None
    return BatchSource(dataset, config.modalities, frames, features, tasks=tasks)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _duration(seconds: float) -> str:
    for limit, unit, each in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / each:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
