"""The training recipe: everything that a run depends on besides its data, in frozen dataclasses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.learning.augment import AugmentConfig
from hpt_ros.model.config import (
    PolicyConfig,
    StemConfig,
    TrunkConfig,
)
from hpt_ros.model.encoder_config import ImageEncoderConfig
from hpt_ros.model.head_config import HeadConfig
from hpt_ros.structured import field, load_yaml_mapping, read_dataclass, read_yaml_file, to_mapping


class RecipeError(HptError):
    """A recipe contradicts itself or does not fit the embodiment."""


@dataclass(frozen=True, slots=True)
class PolicyRecipe:
    """The policy's structure; its sizes in and out come from the embodiment."""

    stems: tuple[StemConfig, ...] = field("one stem per modality, in the order of their tokens")
    trunk: TrunkConfig = field("the transformer", default=TrunkConfig())
    image_encoder: ImageEncoderConfig = field(
        "the network before the image stem", default=ImageEncoderConfig()
    )
    pooling: str = field(
        "how the trunk's tokens become features; see the policy's configuration", default="mean"
    )
    head: HeadConfig = field("the action head", default=HeadConfig())
    horizon_masking: bool = field(
        "in training keep only the last h of T observations, h random in 1..T", default=True
    )

    def for_embodiment(self, embodiment: Embodiment) -> PolicyConfig:
        """The whole configuration of a policy of this robot."""
        modalities = {stem.modality for stem in self.stems}
        images = embodiment.image_streams if "image" in modalities else ()
        spec = images[0].image if images else None
        return PolicyConfig(
            embodiment=embodiment.name,
            action_dim=embodiment.action.dim,
            action_horizon=embodiment.action.horizon,
            observation_horizon=embodiment.observation_horizon,
            state_dim=len(embodiment.state_names) if "state" in modalities else 0,
            views=len(images),
            image_height=spec.height if spec else 0,
            image_width=spec.width if spec else 0,
            trunk=self.trunk,
            stems=self.stems,
            image_encoder=self.image_encoder,
            pooling=self.pooling,
            head=self.head,
            horizon_masking=self.horizon_masking,
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. Learning rates rise linearly in the warm-up, then fall along half a cosine to zero."""

    policy: PolicyRecipe = field("the policy's structure")
    iterations: int = field("optimiser steps", minimum=1)
    batch_size: int = field("samples in a step", minimum=1)
    lr: float = field("largest learning rate of stems and head", above=0.0)
    lr_scale_trunk: float = field("learning rate of the trunk, as a multiple of lr", default=1.0, minimum=0.0)
    lr_scale_encoder: float = field(
        "learning rate of the image encoder, as a multiple of lr", default=1.0, minimum=0.0
    )
    freeze_trunk: bool = field("leave the trunk's weights as they were loaded", default=False)
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
    validation_share: float = field("share of episodes kept aside", default=0.1, minimum=0.0, maximum=0.9)
    validation_every: int = field("steps between validations, and between saves", default=500, minimum=1)
    validation_samples: int = field(
        "samples that a validation looks at, spread over the episodes", default=512, minimum=1
    )
    log_every: int = field("steps between lines of metrics.jsonl", default=20, minimum=1)
    seed: int = field(
        "of the split, the weights, the order, the augmentation and dropout", default=0, minimum=0
    )
    threads: int = field("CPU threads of the network; 0: PyTorch's choice", default=0, minimum=0)
    precision: str = field(
        "of the forward pass; weights stay float32", default="float32", choices=("float32", "bfloat16")
    )

    def __post_init__(self) -> None:
        if self.warmup_iterations >= self.iterations:
            raise RecipeError(
                f"the recipe has warmup_iterations {self.warmup_iterations}, but fewer than its iterations "
                f"{self.iterations} were expected; lower the warm-up or raise the iterations"
            )


def load_recipe(path: str | Path, overrides: Sequence[str] = (), **values: int | None) -> Recipe:
    """Read a recipe file and apply changes.

    Args:
        path: YAML file with the keys of `Recipe`.
        overrides: ``dotted.key=value`` texts; the value is YAML. ``policy.trunk.depth=2``.
        **values: top-level keys that win when not None, e.g. ``iterations=10``; a warm-up longer than a tenth of the
            iterations given here is shortened to that, so that a short trial run needs no second flag.

    Raises:
        StructureError: a wrong file, key or value.
        RecipeError: an override that is no ``key=value``, or a recipe that contradicts itself.
    """
    data = read_yaml_file(Path(path))
    for text in overrides:
        _override(data, text)
    for key, value in values.items():
        if value is not None:
            data[key] = value
    if values.get("iterations") is not None and isinstance(data.get("warmup_iterations"), int):
        data["warmup_iterations"] = min(data["warmup_iterations"], data["iterations"] // 10)
    return read_recipe(data, where=f"recipe {str(path)!r}")


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
        raise RecipeError(f"--set got {text!r}, but key=value was expected, as in --set policy.trunk.depth=2")
    parsed = load_yaml_mapping(f"value: {value}", where=f"the value of --set {text!r}")["value"]
    # YAML 1.1 reads 1e-3, as people write learning rates, as text; only 1.0e-3 is a number to it.
    if isinstance(parsed, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", parsed):
        parsed = float(parsed)
    place: Any = data
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        where = ".".join(parts[: index + 1])
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise RecipeError(
                    f"--set got {text!r}, but {where!r} is no item of a list of {len(place)}; count from 0"
                )
            if last:
                place[int(part)] = parsed
            else:
                place = place[int(part)]
        elif isinstance(place, dict):
            if last:
                place[part] = parsed
            else:
                place = place.setdefault(part, {})
        else:
            raise RecipeError(
                f"--set got {text!r}, but {'.'.join(parts[:index])!r} is no mapping; name a key of the recipe"
            )
