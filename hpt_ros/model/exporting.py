# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy in the layout of published weights: a folder with `model.pth` and `config.yaml`, and its image encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpt_ros.atomic import new_folder
from hpt_ros.errors import Code
from hpt_ros.modalities import ACTIONS, IMAGE, LANGUAGE, STATE
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.encoders import feature_shape
from hpt_ros.model.head_config import DecoderHeadConfig, MlpHeadConfig
from hpt_ros.model.policy import Policy
from hpt_ros.model.registry import narrow
from hpt_ros.model.release.key_mapping import HEAD_DECODER, HEAD_MLP, MODALITY_NAMES, POOLINGS, STEM
from hpt_ros.model.weight_files import WeightsError, read_tensors, save_tensors, sha256_of
from hpt_ros.structured import dump_yaml

MODEL, CONFIG, ENCODER = "model.pth", "config.yaml", "image_encoder.safetensors"
PUBLISHED_NAMES = {ours: published for published, ours in MODALITY_NAMES.items()}


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """What was written."""

    folder: Path
    domain: str
    sha256: str
    tensors: int
    parameters: int
    left_out: tuple[str, ...]
    encoder: bool

    def __str__(self) -> str:
        lines = [
            f"wrote the model of domain {self.domain!r}: {self.tensors} tensors, {self.parameters:,} numbers to "
            f"{self.folder / MODEL} (sha256 {self.sha256}), with {CONFIG}"
        ]
        if self.encoder:
            lines.append(
                f"its image encoder, which published models do not hold, is in {self.folder / ENCODER}"
            )
        lines += [f"left out: {what}" for what in self.left_out]
        return "\n".join(lines)


def export_model(policy: Policy, out: str | Path) -> ExportedModel:
    """Write a policy in the published layout to a new folder; `hpt checkpoint import` reads it back.

    Raises:
        WeightsError: the released code has no such network (the sentence says what), or `out` is there.
    """
    config = policy.config
    _refuse_what_released_code_lacks(config)
    tensors = _published_tensors(policy)
    encoder = _encoder_tensors(policy)
    target = Path(out)
    with new_folder(target, WeightsError) as work:
        torch.save(tensors, work / MODEL)
        (work / CONFIG).write_text(dump_yaml(to_published_mapping(config)), encoding="utf-8")
        if encoder:
            save_tensors(encoder, work / ENCODER, metadata={"format": "pt"})
        written = read_tensors(work / MODEL)
        if written.keys() != tensors.keys() or any(not torch.equal(written[n], tensors[n]) for n in tensors):
            raise WeightsError(
                Code.UNWRITABLE, repr(str(target)), problem="does not read back as it was written",
                remedy="check the disk",
            )  # fmt: skip
        digest = sha256_of(work / MODEL)
    return ExportedModel(
        folder=target,
        domain=config.embodiment,
        sha256=digest,
        tensors=len(tensors),
        parameters=sum(value.numel() for value in tensors.values()),
        left_out=("language.embeddings (published models hold no tasks)",) if config.tasks else (),
        encoder=bool(encoder),
    )


def to_published_mapping(config: PolicyConfig) -> dict[str, Any]:
    """Return the configuration in the published layout, as plain values."""
    trunk, first = config.trunk, config.stems[0]
    names = [PUBLISHED_NAMES[modality] for modality in config.modalities]
    widths = {STATE: config.state_dim, ACTIONS: config.action_dim, LANGUAGE: config.language.width}
    if IMAGE in config.modalities:
        widths[IMAGE] = feature_shape(config)[1]
    stem: dict[str, Any] = {
        "modalities": names,
        "modality_embed_dim": trunk.width,
        "normalize_state": True,
        "precompute_feat": True,
        "image_encoder": "resnet",
        "crossattn_heads": first.heads,
        "crossattn_dim_head": first.head_width,
        "crossattn_modality_dropout": first.dropout,
        "random_horizon_masking": config.horizon_masking,
        "observation_horizon": config.observation_horizon,
        "crossattn_latent": {name: stem.tokens for name, stem in zip(names, config.stems, strict=True)},
    }
    for name, spec in zip(names, config.stems, strict=True):
        stem[name] = {
            "_target_": STEM,
            "input_dim": widths[spec.modality],
            "output_dim": trunk.width,
            "widths": list(spec.widths),
        }
    return {
        "domains": config.embodiment,
        "network": {
            "_target_": "hpt.models.policy.Policy",
            "embed_dim": trunk.width,
            "num_blocks": trunk.depth,
            "num_heads": trunk.heads,
            "drop_path": trunk.drop_path,
            "use_modality_embedding": True,  # it only says that the tokens are stored
            "observation_horizon": config.observation_horizon,
            "action_horizon": config.action_horizon,
            "token_postprocessing": config.pooling,
            "no_trunk": False,
            "finetune_encoder": False,
        },
        "stem": stem,
        "head": _head_mapping(config),
        "dataset": {
            "action_horizon": config.action_horizon,
            "observation_horizon": config.observation_horizon,
            "precompute_feat": True,
            "image_encoder": "resnet",
            "use_multiview": config.views > 1,
            "normalize_state": True,
        },
    }


def _head_mapping(config: PolicyConfig) -> dict[str, Any]:
    head, width = config.head, config.trunk.width
    if isinstance(head, DecoderHeadConfig):
        return {
            "_target_": HEAD_DECODER,
            "input_dim": width,
            "output_dim": width,
            "action_horizon": config.action_horizon,
            "crossattn_heads": head.heads,
            "crossattn_dim_head": head.head_width,
            "crossattn_modality_dropout": head.dropout,
        }
    mlp = narrow(head, MlpHeadConfig)
    steps = 1 if config.pooling == "action_token" else config.action_horizon
    return {
        "_target_": HEAD_MLP,
        "input_dim": width,
        "output_dim": config.action_dim * steps,
        "widths": list(mlp.widths),
        "tanh_end": mlp.tanh,
        "normalize_action": mlp.tanh,
        "dropout": True,  # its layers are numbered with it
    }


def _refuse_what_released_code_lacks(config: PolicyConfig) -> None:
    lacking: list[str] = []
    lacking += [f"a {name} stem" for name in config.modalities if name not in PUBLISHED_NAMES]
    head = config.head
    if not isinstance(head, (MlpHeadConfig, DecoderHeadConfig)):
        lacking.append(f"a {head.kind} head of this layout")
    if isinstance(head, DecoderHeadConfig) and head.projection:
        lacking.append("a decoder head with projection")
    if isinstance(head, DecoderHeadConfig) and head.hidden_width != head.heads * head.head_width:
        lacking.append(f"a decoder head whose hidden width {head.hidden_width} is not heads times head width")
    if config.pooling not in POOLINGS:
        lacking.append(f"pooling {config.pooling!r}")
    if config.modality_embedding:
        lacking.append("a modality embedding that is added")
    if not config.trunk.depth:
        lacking.append("a policy without trunk")
    if IMAGE in config.modalities:
        encoder = config.image_encoder
        if encoder.kind not in ("resnet18", "none") or not encoder.shared:
            lacking.append(
                f"the image encoder {encoder.kind!r}{'' if encoder.shared else ', separate per view'}"
            )
    if len({(stem.heads, stem.head_width) for stem in config.stems}) > 1:
        lacking.append("stems with different numbers or widths of heads")
    if lacking:
        raise WeightsError(
            Code.UNWRITABLE, "the policy",
            problem="cannot be written in the published layout, since the released code lacks "
            f"{'; '.join(lacking)}", remedy="export its trunk with --format trunk",
        )  # fmt: skip


def _published_tensors(policy: Policy) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    prefix = f"stems.{policy.config.embodiment}_"
    for name, value in policy.state_dict().items():
        if name.startswith(("encoders.", "language.")):
            continue
        if name.startswith((prefix, "modalities_tokens.")):
            start = prefix if name.startswith(prefix) else "modalities_tokens."
            modality, dot, rest = name.removeprefix(start).partition(".")
            name = f"{start}{PUBLISHED_NAMES[modality]}{dot}{rest}"
        tensors[name] = value.detach().to("cpu", torch.float32).contiguous().clone()
    return tensors


def _encoder_tensors(policy: Policy) -> dict[str, Tensor]:
    """Return the image encoder with torchvision's names, for `--image-encoder`; empty where there is none."""
    if IMAGE not in policy.encoders:
        return {}
    prefix = "encoders.image.nets.0."
    return {
        name.removeprefix(prefix): value.detach().to("cpu").contiguous().clone()
        for name, value in policy.state_dict().items()
        if name.startswith(prefix)
    }
