# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The training recipe: everything that a run depends on besides its data, in frozen dataclasses."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.errors import Code
from hpt_ros.learning.augment import AugmentConfig
from hpt_ros.learning.policy_recipe import PolicyRecipe, RecipeError
from hpt_ros.learning.statistics import STATISTICS
from hpt_ros.modalities import IMAGE
from hpt_ros.structured import (
    field,
    load_yaml_mapping,
    read_dataclass,
    read_yaml_file,
    to_mapping,
    union_at,
    without_other_kinds,
)


@dataclass(frozen=True, slots=True)
class FirstStep:
    """The first of two steps of finetuning: what is new learns round a trunk that stays as it was loaded."""

    # Off, since it needs a pre-trained trunk. X-VLA's ablation (arXiv 2510.10274): 89.6 % without, 95.8 % with it.
    ratio: float = field(
        "of the iterations; 0: everything learns from the start", default=0.0, minimum=0.0, maximum=0.9
    )
    iterations: int = field("of the first step, in place of ratio", default=0, minimum=0)
    # What is new starts at random and bears a larger rate than what was pre-trained: the paper's 5e-6 is for that.
    lr: float | None = field(
        "largest learning rate in the first step, where it rises and then stays; left out: the recipe's lr",
        default=None,
        above=0.0,
    )
    warmup_iterations: int = field("steps over which that rate rises", default=0, minimum=0)

    def __post_init__(self) -> None:
        if self.ratio and self.iterations:
            raise RecipeError(
                Code.CONFLICT, "first_step", problem=f"has ratio {self.ratio:g} and iterations {self.iterations}",
                remedy="give one of them",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. Learning rates rise linearly in the warm-up, then fall along half a cosine to zero."""

    policy: PolicyRecipe = field("the policy's structure")
    iterations: int = field("optimiser steps", minimum=1)
    batch_size: int = field("samples in a step", minimum=1)
    lr: float = field("largest learning rate of stems and head", above=0.0)
    micro_batch: int = field(
        "most samples that go through the network at once, of each process; their gradients are summed; 0: no limit",
        default=0,
        minimum=0,
    )
    shard: bool = field(
        "with several processes: spread weights, gradients and the optimiser's state over them; for trunks that fill "
        "a GPU",
        default=False,
    )
    mixing: str = field(
        "of several datasets; batch: each step mixes as many as possible; dataset: each step is of one, as in the "
        "released code",
        default="batch",
        choices=("batch", "dataset"),
    )
    statistics: str = field(
        "what maps to -1 and 1; limits: smallest and largest value, as HPT; quantiles: 1 and 99 %, robust to outliers",
        default="limits",
        choices=STATISTICS,
    )
    lr_scale_trunk: float = field("learning rate of the trunk, as a multiple of lr", default=1.0, minimum=0.0)
    lr_scale_encoder: float = field(
        "learning rate of the image encoder, as a multiple of lr", default=1.0, minimum=0.0
    )
    # Off, as in HPT. Below 1, the blocks that are next to the input, and the most general, change the least (layer-wise
    # decay of ELECTRA, arXiv 2003.10555, which took 0.8 and 0.9).
    lr_decay_blocks: float = field(
        "learning rate of each trunk block, as a multiple of that of the block after it; 1: all alike",
        default=1.0,
        above=0.0,
        maximum=1.0,
    )
    first_step: FirstStep = field("finetuning in two steps", default=FirstStep())
    freeze_trunk: bool = field("leave the trunk's weights as they were loaded", default=False)
    freeze_blocks: int = field(
        "leave the weights of the trunk's first blocks, this many, as they were loaded", default=0, minimum=0
    )
    activation_checkpointing: bool = field(
        "compute the trunk's blocks again on the way back in place of keeping what they computed: less memory, "
        "about a third more time",
        default=False,
    )
    cache_features: bool = field(
        "compute a frozen image encoder's features once and train from these; without changes to the images, or with "
        "those of feature_copies",
        default=False,
    )
    # Off: each copy takes as much room as the features of the images as they are.
    feature_copies: int = field(
        "with cache_features: of each image's features, this many more, of the image changed as augment says; each "
        "sample of a batch takes one of all at random",
        default=0,
        minimum=0,
        maximum=64,
    )
    warmup_iterations: int = field("steps over which the learning rate rises", default=0, minimum=0)
    # AdamW with decay 0.05 is the paper's pre-training setting; biases, norms and learnable tokens are not decayed.
    weight_decay: float = field("AdamW's decoupled decay of weight matrices", default=0.05, minimum=0.0)
    gradient_clip: float = field(
        "largest norm of the gradient; 0 switches clipping off", default=1.0, minimum=0.0
    )
    # 0.999 averages over about the last 1000 steps; early on the decay is lower: see train.ema_decay_at.
    ema_decay: float = field(
        "decay of the averaged weights that are validated and saved; 0: none",
        default=0.999,
        minimum=0.0,
        maximum=0.99999,
    )
    augment: AugmentConfig = field("random changes to images and states", default=AugmentConfig())
    validation_ratio: float = field("fraction of episodes kept aside", default=0.1, minimum=0.0, maximum=0.9)
    validation_every: int = field("steps between validations, and between saves", default=500, minimum=1)
    validation_samples: int = field(
        "samples that a validation looks at, spread over the episodes", default=512, minimum=1
    )
    # Off: the schedule ends at its last iteration, and best/ is the best validation's anyway.
    early_stopping: int = field(
        "validations in a row without a better one after which the run ends; 0: it goes to its last iteration",
        default=0,
        minimum=0,
    )
    log_every: int = field("steps between lines of metrics.jsonl", default=20, minimum=1)
    seed: int = field(
        "of the split, the weights, the order, the augmentation and dropout", default=0, minimum=0
    )
    threads: int = field("CPU threads of the network; 0: PyTorch's choice", default=0, minimum=0)
    precision: str = field(
        "of the forward pass; weights stay float32", default="float32", choices=("float32", "bfloat16")
    )

    @property
    def first_iterations(self) -> int:
        """Iterations of the first step; 0 without one."""
        return self.first_step.iterations or round(self.first_step.ratio * self.iterations)

    def __post_init__(self) -> None:
        if self.warmup_iterations + self.first_iterations >= self.iterations:
            after = f" after first_step's {self.first_iterations}" if self.first_iterations else ""
            raise RecipeError(
                Code.OUT_OF_RANGE, "the recipe", self.warmup_iterations,
                problem=f"has warmup_iterations {{value}}{after}",
                expected=f"fewer than its iterations {self.iterations}",
                remedy="lower the warm-up or raise the iterations",
            )  # fmt: skip
        depth = self.policy.trunk.depth
        if self.freeze_blocks > depth or (self.freeze_trunk and self.freeze_blocks):
            raise RecipeError(
                Code.CONFLICT, "the recipe", self.freeze_blocks,
                problem=f"has freeze_blocks {{value}} and freeze_trunk {str(self.freeze_trunk).lower()} with a trunk "
                f"of {depth} blocks",
                remedy=f"freeze at most {depth} blocks, or the whole trunk, and not both",
            )  # fmt: skip
        if self.first_iterations:
            self._check_first_step()
        if self.early_stopping and not self.validation_ratio:
            raise RecipeError(
                Code.CONFLICT, "the recipe", self.early_stopping,
                problem="has early_stopping {value} and validation_ratio 0, so nothing says when to stop",
                remedy="raise validation_ratio, or set early_stopping to 0",
            )  # fmt: skip
        if self.cache_features:
            self._check_cache()
        elif self.feature_copies:
            raise RecipeError(
                Code.CONFLICT, "the recipe", self.feature_copies,
                problem="has feature_copies {value} without cache_features", remedy="set both, or none",
            )  # fmt: skip

    def _check_first_step(self) -> None:
        """Refuse a first step that would be like the second."""
        depth, warmup = self.policy.trunk.depth, self.first_step.warmup_iterations
        if not depth or self.freeze_trunk or self.freeze_blocks == depth:
            raise RecipeError(
                Code.CONFLICT, "the recipe", self.first_iterations,
                problem="has a first step of {value} iterations without the trunk, but "
                + ("no trunk" if not depth else "the trunk is frozen in the second as well"),
                remedy="leave first_step out" + ("" if not depth else ", or let blocks of the trunk learn"),
            )  # fmt: skip
        if warmup >= self.first_iterations:
            raise RecipeError(
                Code.OUT_OF_RANGE, "first_step", warmup, problem="has warmup_iterations {value}",
                expected=f"fewer than its {self.first_iterations} iterations", remedy="lower the warm-up",
            )  # fmt: skip

    def _check_cache(self) -> None:
        encoder = self.policy.image_encoder
        if IMAGE not in self.policy.modalities or not encoder.encodes or encoder.trainable:
            state = "is trained" if encoder.trainable else "is not there"
            raise RecipeError(
                Code.CONFLICT, "the recipe",
                problem=f"has cache_features, but its image encoder {state}, so no features stay the same",
                remedy="set cache_features to false, or policy.image_encoder.trainable to false",
            )  # fmt: skip
        if self.augment.changes_images and not self.feature_copies:
            raise RecipeError(
                Code.CONFLICT, "the recipe",
                problem="has cache_features and changes the images at random, but cached features are of images as "
                "they are", remedy="set augment's brightness, contrast, colour, shift_px, crop and erase to 0, set "
                "feature_copies to how many changed copies to cache, or cache_features to false",
            )  # fmt: skip
        if self.feature_copies and not self.augment.changes_images:
            raise RecipeError(
                Code.CONFLICT, "the recipe", self.feature_copies,
                problem="has feature_copies {value}, but augment changes no image, so that all would be the same",
                remedy="set feature_copies to 0, or a strength of augment",
            )  # fmt: skip


def load_recipe(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    policy: Mapping[str, Any] | None = None,
    **values: int | None,
) -> Recipe:
    """Read a recipe file and apply changes.

    Args:
        path: YAML file with the keys of `Recipe`.
        overrides: ``dotted.key=value`` texts; the value is YAML. ``policy.trunk.depth=2``.
        policy: in place of the file's section of that name.
        **values: top-level keys that win when not None, e.g. ``iterations=10``; a warm-up longer than a tenth of the
            iterations given here is shortened to that, so that a short trial run needs no second flag.

    Raises:
        StructureError: a wrong file, key or value.
        RecipeError: an override that is no ``key=value``, or a recipe that contradicts itself.
    """
    data = read_yaml_file(Path(path))
    if policy is not None:
        data["policy"] = copy.deepcopy(dict(policy))
    for text in overrides:
        _override(data, text)
    for key, value in values.items():
        if value is not None:
            data[key] = value
    if values.get("iterations") is not None and isinstance(data.get("warmup_iterations"), int):
        data["warmup_iterations"] = min(data["warmup_iterations"], data["iterations"] // 10)
    given = [f"--{key.replace('_', '-')} {value}" for key, value in values.items() if value is not None]
    changes = ", ".join(
        [f"--set {text}" for text in overrides] + given
    )  # what is wrong is seldom in the file then
    return read_recipe(data, where=f"recipe {str(path)!r}{f' with {changes}' if changes else ''}")


def override(data: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Return a recipe's plain values with changes ``dotted.key=value``.

    Raises:
        RecipeError: a change that is no ``key=value``.
    """
    changed = copy.deepcopy(dict(data))
    for text in changes:
        _override(changed, text)
    return changed


def read_recipe(data: Mapping[str, Any], *, where: str) -> Recipe:
    """Read a recipe from a mapping; `where` names it in errors."""
    return read_dataclass(Recipe, data, where=where)


def recipe_mapping(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values for YAML; inverse of `read_recipe`."""
    return to_mapping(recipe)


def _override(data: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(
            Code.INVALID, "--set", text, problem="got {value}, but key=value was expected, as in --set "
            "policy.trunk.depth=2", remedy="write it like that",
        )  # fmt: skip
    parsed = load_yaml_mapping(f"value: {value}", where=f"the value of --set {text!r}")["value"]
    # YAML 1.1 reads 1e-3, as people write learning rates, as text; only 1.0e-3 is a number to it.
    if isinstance(parsed, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", parsed):
        parsed = float(parsed)
    node: Any = data
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        where = ".".join(parts[: index + 1])
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise RecipeError(
                Code.UNKNOWN, "--set", text,
                problem=f"got {{value}}, but {where!r} is no item of a list of {len(node)}", remedy="count from 0",
            )  # fmt: skip
            if last:
                node[int(part)] = parsed
            else:
                node = node[int(part)]
        elif isinstance(node, dict):
            if last:
                node[part] = parsed
                if part == "kind" and (union := union_at(Recipe, parts[:-1])) is not None:
                    own = without_other_kinds(union, node)  # not what the file says of the kind before
                    node.clear()
                    node.update(own)
            else:
                node = node.setdefault(part, {})
        else:
            raise RecipeError(
                Code.UNKNOWN, "--set", text,
                problem=f"got {{value}}, but {'.'.join(parts[:index])!r} is no mapping",
                remedy="name a key of the recipe",
            )  # fmt: skip
