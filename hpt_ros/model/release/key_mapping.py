# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The layout of a published `model.pth`: its names in ours and back, and the configuration that it stands for.

Source: liruiw/HPT at 549433f. Stems are `stems.{domain}_{modality}`, heads `heads.{domain}`, normalisers
`normalizer.{domain}.params_dict.{feature}`; where the released code has a domain, this project has the embodiment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hpt_ros.errors import Code
from hpt_ros.modalities import ACTIONS, IMAGE, LANGUAGE, STATE
from hpt_ros.model.config import StemConfig, TrunkConfig
from hpt_ros.model.head_config import DecoderHeadConfig, HeadConfig, MlpHeadConfig
from hpt_ros.model.release.files import PublishedConfig
from hpt_ros.model.weight_files import WeightsError, some
from hpt_ros.model.weights import trunk_size

MODALITY_NAMES: Mapping[str, str] = {
    "image": IMAGE,
    "state": STATE,
    "prev_actions": ACTIONS,
    "language": LANGUAGE,
}
FEATURES = ("action", "state")  # what the released code normalises
POOLINGS = ("mean", "max", "last", "action_token", "no-op")  # "attentive" is named there and does not exist
STEM = "hpt.models.policy_stem.MLP"
HEAD_MLP, HEAD_DECODER = "hpt.models.policy_head.MLP", "hpt.models.policy_head.TransformerDecoder"
# Heads that the released code has, and why weights of them are refused.
HEADS_REFUSED: Mapping[str, str] = {
    "hpt.models.policy_head.Conv1D": "cannot run as released, so there is nothing that its weights stand for",
    "hpt.models.policy_head.GMMHead": "acts by the mean over all modes; 'gmm' here acts by the most probable one",
    "hpt.models.diffusion_policy_head.DiffusionPolicy": "has a U-Net of another layout than 'diffusion' here",
}
# Keys of the configuration that change what is computed: the only value that this project computes.
ONLY: Mapping[str, bool] = {
    "network.finetune_encoder": False,
    "dataset.proprioception_expand": False,
    "dataset.downsample_vision": False,
    "dataset.precompute_feat": True,
    "stem.precompute_feat": True,
    "stem.normalize_state": True,
    "head.ln": True,
}
_NUMBERED = re.compile(r"net\.(\d+)\.(weight|bias)")


@dataclass(slots=True)
class Translation:
    """The tensors of a published model in our names, and what became of the others."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # what, and why
    notes: list[str] = field(default_factory=list)


def domains_of(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the domains that a published model has heads for."""
    return tuple(dict.fromkeys(name.split(".")[1] for name in tensors if name.startswith("heads.")))


def refuse_what_cannot_be_said(config: PublishedConfig, modalities: tuple[str, ...]) -> None:
    """Raise for a key of the configuration whose value this project does not compute, naming it."""
    for name, value in ONLY.items():
        if config.flag(name, value) is not value:
            raise WeightsError(
                Code.UNSUPPORTED, f"{config.where}, key {name!r}",
                problem=f"is {str(not value).lower()}, but only {str(value).lower()} can be imported: this "
                "project computes nothing else", remedy="import only the trunk (leave out --embodiment)",
            )  # fmt: skip
    for modality in modalities:
        if modality not in MODALITY_NAMES:
            raise WeightsError(
                Code.UNSUPPORTED, f"{config.where}, modality", modality,
                problem=f"is {{value}}, but only {', '.join(MODALITY_NAMES)} can be imported",
                remedy="import only the trunk (leave out --embodiment)",
            )  # fmt: skip
        stem = f"stem.{modality}"
        target = config.text(f"{stem}._target_", STEM)
        if target != STEM:
            raise WeightsError(
                Code.UNSUPPORTED, config.where, modality,
                problem=f"builds the stem of {{value}} as {target!r}, but only {STEM!r} can be imported",
                remedy="import only the trunk (leave out --embodiment)",
            )  # fmt: skip
        for key, value in (("tanh_end", False), ("ln", True)):
            if config.flag(f"{stem}.{key}", value) is not value:
                raise WeightsError(
                    Code.UNSUPPORTED, f"{config.where}, key '{stem}.{key}'",
                    problem=f"is {str(not value).lower()}, but stems here are built with {str(value).lower()}",
                    remedy="import only the trunk (leave out --embodiment)",
                )  # fmt: skip


def translate(
    tensors: Mapping[str, Tensor],
    *,
    config: PublishedConfig,
    domain: str,
    name: str,
    modalities: tuple[str, ...],
    horizon: int,
) -> Translation:
    """Return a published model's tensors of one domain in our names.

    Args:
        tensors: of a model.pth.
        config: beside it.
        domain: whose stem, head and normaliser.
        name: the embodiment's, which takes the domain's place.
        modalities: published names of those that the policy reads.
        horizon: observation horizon.

    Raises:
        WeightsError: copies of a stem that differ, encoders, or a stem whose copies do not cover the horizon.
    """
    out = Translation()
    stems = {f"{domain}_{modality}": f"{name}_{MODALITY_NAMES[modality]}" for modality in modalities}
    features = [feature for feature in FEATURES if feature == "action" or feature in modalities]
    pooled = config.text("network.token_postprocessing", "mean") == "action_token"
    for key, value in tensors.items():
        part, _, rest = key.partition(".")
        owner, _, inner = rest.partition(".")
        tensor = value.to(torch.float32) if value.is_floating_point() else value
        if part == "trunk" and config.flag("network.no_trunk", False):
            out.left_out["trunk"] = "the configuration says no_trunk, so it is never run"
        elif part == "encoders":
            raise WeightsError(
                Code.WRONG_SHAPE, "the weights", key,
                problem="hold an encoder ({value}), whose released layout cannot run (the stem expects 512 "
                "numbers a cell)", remedy="import only the trunk (leave out --embodiment)",
            )  # fmt: skip
        elif part == "stems" and owner not in stems:
            out.left_out[f"stems.{owner}"] = "of another domain, or no modality of the configuration"
        elif part in ("heads", "normalizer", "action_tokens") and owner != domain:
            out.left_out[f"{part}.{owner}"] = "of another domain"
        elif part == "normalizer" and (feature := inner.split(".", 2)[1:2]) and feature[0] not in features:
            out.left_out[f"normalizer.{owner}.{feature[0]}"] = "normalises nothing that is read"
        elif part == "modalities_tokens" and owner not in modalities:
            out.left_out[key] = "of a modality that is not read"
        elif part == "action_tokens" and not pooled:
            out.left_out[key] = "token_postprocessing is not action_token"
        elif part == "stems":
            out.tensors[f"stems.{stems[owner]}.{inner}"] = tensor
        elif part == "modalities_tokens":
            out.tensors[".".join(filter(None, (part, MODALITY_NAMES[owner], inner)))] = tensor
        elif part in ("heads", "normalizer", "action_tokens"):
            out.tensors[".".join(filter(None, (part, name, inner)))] = tensor
        else:  # the trunk; anything unknown is found when it is loaded strictly
            out.tensors[key] = tensor
    for stem in stems.values():
        _merge_copies(out, f"stems.{stem}.", horizon)
    _number_head(out, f"heads.{name}.")
    return out


def _merge_copies(out: Translation, prefix: str, horizon: int) -> None:
    """Make one network of the copies `net.{copy}.{layer}` that the released code keeps per observation.

    Its copies are one and the same network under several names, so nothing is lost; it hands observation i to copy i
    and drops observations beyond the last copy.
    """
    pattern = re.compile(re.escape(prefix) + r"net\.(\d+)\.(\d+\.(?:weight|bias))")
    copies: dict[int, dict[str, Tensor]] = {}
    for key in list(out.tensors):
        if match := pattern.fullmatch(key):
            copies.setdefault(int(match.group(1)), {})[match.group(2)] = out.tensors.pop(key)
    if not copies:
        return
    first = copies[min(copies)]
    for index, layers in copies.items():
        if layers.keys() != first.keys() or any(not torch.equal(first[key], layers[key]) for key in first):
            raise WeightsError(
                Code.MISMATCH, f"copy {index} of {prefix}net",
                problem=f"differs from copy {min(copies)}, but the released code keeps one set of weights "
                "under all", remedy="the file was made by other code, so import only its trunk",
            )  # fmt: skip
    if len(copies) < horizon:
        raise WeightsError(
            Code.UNSUPPORTED, f"{prefix}net", len(copies),
            problem=f"has {{value}} copies for {horizon} observations, and the released code would drop the "
            "newest", remedy="import only the trunk (leave out --embodiment)",
        )  # fmt: skip
    out.tensors |= {f"{prefix}net.{key}": value for key, value in first.items()}
    out.notes.append(f"{len(copies)} equal copies of {prefix}net were merged into one")


def _number_head(out: Translation, prefix: str) -> None:
    """Give the layers of an MLP head the numbers that they have with dropout, which has no weights of its own.

    That is Linear 0, SiLU 1, then for each further hidden width Linear, Dropout, LayerNorm, SiLU, then Linear.
    """
    layers: dict[int, dict[str, Tensor]] = {}
    for key in list(out.tensors):
        match = _NUMBERED.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
        if match:
            layers.setdefault(int(match.group(1)), {})[match.group(2)] = out.tensors.pop(key)
    linears = 0
    for index in sorted(layers):
        is_linear = all(value.ndim == 2 for kind, value in layers[index].items() if kind == "weight")
        linears += is_linear
        position = 0 if linears <= 1 else 4 * linears - (6 if is_linear else 4)
        out.tensors |= {f"{prefix}net.{position}.{kind}": value for kind, value in layers[index].items()}


def stem_config(
    tensors: Mapping[str, Tensor], prefix: str, published: str, config: PublishedConfig
) -> StemConfig:
    """Return what a stem's tensors (named as ours, below `prefix`) and the configuration say of it.

    Raises:
        WeightsError: a tensor is missing, or the two disagree.
    """
    widths = hidden_widths(tensors, f"{prefix}net.")
    tokens = int(need(tensors, f"{prefix}tokens", 3).shape[1])
    heads, head_width = (
        config.integer("stem.crossattn_heads", 8),
        config.integer("stem.crossattn_dim_head", 64),
    )
    inner = int(need(tensors, f"{prefix}cross_attention.to_q.weight", 2).shape[0])
    for key, said, held in (
        ("stem.crossattn_heads times stem.crossattn_dim_head", heads * head_width, inner),
        (f"stem.crossattn_latent.{published}", config.find(f"stem.crossattn_latent.{published}"), tokens),
        (f"stem.{published}.widths", config.find(f"stem.{published}.widths"), list(widths)),
    ):
        agree(config, key, said, held)
    return StemConfig(
        MODALITY_NAMES[published],
        widths=widths,
        tokens=tokens,
        heads=heads,
        head_width=head_width,
        dropout=config.number("stem.crossattn_modality_dropout", 0.1),
    )


def head_config(
    tensors: Mapping[str, Tensor], prefix: str, config: PublishedConfig, action_dim: int, pooling: str
) -> tuple[HeadConfig, int]:
    """Return what a head's tensors (named as ours, below `prefix`) say of it, and its action horizon.

    Raises:
        WeightsError: a head that cannot be imported, a missing tensor, or sizes that disagree.
    """
    target = config.text("head._target_", HEAD_MLP)
    if target not in (HEAD_MLP, HEAD_DECODER):
        why = HEADS_REFUSED.get(target, "is none of the released code's")
        raise WeightsError(
            Code.UNSUPPORTED, f"{config.where}, head", target, problem=f"is {{value}}, which {why}",
            remedy="import only the trunk (leave out --embodiment)",
        )  # fmt: skip
    if target == HEAD_DECODER:
        tokens = need(tensors, f"{prefix}tokens", 3)
        if int(tokens.shape[2]) != action_dim:
            raise WeightsError(
                Code.WRONG_SHAPE, "the decoder head", int(tokens.shape[2]),
                problem=f"gives {{value}} numbers a step, but an action has {action_dim}: the released head "
                "has no projection, so such weights act in no way", remedy="import only the trunk",
            )  # fmt: skip
        hidden = int(need(tensors, f"{prefix}mlp.0.weight", 2).shape[0])
        heads = config.integer("head.crossattn_heads", 8)
        inner = int(need(tensors, f"{prefix}cross_attention.to_q.weight", 2).shape[0])
        decoder = DecoderHeadConfig(
            projection=False, heads=heads, head_width=inner // heads, hidden_width=hidden,
            dropout=config.number("head.crossattn_modality_dropout", 0.1),
        )  # fmt: skip
        return decoder, int(tokens.shape[1])
    widths, out = hidden_widths(tensors, f"{prefix}net."), last_width(tensors, f"{prefix}net.")
    if out % action_dim:
        raise WeightsError(
            Code.MISMATCH, "the head",
            problem=f"gives {out} numbers, which is no multiple of the {action_dim} of an action",
            remedy="the weights are mixed from two models, fetch them again",
        )  # fmt: skip
    if pooling == "action_token":
        if out != action_dim:
            raise WeightsError(
                Code.WRONG_SHAPE, "with pooling 'action_token' the head",
                problem=f"gives {out} numbers a token", expected=f"the {action_dim} of an action",
                remedy="import only the trunk (leave out --embodiment)",
            )  # fmt: skip
        horizon = int(need(tensors, prefix.replace("heads.", "action_tokens.", 1).rstrip("."), 3).shape[1])
    else:
        horizon = out // action_dim
    head = MlpHeadConfig(
        widths=widths,
        tanh=config.flag("head.tanh_end", False),  # the released code's own default
        dropout=0.1 if config.flag("head.dropout", False) else 0.0,  # 0.1 is fixed in the released code
    )
    return head, horizon


def hidden_widths(tensors: Mapping[str, Tensor], prefix: str) -> tuple[int, ...]:
    """Return the widths of a network's hidden layers, from its Linear weights ``{prefix}{i}.weight``."""
    return tuple(int(weight.shape[0]) for weight in _linears(tensors, prefix)[:-1])


def last_width(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many numbers a network gives."""
    return int(_linears(tensors, prefix)[-1].shape[0])


def input_width(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many numbers a network takes."""
    return int(_linears(tensors, prefix)[0].shape[1])


def _linears(tensors: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.weight")
    numbered = sorted((int(match.group(1)), name) for name in tensors if (match := pattern.fullmatch(name)))
    found = [tensors[name] for _, name in numbered if tensors[name].ndim == 2]
    if len(found) < 2:
        raise WeightsError(
            Code.OUT_OF_RANGE, "the weights", len(found),
            problem=f"hold {{value}} Linear layers below {prefix!r}", expected="two or more",
            remedy="they are of another domain or layout",
        )  # fmt: skip
    return found


def need(tensors: Mapping[str, Tensor], name: str, axes: int) -> Tensor:
    """Return a tensor of that many axes.

    Raises:
        WeightsError: it is not there, has another number of axes, or is empty.
    """
    if name not in tensors:
        raise WeightsError(
            Code.INVALID, "the weights", name, problem=f"lack {{value}} (they hold {some(tensors)})",
            remedy="fetch them again, or name another domain",
        )  # fmt: skip
    if tensors[name].ndim != axes or not tensors[name].numel():
        raise WeightsError(
            Code.WRONG_SHAPE, f"the weights' {name!r}", tuple(tensors[name].shape),
            expected=f"{axes} axes, none empty", remedy="fetch them again",
        )  # fmt: skip
    return tensors[name]


def agree(config: PublishedConfig, key: str, said: object, held: object) -> None:
    """Raise unless the configuration's value, where it has one, is that of the weights."""
    if said is not None and said != held:
        raise WeightsError(
            Code.MISMATCH, config.where, said,
            problem=f"has {{value}} for {key}, but the weights have {held!r}",
            remedy="the folder was mixed from two models, fetch it again",
        )  # fmt: skip


def trunk_config(config: PublishedConfig, tensors: Mapping[str, Tensor]) -> TrunkConfig:
    """Return the trunk's size from the configuration, checked against tensors named ``blocks.{i}...``."""
    trunk = config.trunk()
    width, depth = trunk_size(tensors)
    agree(config, "network.embed_dim", trunk.width, width)
    agree(config, "network.num_blocks", trunk.depth, depth)
    return trunk
