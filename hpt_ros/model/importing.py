# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Published weights to this project's: a trunk file, or an entire checkpoint. Everything is loaded, or said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpt_ros.atomic import new_folder
from hpt_ros.errors import Code
from hpt_ros.modalities import IMAGE, LANGUAGE, STATE
from hpt_ros.model.config import PolicyConfig, TrunkConfig
from hpt_ros.model.encoder_config import ImageEncoderConfig, LanguageConfig, NoEncoderConfig, ResNet18Config
from hpt_ros.model.encoders import ResNet18
from hpt_ros.model.language import embed_tasks
from hpt_ros.model.normaliser import Statistics
from hpt_ros.model.policy import Policy
from hpt_ros.model.release.files import MODEL_FILES, TRUNK_FILES, PublishedConfig, open_published
from hpt_ros.model.release.key_mapping import (
    MODALITY_NAMES,
    POOLINGS,
    Translation,
    agree,
    domains_of,
    head_config,
    input_width,
    need,
    refuse_what_cannot_be_said,
    stem_config,
    translate,
    trunk_config,
)
from hpt_ros.model.trunk import Trunk
from hpt_ros.model.verifying import FIGURES, statistics_in
from hpt_ros.model.weight_files import WeightsError, read_tensors, save_tensors, sha256_of, some
from hpt_ros.model.weights import (
    TRUNK_IN_FILE,
    TRUNK_IN_MODEL,
    LoadReport,
    check_strictly,
    load_image_encoder,
    load_strictly,
    trunk_metadata,
    trunk_tensors,
)

TRUNK_OUT = "trunk.safetensors"
CARD_OUT = "card.md"
NO_ENCODER = "none"  # for --image-encoder: features are computed elsewhere


@dataclass(frozen=True, slots=True)
class ImportedTrunk:
    """A trunk that was written."""

    size: TrunkConfig
    file: Path
    sha256: str
    tensors: int
    parameters: int
    origin: str
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"imported the trunk: {self.tensors} tensors, {self.parameters:,} numbers to {self.file} "
            f"(sha256 {self.sha256})",
            f"size: width {self.size.width}, depth {self.size.depth}, {self.size.heads} heads, drop path "
            f"{self.size.drop_path:g}, as its configuration says and its tensors show",
            f"to finetune on it: hpt finetune ... --trunk {self.file.parent} "
            f"--set policy.trunk.width={self.size.width} --set policy.trunk.depth={self.size.depth} "
            f"--set policy.trunk.heads={self.size.heads}",
        ]
        if self.left_out:
            lines.append(f"left out (no part of the trunk): {', '.join(self.left_out)}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Robot:
    """What the embodiment file says that published weights do not hold."""

    name: str
    views: int
    image_height: int
    image_width: int
    tasks: tuple[str, ...]
    language_model: str = ""  # folder or name of what embeds them; t5-base by default


@dataclass(frozen=True, slots=True)
class ImportedPolicy:
    """A policy with all weights and statistics of a published model, and what was done to get it."""

    policy: Policy
    statistics: dict[str, Any]  # for stats.json
    origin: str
    domain: str
    tensors: int
    parameters: int
    encoder: LoadReport | None
    left_out: dict[str, str]
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        lines = [
            f"imported the policy of domain {self.domain!r}: {self.tensors} tensors, {self.parameters:,} numbers, "
            "strictly"
        ]
        lines += [str(self.encoder)] if self.encoder else []
        lines += [f"left out: {name} ({why})" for name, why in self.left_out.items()]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def import_trunk(source: str | Path, out: str | Path) -> ImportedTrunk:
    """Write the trunk of published weights as `trunk.safetensors` with a card, into a new folder.

    The size, above all the number of heads, which tensors do not show, comes from the configuration beside the
    weights and travels on in the file's metadata, where `load_trunk` finds it.

    Raises:
        WeightsError: a file is missing or damaged, its configuration disagrees with its tensors, or `out` is there.
    """
    published = open_published(source, TRUNK_FILES)
    found, left_out = trunk_tensors(read_tensors(published.weights), published.weights)
    size = trunk_config(published.config, found)
    with torch.device("meta"):
        own = Trunk(size).state_dict()
    check_strictly(own, found, what="a trunk of that size", file=published.weights)
    tensors = {
        f"{TRUNK_IN_FILE}{name}": value.to(torch.float32).contiguous() for name, value in found.items()
    }
    target = Path(out)
    with new_folder(target, WeightsError) as work:
        save_tensors(tensors, work / TRUNK_OUT, metadata=trunk_metadata(size))
        written = read_tensors(work / TRUNK_OUT)
        if written.keys() != tensors.keys() or any(not torch.equal(written[n], tensors[n]) for n in tensors):
            raise WeightsError(
                Code.UNWRITABLE, repr(str(target)), problem="does not read back as it was written",
                remedy="check the disk",
            )  # fmt: skip
        report = ImportedTrunk(
            size=size,
            file=target / TRUNK_OUT,
            sha256=sha256_of(work / TRUNK_OUT),
            tensors=len(tensors),
            parameters=sum(value.numel() for value in tensors.values()),
            origin=published.origin,
            left_out=left_out,
        )
        (work / CARD_OUT).write_text(_trunk_card(report), encoding="utf-8")
    return report


def import_policy(
    source: str | Path, robot: Robot, *, domain: str | None = None, image_encoder: str | None = None
) -> ImportedPolicy:
    """Build the policy of a published `model.pth` and load all of it, strictly.

    Args:
        source: a folder with config.yaml and model.pth (or safetensors), or hf://user/repo.
        robot: from the embodiment file.
        domain: whose stem and head; may be None where the file has one only.
        image_encoder: where the ImageNet weights of ResNet-18 are, which published files do not hold; "none" builds a
            policy that takes features.

    Raises:
        HptError: a file is missing or damaged, or what it says cannot be built here; the sentence names it.
    """
    published = open_published(source, MODEL_FILES)
    stored, config = read_tensors(published.weights), published.config
    domain = _choose_domain(domain, domains_of(stored), published.weights)
    names = config.texts("stem.modalities")
    refuse_what_cannot_be_said(config, names)
    horizon, notes = _observation_horizon(config)
    translated = translate(
        stored, config=config, domain=domain, name=robot.name, modalities=names, horizon=horizon
    )
    policy_config = _policy_config(config, translated, robot, names, horizon, image_encoder)
    policy = Policy(policy_config)
    own = {
        name: value
        for name, value in policy.state_dict().items()
        if name.partition(".")[0] not in ("encoders", "language")
    }
    load_strictly(policy, translated.tensors, what="the policy", file=published.weights, own=own)
    statistics = {name: _plain(statistics_in(policy, name)) for name in policy.statistics_needed}
    if policy_config.tasks:
        policy.set_task_embeddings(torch.as_tensor(embed_tasks(policy_config.language, policy_config.tasks)))
    encoder = None
    if image_encoder is not None and policy.encoders:
        encoder = load_image_encoder(policy, image_encoder)
    return ImportedPolicy(
        policy=policy.eval(),
        statistics=statistics,
        origin=published.origin,
        domain=domain,
        tensors=len(translated.tensors),
        parameters=sum(value.numel() for value in translated.tensors.values()),
        encoder=encoder,
        left_out=translated.left_out,
        notes=(*notes, *translated.notes, *_meaning(config, policy_config)),
    )


def policy_card(imported: ImportedPolicy, weights_sha256: str) -> str:
    """Return the card of an imported checkpoint whose weight file has that hash."""
    encoder = imported.encoder
    lines = [
        f"# HPT policy for {imported.policy.config.embodiment}, imported",
        "",
        "Imported with `hpt checkpoint import` from published weights; not trained here.",
        "",
        "## Made from",
        imported.origin,
        f"- domain: `{imported.domain}`",
        *([f"- image encoder: `{encoder.source}`, sha256 {encoder.sha256}"] if encoder else []),
        f"- result: `model.safetensors`, sha256 {weights_sha256}",
        "",
        "## What was loaded",
        *(f"- {line}" for line in str(imported).splitlines()),
        "",
        "## What the file cannot say",
        "- that the embodiment's actions and states are, in order and unit, those that it was trained with",
        "- how it does on this robot: nothing was measured",
        "",
    ]
    return "\n".join(lines)


def _policy_config(
    config: PublishedConfig,
    translated: Translation,
    robot: Robot,
    names: tuple[str, ...],
    horizon: int,
    image_encoder: str | None,
) -> PolicyConfig:
    tensors, stem = translated.tensors, f"stems.{robot.name}_"
    action_dim = int(need(tensors, f"normalizer.{robot.name}.params_dict.action.scale", 1).shape[0])
    pooling = config.text("network.token_postprocessing", "mean")
    if pooling not in POOLINGS:
        raise WeightsError(
            Code.UNSUPPORTED, f"{config.where}, token_postprocessing", pooling,
            problem=f"is {{value}}, but the released code computes only {', '.join(POOLINGS)}",
        )  # fmt: skip
    head, action_horizon = head_config(tensors, f"heads.{robot.name}.", config, action_dim, pooling)
    agree(config, "dataset.action_horizon", config.find("dataset.action_horizon"), action_horizon)
    if config.flag("network.no_trunk", False):
        trunk = replace(config.trunk(), depth=0)
    else:
        trunk = trunk_config(
            config,
            {
                name.removeprefix(TRUNK_IN_MODEL): value
                for name, value in tensors.items()
                if name.startswith(TRUNK_IN_MODEL)
            },
        )
    if LANGUAGE in names and not robot.tasks:
        raise WeightsError(
            Code.INVALID, config.where, problem="has a language stem, but no task was named",
            remedy="give --task TEXT, or an embodiment with a task",
        )  # fmt: skip
    stems = tuple(stem_config(tensors, f"{stem}{MODALITY_NAMES[n]}.", n, config) for n in names)
    built = PolicyConfig(
        embodiment=robot.name,
        action_dim=action_dim,
        action_horizon=action_horizon,
        observation_horizon=horizon,
        shapes={
            name: shape
            for name, shape in (
                (STATE, (input_width(tensors, f"{stem}{STATE}.net.") if STATE in names else 0,)),
                (IMAGE, (robot.views, robot.image_height, robot.image_width, 3)),
            )
            if name in names
        },
        trunk=trunk,
        stems=stems,
        image_encoder=_image_encoder(config, image_encoder) if IMAGE in names else ResNet18Config(),
        tasks=robot.tasks if LANGUAGE in names else (),
        language=_language(tensors, f"{stem}{LANGUAGE}.net.", robot)
        if LANGUAGE in names
        else LanguageConfig(),
        pooling=pooling,
        head=head,
        horizon_masking=config.flag("stem.random_horizon_masking", True),
    )
    _check_views(config, built)
    return built


def _image_encoder(config: PublishedConfig, given: str | None) -> ImageEncoderConfig:
    kind = config.text("stem.image_encoder", config.text("dataset.image_encoder", "resnet"))
    if kind != "resnet":
        raise WeightsError(
            Code.UNSUPPORTED, f"{config.where}, image encoder", kind,
            problem="is {value}, but only 'resnet' (ResNet-18) can be imported",
            remedy="import only the trunk (leave out --embodiment)",
        )  # fmt: skip
    if given is None:
        raise WeightsError(
            Code.INVALID, "published weights", problem="hold no image encoder, which stays the ImageNet one",
            remedy="give its file with --image-encoder (ResNet-18 with torchvision's names: a path or "
            "hf://), or --image-encoder none for a policy that takes features",
        )  # fmt: skip
    if given == NO_ENCODER:
        return NoEncoderConfig(cells=ResNet18.cells, cell_width=ResNet18.cell_width)
    return ResNet18Config()


def _language(tensors: Mapping[str, Tensor], prefix: str, robot: Robot) -> LanguageConfig:
    """The released code pads to 16 tokens of T5, which is `LanguageConfig`'s default."""
    return LanguageConfig(kind="t5", model=robot.language_model, width=input_width(tensors, prefix))


def _check_views(config: PublishedConfig, built: PolicyConfig) -> None:
    """The released code reads the first view only by default."""
    if built.views > 1 and not config.flag("dataset.use_multiview", False):
        raise WeightsError(
            Code.INVALID, "the embodiment",
            problem=f"has {built.views} image streams, but {config.where} was trained on one view "
            "(dataset.use_multiview is false)", remedy="give an embodiment with that camera only",
        )  # fmt: skip


def _choose_domain(wanted: str | None, known: tuple[str, ...], file: Path) -> str:
    if not known:
        raise WeightsError(
            Code.MISSING, f"the file {str(file)!r}", problem="holds no head, so it is no whole model",
            remedy="import only its trunk (leave out --embodiment)",
        )  # fmt: skip
    if wanted is None and len(known) > 1:
        raise WeightsError(
            Code.MISMATCH, f"the file {str(file)!r}", problem=f"is for the domains {some(known)}",
            remedy="say which one with --domain",
        )  # fmt: skip
    if wanted is not None and wanted not in known:
        raise WeightsError(
            Code.MISMATCH, f"the file {str(file)!r}", wanted,
            problem=f"is for {some(known)}, but --domain is {{value}}", remedy="name one of those",
        )  # fmt: skip
    return wanted or known[0]


def _observation_horizon(config: PublishedConfig) -> tuple[int, list[str]]:
    """Return the horizon that the policy was trained with, and a note where the released rollout would use another."""
    names = ("dataset.observation_horizon", "stem.observation_horizon", "network.observation_horizon")
    name = next((name for name in names if config.find(name) is not None), names[-1])
    horizon = config.integer(name)
    executed = config.integer("network.observation_horizon", horizon)
    if executed == horizon:
        return horizon, []
    return horizon, [
        f"trained with {horizon} observations ({name}); the released rollout would keep {executed} "
        "(network.observation_horizon), which is not followed"
    ]


def _meaning(config: PublishedConfig, built: PolicyConfig) -> list[str]:
    notes = ["modalities_tokens are kept and never added, as in the released code"]
    executed = config.find("network.action_horizon")
    if isinstance(executed, int) and executed != built.action_horizon:
        notes.append(
            f"chunks have {built.action_horizon} actions, of which the released rollout carries out {executed}"
        )
    if built.views > 1:
        notes.append(f"the file does not say its number of views; {built.views} are the embodiment's")
    return notes


def _plain(statistics: Statistics) -> dict[str, list[float]]:
    return {key: [float(number) for number in getattr(statistics, key)] for key in FIGURES}


def _trunk_card(report: ImportedTrunk) -> str:
    lines = [
        "# HPT trunk, imported",
        "",
        "Imported with `hpt checkpoint import` from published weights; the numbers are unchanged (float32).",
        "",
        report.origin,
        f"- result: `{TRUNK_OUT}`, sha256 {report.sha256}",
        f"- {report.tensors} tensors, {report.parameters:,} numbers: width {report.size.width}, depth "
        f"{report.size.depth}, {report.size.heads} heads",
        *([f"- left out: {', '.join(report.left_out)}"] if report.left_out else []),
        "",
    ]
    return "\n".join(lines)
