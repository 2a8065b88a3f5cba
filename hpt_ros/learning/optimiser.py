# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is learned and how fast: frozen parts, parameter groups, the learning rate's course, the averaged weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hpt_ros.learning.recipe import Recipe
from hpt_ros.model import MultiPolicy
from hpt_ros.model.trunk import Trunk

ADAM_BETAS = (0.9, 0.95)  # as usual for transformers since GPT-3 (arXiv 2005.14165, appendix B)


def count_frozen_blocks(recipe: Recipe, step: int) -> int:
    """How many blocks of the trunk, from its first, do not learn at a step: all in the first of two steps."""
    depth = recipe.policy.trunk.depth
    return depth if recipe.freeze_trunk or step < recipe.first_iterations else recipe.freeze_blocks


def train_mode(policy: MultiPolicy, recipe: Recipe, step: int) -> None:
    """Enter training mode, but for what does not learn at a step: no drop path in blocks that stay as they are."""
    policy.train()
    trunk = _trunk(policy)
    trunk.checkpointing = recipe.activation_checkpointing
    for block in trunk.blocks[: count_frozen_blocks(recipe, step)]:
        block.eval()


def freeze(policy: MultiPolicy, recipe: Recipe, step: int) -> None:
    """Keep from learning what does not learn at a step, and let the rest of the trunk learn."""
    count = count_frozen_blocks(recipe, step)
    for number, block in enumerate(_trunk(policy).blocks):
        block.requires_grad_(number >= count)


def build_optimiser(policy: MultiPolicy, recipe: Recipe) -> torch.optim.AdamW:
    """Put what learns in a run's last iteration into groups by learning rate and decay.

    What learns in the second of two steps alone is in it from the start: without a gradient AdamW leaves a weight and
    its decay alone, and counts its steps from the first one.
    """
    parts: list[tuple[float, list[nn.Parameter]]] = [
        (recipe.lr_scale_encoder, _of(policy, "encoders")),
        (1.0, _of(policy, "stems")),
        *_of_trunk(policy, recipe),
        (1.0, _of(policy, "heads")),
    ]
    groups: list[dict[str, Any]] = []
    for scale, parameters in parts:
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        for decayed in (True, False):
            chosen = [parameter for parameter in learned if is_decayed(parameter) == decayed]
            if chosen:
                decay = recipe.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "lr_scale": scale, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=ADAM_BETAS)


def _of(policy: MultiPolicy, part: str) -> list[nn.Parameter]:
    """The parameters of a part of all embodiments; what they share, once."""
    return list(dict.fromkeys(p for name in policy.names for p in policy.single(name).part(part)))


def _of_trunk(policy: MultiPolicy, recipe: Recipe) -> list[tuple[float, list[nn.Parameter]]]:
    """The trunk's parameters by their learning rate's scale: by block, if these differ."""
    if recipe.lr_decay_blocks == 1.0:
        return [(recipe.lr_scale_trunk, _of(policy, "trunk"))]
    blocks = _trunk(policy).blocks
    return [(block_scale(recipe, number), list(block.parameters())) for number, block in enumerate(blocks)]


def block_scale(recipe: Recipe, block: int) -> float:
    """Learning rate of a block of the trunk, counted from 0 (-1: the last), as a multiple of the recipe's."""
    depth = recipe.policy.trunk.depth
    return recipe.lr_scale_trunk * recipe.lr_decay_blocks ** (depth - 1 - block % depth)


def is_decayed(parameter: Tensor) -> bool:
    """Matrices and convolutions of any dimension are decayed; biases, norms and learnable tokens (1, n, d) are not."""
    return parameter.ndim >= 2 and not (parameter.ndim == 3 and parameter.shape[0] == 1)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step (Loshchilov and Hutter, arXiv 1608.03983).

    In the first of two steps: a warm-up of its own, then its largest rate.
    """
    if step < recipe.first_iterations:
        warmup = recipe.first_step.warmup_iterations
        return (recipe.first_step.lr or recipe.lr) * min(1.0, (step + 1) / (warmup or 1))
    step -= recipe.first_iterations
    if step < recipe.warmup_iterations:
        return recipe.lr * (step + 1) / recipe.warmup_iterations
    rest = recipe.iterations - recipe.first_iterations - recipe.warmup_iterations
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - recipe.warmup_iterations) / rest))


def ema_decay_at(decay: float, step: int) -> float:
    """Decay of the averaged weights: low at first, so that the random start is soon forgotten."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def move_average(average: MultiPolicy, policy: MultiPolicy, decay: float) -> None:
    """Move the averaged weights towards the policy's; buffers are copied."""
    pairs = [
        (a, p) for a, p in zip(average.parameters(), policy.parameters(), strict=True) if p.requires_grad
    ]
    if pairs:
        torch._foreach_lerp_([a for a, _ in pairs], [p for _, p in pairs], 1.0 - decay)
    for a, b in zip(average.buffers(), policy.buffers(), strict=True):
        a.copy_(b)


def _trunk(policy: MultiPolicy) -> Trunk:
    module = policy.trunk["trunk"]
    assert isinstance(module, Trunk)
    return module
