# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What goes through the network at once, and how it is made of a step's draws: by any process, of the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.learning.augment import ImageChanges, Rows, augment_state, change_images, draw_image_changes
from hpt_ros.learning.batch_source import BatchSource
from hpt_ros.learning.mixture import Draw, Mixture
from hpt_ros.learning.recipe import Recipe


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What goes through the network at once: samples of one dataset."""

    embodiment: str
    inputs: dict[str, Tensor]
    action: Tensor  # (B, K, A)
    is_pad: Tensor  # (B, K)
    weight: float  # of its loss in the step's; those of all processes sum to 1
    thinning: int  # seed of what is left out, the same for all of one dataset's samples in the step
    member: int  # of the mixture, and its samples that these are
    samples: NDArray[np.int64]
    changes: ImageChanges = field(default_factory=ImageChanges)  # of its images, still to be made

    def map(self, change: Callable[[Tensor], Tensor]) -> MicroBatch:
        """Return the same with each tensor changed."""
        return replace(
            self,
            inputs={key: change(value) for key, value in self.inputs.items()},
            action=change(self.action),
            is_pad=change(self.is_pad),
            changes=self.changes.map(change),
        )

    def pin_memory(self) -> MicroBatch:
        """Return the same in memory that a GPU copies from by itself; PyTorch's loader asks for it by this name."""
        return self.map(Tensor.pin_memory)

    def on(self, device: str) -> MicroBatch:
        """Return the same on a device, its images changed there."""
        there = self.map(lambda tensor: tensor.to(device, non_blocking=True))
        if "image" not in there.inputs:
            return there
        images = change_images(there.inputs["image"], there.changes)
        return replace(there, inputs={**there.inputs, "image": images}, changes=ImageChanges())


@dataclass(frozen=True, slots=True)
class BatchMaker:
    """Makes one process's part of a step's batch.

    Attributes:
        mixture: what is drawn from.
        sources: of its members.
        recipe: how.
        rank, world: of this process among those that share the batch.
        alike: see `Mixture.draws`.
        device: of the network. Where that is the CPU, images are changed here, beside the network; else there.
    """

    mixture: Mixture
    sources: Sequence[BatchSource]
    recipe: Recipe
    rank: int = 0
    world: int = 1
    alike: bool = False
    device: str = "cpu"

    def __call__(self, step: int) -> list[MicroBatch]:
        """Return the parts of a step's batch, on the CPU."""
        recipe = self.recipe
        draws = self.mixture.draws(
            step, recipe.batch_size, recipe.seed, whole=recipe.mixing == "dataset",
            rank=self.rank, world=self.world, alike=self.alike,
        )  # fmt: skip
        parts = [part for draw in draws for part in self._parts(draw, step)]
        return [part.on("cpu") for part in parts] if torch.device(self.device).type == "cpu" else parts

    def _parts(self, draw: Draw, step: int) -> Iterator[MicroBatch]:
        """The samples of one draw, in parts of at most `recipe.micro_batch`.

        The step's loss is the mean over the samples of their datasets' losses; the loss of one dataset's samples is
        the mean over their real steps, so a part counts by the real steps that are in it. However a batch is cut into
        parts and processes, the sum is the same.
        """
        recipe = self.recipe
        member, source = self.mixture.members[draw.member], self.sources[draw.member]
        real = float((~member.windows.rows(draw.samples)[2]).sum())
        fraction = len(draw.samples) / recipe.batch_size
        most = recipe.micro_batch or len(draw.rows)
        copy = None
        if recipe.feature_copies:
            random = np.random.default_rng(step_seed(recipe.seed, step, 4, draw.member))
            copy = random.integers(0, recipe.feature_copies + 1, len(draw.samples))
        for begin in range(0, len(draw.rows), most):
            here = draw.rows[begin : begin + most]
            batch = source.batch(member.windows, draw.samples[here], None if copy is None else copy[here])
            counted = ~batch.is_pad
            if draw.filled and begin + most >= len(draw.rows):
                counted[-1] = False
            weight = fraction * (float(counted.sum()) / real)
            # Where nothing counts, the loss is of what is there, times 0: of nothing it would be no number.
            is_pad = ~counted if weight else batch.is_pad
            tensors = {key: torch.from_numpy(values) for key, values in batch.inputs.items()}
            rows = Rows(len(draw.samples), torch.from_numpy(here))
            # Each has random numbers of its own, so that one that is not there does not change the other's.
            images, states = (
                torch.Generator().manual_seed(step_seed(recipe.seed, step, use, draw.member))
                for use in (0, 2)
            )
            changes = ImageChanges()
            if "image" in tensors:
                shape = tuple(tensors["image"].shape)
                changes = draw_image_changes(shape, recipe.augment, images, rows)
            if "state" in tensors:
                tensors["state"] = augment_state(tensors["state"], recipe.augment, states, rows)
            yield MicroBatch(
                member.embodiment,
                tensors,
                torch.from_numpy(batch.action),
                torch.from_numpy(is_pad),
                weight=weight,
                thinning=step_seed(recipe.seed, step, 3, draw.member),
                member=draw.member,
                samples=draw.samples[here],
                changes=changes,
            )


def step_seed(seed: int, step: int, use: int, of: int) -> int:
    """A seed for one use of random numbers in a step, of one dataset or process."""
    return int(np.random.SeedSequence([seed, step, use, of]).generate_state(1, np.uint64)[0]) >> 1
