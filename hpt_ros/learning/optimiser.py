# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is learned and how fast: frozen parts, parameter groups, the learning rate's course, the averaged weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hpt_ros.learning.recipe import Recipe
from hpt_ros.model import MultiPolicy
from hpt_ros.model.trunk import Trunk

ADAM_BETAS = (0.9, 0.95)  # as usual for transformers since GPT-3 (arXiv 2005.14165, appendix B)


def train_mode(policy: MultiPolicy, recipe: Recipe) -> None:
    """Enter training mode, but for what the recipe freezes: no drop path in blocks that do not learn."""
    policy.train()
    trunk = _trunk(policy)
    trunk.checkpointing = recipe.activation_checkpointing
    if recipe.freeze_trunk:
        trunk.eval()
    for block in trunk.blocks[: recipe.freeze_blocks]:
        block.eval()


def freeze(policy: MultiPolicy, recipe: Recipe) -> None:
    """Keep from learning what the recipe freezes."""
    trunk = _trunk(policy)
    for module in (trunk,) if recipe.freeze_trunk else trunk.blocks[: recipe.freeze_blocks]:
        module.requires_grad_(False)


def build_optimiser(policy: MultiPolicy, recipe: Recipe) -> torch.optim.AdamW:
    """Put what learns into groups by learning rate and decay."""
    groups: list[dict[str, Any]] = []
    scales = {"encoders": recipe.lr_scale_encoder, "stems": 1.0, "trunk": recipe.lr_scale_trunk, "heads": 1.0}
    for part, scale in scales.items():
        found = [p for name in policy.names for p in policy.single(name).part(part) if p.requires_grad]
        learned = list(dict.fromkeys(found))  # what embodiments share, once
        for decayed in (True, False):
            chosen = [parameter for parameter in learned if is_decayed(parameter) == decayed]
            if chosen:
                decay = recipe.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "lr_scale": scale, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=ADAM_BETAS)


def is_decayed(parameter: Tensor) -> bool:
    """Matrices and convolutions of any dimension are decayed; biases, norms and learnable tokens (1, n, d) are not."""
    return parameter.ndim >= 2 and not (parameter.ndim == 3 and parameter.shape[0] == 1)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step (Loshchilov and Hutter, arXiv 1608.03983)."""
    if step < recipe.warmup_iterations:
        return recipe.lr * (step + 1) / recipe.warmup_iterations
    share = (step - recipe.warmup_iterations) / (recipe.iterations - recipe.warmup_iterations)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * share))


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
