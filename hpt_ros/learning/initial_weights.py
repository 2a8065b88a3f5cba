# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where a run's first weights come from; every source is loaded last, strictly, and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import Code, HptError
from hpt_ros.learning.mixture import Mixture
from hpt_ros.learning.optimiser import block_scale
from hpt_ros.learning.policy_recipe import PolicyRecipe
from hpt_ros.learning.recipe import Recipe
from hpt_ros.model import (
    MultiPolicy,
    MultiPolicyConfig,
    Policy,
    PolicyConfig,
    Statistics,
    efficientnet,
    load_checkpoint,
    load_image_encoder,
    load_trunk,
)
from hpt_ros.model.checkpoint import Checkpoint, first_policy
from hpt_ros.model.checkpoint_folder import EMBODIMENTS, locate, read_config
from hpt_ros.model.config import with_current_keys
from hpt_ros.model.encoder_config import LibraryEncoderConfig
from hpt_ros.model.parts_of_checkpoint import PART as ENCODER
from hpt_ros.model.parts_of_checkpoint import load_shared_parts, shared_parts
from hpt_ros.model.pretrained import complete_image_encoder
from hpt_ros.structured import differences

RANDOM = "random (from scratch)"


class InitialWeightsError(HptError):
    """The weights named do not fit the run, or one source would overwrite another."""


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Sources of weights: paths or ``hf://user/repo[/file]``; what none of them holds starts at random."""

    trunk: str | None = None  # trunk.pth, model.pth or a checkpoint: its trunk alone
    image_encoder: str | None = (
        None  # ResNet-18 with torchvision's names, or what timm or transformers published
    )
    init: str | None = (
        None  # a checkpoint of the same robot and structure, or of several of which it is one: all weights
    )
    language_model: str | None = None  # folder or hub name, in place of the one that the recipe names
    shared: str | None = None  # a checkpoint of several robots: what they share besides, as "stem image"
    # Whether the statistics of `init` count too, widened where the data go beyond them, and not the data's alone.
    init_statistics: bool = False


def completed(recipe: Recipe, start: InitialWeights) -> Recipe:
    """Return the recipe with what its image encoder's library knows of the model written into it.

    Saved with the run, it builds the policy again without a hub or a folder; so does the checkpoint to start from, if
    it is of the same model.

    Raises:
        HptError: the library is not installed, or does not know the model.
    """
    encoder = recipe.policy.image_encoder
    if "image" not in recipe.policy.modalities or not isinstance(encoder, LibraryEncoderConfig):
        return recipe
    if start.init is not None and encoder.architecture is None:
        theirs = first_policy(start.init).config.image_encoder
        if isinstance(theirs, LibraryEncoderConfig) and replace(theirs, architecture=None) == replace(
            encoder, shared=theirs.shared, trainable=theirs.trainable
        ):
            encoder = replace(encoder, architecture=theirs.architecture)
    return replace(recipe, policy=replace(recipe.policy, image_encoder=complete_image_encoder(encoder)))


def with_packaged_weights(recipe: Recipe, start: InitialWeights) -> InitialWeights:
    """Return the sources of weights, with the package of the image encoder's, if it has one and no other is named."""
    kind, wanted = recipe.policy.image_encoder.kind, "image" in recipe.policy.modalities
    if not wanted or kind != efficientnet.KIND or start.image_encoder is not None or start.init is not None:
        return start
    return replace(start, image_encoder=efficientnet.PACKAGE)


def build_policy(
    recipe: Recipe,
    mixture: Mixture,
    statistics: Mapping[str, Mapping[str, Statistics]],
    start: InitialWeights,
    say: Callable[[str], None],
    *,
    resume: bool = False,
) -> MultiPolicy:
    """Build the policies, load what `start` names, then set the statistics; says which part came from where.

    Args:
        recipe: the structure, and what is frozen; `completed`.
        mixture: the robots, and their tasks: the texts are embedded here, with a language stem, unless `start.init`
            knows them.
        statistics: of the training data, by embodiment; what the normalisers take in the end is in the policy.
        start: sources of weights.
        say: takes lines for people.
        resume: the caller loads all weights afterwards, so nothing is loaded, embedded or said.

    Raises:
        HptError: a stem without a stream, a source that cannot be loaded or does not fit, or a frozen part without
            weights.
    """
    if start.trunk is not None and start.init is not None:
        raise InitialWeightsError(
            Code.CONFLICT, "--trunk", start.trunk,
            problem=f"{{value}} and --init {start.init!r} both hold a trunk, so one would be lost",
            remedy="leave one out",
        )  # fmt: skip
    if start.init_statistics and start.init is None:
        raise InitialWeightsError(
            Code.MISSING, "--init-statistics", problem="names no checkpoint whose statistics it means",
            remedy="add --init CHECKPOINT",
        )  # fmt: skip
    if start.shared is not None and start.init is not None:
        raise InitialWeightsError(
            Code.CONFLICT, "--shared", start.shared,
            problem=f"{{value}} and --init {start.init!r} both hold these parts, so one's would be lost",
            remedy="leave one out",
        )  # fmt: skip
    if not resume:
        _require_weights_for_frozen_parts(recipe, start)
    many = len(mixture.robots) > 1
    configs: dict[str, PolicyConfig] = {}
    for name, robot in mixture.robots.items():
        structure = recipe.policy.with_streams_of(robot)
        try:
            _require_tasks(structure, mixture.tasks(name))
            configs[name] = structure.for_embodiment(robot, mixture.tasks(name))
        except HptError as error:
            if not many:
                raise
            raise error.within(f"dataset {mixture.of(name)[0].name!r} of the mixture") from error
    policy = MultiPolicy(MultiPolicyConfig(configs, recipe.policy.shared if many else ()))
    for name in policy.names:
        policy.single(name).set_statistics(statistics[name])
    if resume:
        return policy
    encoders = any("image" in policy.single(name).encoders for name in policy.names)
    if start.image_encoder not in (None, efficientnet.PACKAGE) and not encoders:
        raise InitialWeightsError(
            Code.CONFLICT, "--image-encoder", start.image_encoder,
            problem="names {value}, but the policy has no image encoder",
            remedy="leave it out, or give the recipe an image stem and an encoder",
        )  # fmt: skip
    if start.trunk is not None:
        trunk = str(load_trunk(policy.single(policy.names[0]), start.trunk))
    for name in policy.names:
        single, loaded, known = policy.single(name), dict[str, str](), dict[str, torch.Tensor]()
        if start.init is not None:
            checkpoint = _load_checkpoint(single, start.init, mixture.robots[name])
            known = _embeddings(checkpoint)
            loaded = dict.fromkeys(single.parts(), f"from checkpoint {start.init}")
            if start.init_statistics:
                theirs = checkpoint.policy.normaliser.statistics
                single.set_statistics({k: theirs[k].widened(v) for k, v in statistics[name].items()})
        if start.trunk is not None:
            loaded["trunk"] = trunk
        if start.image_encoder is not None and "image" in single.encoders:
            loaded["encoder image"] = str(load_image_encoder(single, start.image_encoder))
        if start.shared is not None:
            loaded |= _load_shared(single, start.shared, start.image_encoder)
        frozen, rates = _frozen(recipe), _rates(recipe)
        for part, count in single.parts().items():
            if part == "trunk" and name != policy.names[0]:
                continue
            which = f"{name}, " if many and part != "trunk" else ""
            if part == "trunk" and not count:
                say("  trunk: none (the baseline without a trunk)")
            elif "unused" not in part:
                say(
                    f"  {which}{part}: {count:,} parameters{frozen.get(part, '')}{rates(part)}, "
                    f"{loaded.get(part, RANDOM)}"
                )
        if single.language is not None:
            say(f"  {f'{name}, ' if many else ''}language: {_embed(single, known, start)}")
    return policy


def _load_shared(policy: Policy, checkpoint: str, image_encoder: str | None) -> dict[str, str]:
    """Load what a checkpoint's robots share; returns what is said of each part."""
    reports = load_shared_parts(policy, checkpoint)
    if ENCODER in reports and image_encoder not in (None, efficientnet.PACKAGE):
        raise InitialWeightsError(
            Code.CONFLICT, "--image-encoder", image_encoder,
            problem=f"{{value}} and --shared {checkpoint!r} both hold an image encoder",
            remedy="leave one out",
        )  # fmt: skip
    return {part: str(report) for part, report in reports.items()}


def _frozen(recipe: Recipe) -> dict[str, str]:
    """Part to what is said of it, for parts that are frozen."""
    frozen = {"trunk": ", frozen"} if recipe.freeze_trunk else {}
    blocks = f"{recipe.freeze_blocks} of {recipe.policy.trunk.depth} blocks frozen"
    if recipe.first_iterations:
        then = f", then {blocks}" if recipe.freeze_blocks else ""
        frozen["trunk"] = (
            f", frozen for the first {recipe.first_iterations} of {recipe.iterations} steps{then}"
        )
    elif recipe.freeze_blocks:
        frozen["trunk"] = f", {blocks}"
    if not recipe.policy.image_encoder.trainable:
        frozen["encoder image"] = ", frozen"
    return frozen


def _rates(recipe: Recipe) -> Callable[[str], str]:
    """What is said of a part's largest learning rate."""
    first = recipe.first_step.lr if recipe.first_iterations else None

    def said(part: str) -> str:
        if part == "trunk":
            if recipe.freeze_trunk or not recipe.policy.trunk.depth:
                return ""
            low, high = (recipe.lr * block_scale(recipe, n) for n in (recipe.freeze_blocks, -1))
            return f", lr {high:g}" if low == high else f", lr {low:g} to {high:g} by block"
        scale = recipe.lr_scale_encoder if part.startswith("encoder") else 1.0
        if part == "encoder image" and not recipe.policy.image_encoder.trainable:
            return ""
        start = f"{first * scale:g}, then " if first else ""
        return f", lr {start}{recipe.lr * scale:g}"

    return said


def structure_of(checkpoint: str) -> dict[str, Any] | None:
    """The policy's section of the recipe that a checkpoint was trained with; None if it tells of none.

    Raises:
        HptError: no checkpoint.
    """
    _, training = read_config(locate(Path(checkpoint))[0])
    found = training.get("policy")
    return with_current_keys(found) if isinstance(found, dict) else None


def _require_weights_for_frozen_parts(recipe: Recipe, start: InitialWeights) -> None:
    if start.init is not None:
        return
    frozen = (
        ("freeze_trunk", "true", "false", recipe.freeze_trunk),
        ("freeze_blocks", recipe.freeze_blocks, 0, recipe.freeze_blocks),
        ("first_step.iterations", recipe.first_iterations, 0, recipe.first_step.iterations),
        ("first_step.ratio", f"{recipe.first_step.ratio:g}", 0, recipe.first_step.ratio),
    )
    if any(on for *_, on in frozen) and start.trunk is None and recipe.policy.trunk.depth:
        name, value, off = next((name, value, off) for name, value, off, on in frozen if on)
        key, remedy = f"{name}: {value}", f"{name} to {off}"
        raise InitialWeightsError(
            Code.MISSING, "the recipe", problem=f"freezes the trunk ({key}), but no weights were named for it, so it "
            "would stay random", remedy=f"add --trunk FILE, or set {remedy}",
        )  # fmt: skip
    encoder = recipe.policy.image_encoder
    uses_images = "image" in recipe.policy.modalities
    if (
        uses_images
        and encoder.kind != "none"
        and not encoder.trainable
        and start.image_encoder is None
        and not (start.shared is not None and ENCODER in shared_parts(start.shared))
    ):
        raise InitialWeightsError(
            Code.MISSING, "the recipe", encoder.kind,
            problem="freezes the image encoder {value} (trainable: false), but no weights were named for it, so it "
            "would stay random",
            remedy="add --image-encoder with a file, a folder or hf://user/repo, or set policy.image_encoder.trainable "
            "to true, or policy.image_encoder.kind to efficientnet_lite0, whose weights are in a package",
        )  # fmt: skip


def _require_tasks(structure: PolicyRecipe, tasks: Sequence[str]) -> None:
    if "language" not in structure.modalities:
        return
    if structure.language.kind == "none":
        raise InitialWeightsError(
            Code.CONFLICT, "the recipe", "none",
            problem="has a language stem and the language model {value}, so nothing embeds the dataset's tasks",
            remedy="set policy.language.kind to t5 or sentence, or take the stem out",
        )  # fmt: skip
    if not tasks or "" in tasks:
        raise InitialWeightsError(
            Code.MISSING, "the recipe", problem="has a language stem, but the dataset has episodes without a task",
            remedy="name the task when recording, or take the stem out",
        )  # fmt: skip


def _embed(policy: Policy, known: Mapping[str, torch.Tensor], start: InitialWeights) -> str:
    """Set the embeddings of the policy's tasks, and return where they are from, for people."""
    config = policy.config
    new = tuple(task for task in config.tasks if task not in known)
    embeddings, sources = dict(known), []
    if len(new) < len(config.tasks):
        sources.append(f"{len(config.tasks) - len(new)} from checkpoint {start.init}")
    if new:
        from hpt_ros.model.language import embed_tasks  # only here: it may load a language model

        language = (
            replace(config.language, model=start.language_model) if start.language_model else config.language
        )
        vectors = torch.as_tensor(embed_tasks(language, new), dtype=torch.float32)
        embeddings |= zip(new, vectors, strict=True)
        name = f" {language.model}" if language.model else ""
        sources.append(f"{len(new)} embedded now by {language.kind}{name}")
    policy.set_task_embeddings(torch.stack([embeddings[task] for task in config.tasks]))
    count = f"{len(config.tasks)} task{'s' if len(config.tasks) > 1 else ''}"
    return f"{count}, {' and '.join(sources)}; stored with the policy"


def _load_checkpoint(policy: Policy, source: str, embodiment: Embodiment) -> Checkpoint:
    """Load all weights but the statistics; returns the checkpoint of the embodiment.

    The tasks are the data's and whether the image encoder learns is the run's; all else must be the same.
    """
    folder, (root, name) = Path(source), locate(Path(source))
    there = tuple(read_config(root)[0].model.policies)
    if name is None and len(there) > 1:
        if embodiment.name not in there:
            raise InitialWeightsError(
                Code.MISMATCH, f"checkpoint {source!r}", ", ".join(there),
                problem=f"is of {', '.join(there)}", expected=f"{embodiment.name!r} too, which the data are of",
                remedy="load only its trunk with --trunk, or start from a checkpoint that has it",
            )  # fmt: skip
        folder = root / EMBODIMENTS / embodiment.name
    checkpoint = load_checkpoint(folder)
    theirs = Embodiment.loads(checkpoint.embodiment_yaml, where=f"checkpoint {source!r}, embodiment.yaml")
    require_match(embodiment, theirs, a_name="the dataset", b_name=f"checkpoint {source!r}")
    found = differences(_structure(policy.config), _structure(checkpoint.config))
    if found:
        key, ours, actual = found[0]
        raise InitialWeightsError(
            Code.MISMATCH, f"checkpoint {source!r}", actual,
            problem=f"has {key} = {actual!r:.80}, but the recipe has {ours!r:.80}",
            remedy="leave --recipe out to take the checkpoint's policy, change the recipe's to it, or load only its "
            "trunk with --trunk",
        )  # fmt: skip
    own = policy.state_dict()
    taken = {
        name: value
        for name, value in checkpoint.policy.state_dict().items()
        if not name.startswith(("language.", "normalizer."))
    }
    retained = {name: value for name, value in own.items() if name.startswith(("language.", "normalizer."))}
    policy.load_state_dict({**taken, **retained}, strict=True)
    return checkpoint


def _embeddings(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The embedding of each task that the checkpoint knows."""
    table = checkpoint.policy.language
    return {} if table is None else dict(zip(checkpoint.config.tasks, table.embeddings, strict=True))


def _structure(config: PolicyConfig) -> dict[str, Any]:
    return replace(
        config, tasks=(), image_encoder=replace(config.image_encoder, trainable=False)
    ).to_mapping()
