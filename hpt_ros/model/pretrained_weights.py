# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Weights of image encoders that timm and transformers build: strictly, and with a report, as all weights are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpt_ros.errors import Code
from hpt_ros.extras import require_extra
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.libraries import quiet
from hpt_ros.model.policy import Policy
from hpt_ros.model.pretrained import LibraryEncoder
from hpt_ros.model.weight_files import ENCODER_FILES, WeightsError, read_tensors, resolve, some
from hpt_ros.model.weights import LoadReport, load_strictly, report_load

# First parts of the names of what transformers' files hold beside the encoder: classifiers, poolers, decoders.
OUTSIDE = ("classifier", "cls_classifier", "distillation_classifier", "decoder", "head", "pooler")


def load_library_encoder(policy: Policy, source: str | Path) -> LoadReport:
    """Load a published model's weights into every network of the policy's image encoder; call it after construction.

    The library's own rules turn the names of older files into today's; a classifier, pooler or decoder is left out.

    Args:
        policy: its image encoder is of timm or of transformers.
        source: a file, a folder with `model.safetensors`, or ``hf://user/repo[/file]``.

    Raises:
        WeightsError: another encoder, no such file, or one that does not fit.
    """
    encoder = dict(policy.encoders.items()).get("image")
    nets = list(encoder.nets) if isinstance(encoder, ImageEncoder) else []
    if not nets or not all(isinstance(net, LibraryEncoder) for net in nets):
        raise WeightsError(
            Code.INVALID, "the policy's image encoder", policy.config.image_encoder.kind,
            problem="is {value}, but weights of timm or transformers need one of these",
            remedy="set image_encoder.kind, or load no image encoder",
        )  # fmt: skip
    file = resolve(source, ENCODER_FILES)
    tensors = read_tensors(file)
    first = nets[0]
    assert isinstance(first, LibraryEncoder)
    what = f"the image encoder {first.architecture.name!r}"
    retained, left_out = (_of_timm if first.of_timm else _of_transformers)(first, tensors, what, file)
    for net in nets:
        assert isinstance(net, LibraryEncoder)
        load_strictly(net.network, retained, what=what, file=file)
    return report_load(f"image encoder (x{len(nets)})", source, file, retained, len(nets), left_out)


def _of_timm(
    net: LibraryEncoder, tensors: Mapping[str, Tensor], what: str, file: Path
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the network's tensors, and the names of the classifier's."""
    facts: dict[str, Any] = net.network.pretrained_cfg  # type: ignore[assignment]
    classifiers = facts["classifier"] or ()
    prefixes = tuple(f"{name}." for name in ((classifiers,) if isinstance(classifiers, str) else classifiers))
    left_out = tuple(name for name in tensors if name.startswith(prefixes))
    retained = {name: value for name, value in tensors.items() if name not in left_out}
    own = net.network.state_dict()
    if {name: value.shape for name, value in retained.items()} == {name: v.shape for name, v in own.items()}:
        return retained, left_out
    timm = require_extra("timm", extra="timm", what="the image encoder 'timm'")
    try:  # an older file's names, or position embeddings of another size: timm knows how, and is strict
        whole = timm.create_model(
            net.architecture.name,
            pretrained=True,
            num_classes=facts["num_classes"],
            pretrained_cfg_overlay={"state_dict": dict(tensors)},
            **json.loads(net.architecture.arguments),
        )
    except Exception as error:
        load_strictly(net.network, retained, what=what, file=file)  # its sentence names what differs
        raise WeightsError(
            Code.MISMATCH, f"the file {str(file)!r}", problem=f"does not fit {what}", cause=error
        ) from error
    return {name: value for name, value in whole.state_dict().items() if name in own}, left_out


def _of_transformers(
    net: LibraryEncoder, tensors: Mapping[str, Tensor], what: str, file: Path
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the network's tensors, and the names of what stands beside it in the file."""
    transformers = require_extra(
        "transformers", extra="transformers", what="the image encoder 'transformers'"
    )
    network: Any = net.network
    try:
        with quiet(transformers):
            loaded, info = type(network).from_pretrained(
                None,
                config=network.config,
                state_dict=dict(tensors),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # reported below
                output_loading_info=True,
            )
    except Exception as error:
        load_strictly(network, tensors, what=what, file=file)  # its sentence names what differs
        raise WeightsError(
            Code.MISMATCH, f"the file {str(file)!r}", problem=f"does not fit {what}", cause=error
        ) from error
    own = network.state_dict()
    missing = sorted(name for name in info["missing_keys"] if name in own)
    prefix = f"{network.base_model_prefix}."
    unexpected = sorted(info["unexpected_keys"])
    surplus = [name for name in unexpected if name.removeprefix(prefix).split(".")[0] not in OUTSIDE]
    mismatched = sorted(str(entry[0]) for entry in info["mismatched_keys"])
    problems = [
        f"{words} {len(names)} tensors ({some(names)})"
        for words, names in (
            ("lacks", missing),
            ("has too many,", surplus),
            ("has, of another shape,", mismatched),
        )
        if names
    ]
    if problems:
        raise WeightsError(
            Code.MISMATCH, f"the file {str(file)!r}",
            problem=f"does not fit {what}: it {' and '.join(problems)}",
            remedy="use the weights of the model that image_encoder.model names",
        )  # fmt: skip
    state = loaded.state_dict()
    left_out = tuple(unexpected) + tuple(name for name in tensors if name in state and name not in own)
    return {name: state[name] for name in own}, left_out
