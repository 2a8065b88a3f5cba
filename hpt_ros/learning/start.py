"""Where a run's first weights come from; every source is loaded last, strictly, and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import HptError
from hpt_ros.learning.recipe import Recipe
from hpt_ros.model import Policy, Statistics, load_checkpoint, load_image_encoder, load_trunk
from hpt_ros.structured import differences


class StartError(HptError):
    """The weights named do not fit the run, or one source would overwrite another."""


@dataclass(frozen=True, slots=True)
class Start:
    """Sources of weights: paths or ``hf://user/repo[/file]``; what none of them holds starts at random."""

    trunk: str | None = None  # trunk.pth, model.pth or a checkpoint: its trunk alone
    image_encoder: str | None = None  # ResNet-18 with torchvision's names
    init: str | None = None  # a checkpoint of the same robot and structure: everything but its statistics


def build_policy(
    recipe: Recipe,
    embodiment: Embodiment,
    statistics: Mapping[str, Statistics],
    start: Start,
    say: Callable[[str], None],
) -> Policy:
    """Build the policy, load what `start` names, then set the statistics; says which part came from where.

    Raises:
        StartError: `init` together with another source, of another structure, or a frozen part without weights.
        HptError: a file that does not fit (`hpt_ros.model.weights`), or another embodiment.
    """
    if start.init is not None and (start.trunk is not None or start.image_encoder is not None):
        raise StartError(
            f"--init {start.init!r} brings all weights, so --trunk and --image-encoder cannot be given with it; "
            "leave one out"
        )
    _require_weights_for_frozen_parts(recipe, start)
    policy = Policy(recipe.policy.for_embodiment(embodiment))
    loaded: dict[str, str] = {}
    if start.init is not None:
        policy = _from_checkpoint(policy, start.init, embodiment)
        loaded = dict.fromkeys(policy.parts(), f"from checkpoint {start.init}")
    if start.trunk is not None:
        loaded["trunk"] = str(load_trunk(policy, start.trunk))
    if start.image_encoder is not None:
        loaded["encoder image"] = str(load_image_encoder(policy, start.image_encoder))
    policy.set_statistics(statistics)
    frozen = {"trunk"} if recipe.freeze_trunk else set()
    if not recipe.policy.image_encoder.trainable:
        frozen.add("encoder image")
    for part, count in policy.parts().items():
        if "unused" not in part:
            state = ", frozen" if part in frozen else ""
            say(f"  {part}: {count:,} parameters{state}, {loaded.get(part, 'random (from scratch)')}")
    return policy


def _require_weights_for_frozen_parts(recipe: Recipe, start: Start) -> None:
    if start.init is not None:
        return
    if recipe.freeze_trunk and start.trunk is None:
        raise StartError(
            "the recipe freezes the trunk (freeze_trunk: true), but no weights were named for it, so it would stay "
            "random; add --trunk FILE, or set freeze_trunk to false"
        )
    encoder = recipe.policy.image_encoder
    uses_images = any(stem.modality == "image" for stem in recipe.policy.stems)
    if uses_images and encoder.kind != "none" and not encoder.trainable and start.image_encoder is None:
        raise StartError(
            f"the recipe freezes the image encoder {encoder.kind!r} (trainable: false), but no weights were named "
            "for it, so it would stay random; add --image-encoder FILE, or set policy.image_encoder.trainable to true"
        )


def _from_checkpoint(policy: Policy, source: str, embodiment: Embodiment) -> Policy:
    checkpoint = load_checkpoint(source)
    theirs = Embodiment.loads(checkpoint.embodiment_yaml, where=f"checkpoint {source!r}, embodiment.yaml")
    require_match(embodiment, theirs, a_name="the dataset", b_name=f"checkpoint {source!r}")
    found = differences(policy.config.to_mapping(), checkpoint.config.to_mapping())
    if found:
        key, wanted, actual = found[0]
        raise StartError(
            f"checkpoint {source!r} has {key} = {actual!r:.80}, but the recipe has {wanted!r:.80}; "
            "change the recipe's policy to the checkpoint's, or load only its trunk with --trunk"
        )
    return checkpoint.policy
