# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Loading weights: strictly, after construction, and with a report of what came from the file.

Files are published HPT weights (`trunk.pth`, `model.pth`), the same names in safetensors, or this project's checkpoint
folders; from a local path or from the Hugging Face hub as ``hf://user/repo[/file]``. Pickled files are read with
``weights_only=True``, so that they cannot run code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hpt_ros.atomic import replace_atomically
from hpt_ros.errors import Code
from hpt_ros.modalities import IMAGE
from hpt_ros.model.config import TRUNK_SIZES, TrunkConfig
from hpt_ros.model.efficientnet import PACKAGE, EfficientNetLite0, beyond, find_packaged_file
from hpt_ros.model.encoder_config import LibraryEncoderConfig
from hpt_ros.model.encoders import ImageEncoder, ResNet18
from hpt_ros.model.policy import Policy
from hpt_ros.model.release.files import find_heads
from hpt_ros.model.weight_files import (
    ENCODER_FILES,
    WeightsError,
    read_metadata,
    read_tensors,
    resolve,
    save_tensors,
    sha256_of,
    some,
)

TRUNK_IN_MODEL = "trunk.trunk."  # prefix in model.pth and in our checkpoints
TRUNK_IN_FILE = "trunk."  # prefix in trunk.pth
CLASSIFIER = ("fc.weight", "fc.bias")
# BatchNorm's count of training steps: files older than PyTorch 0.4.1 lack it, and with a momentum nothing reads it.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was loaded, for people and for the checkpoint's card."""

    part: str
    source: str
    file: str
    sha256: str
    tensors: int
    parameters: int
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        left_out = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return (
            f"loaded {self.part}: {self.tensors} tensors, {self.parameters:,} numbers from {self.source} "
            f"(sha256 {self.sha256[:16]}){left_out}"
        )


def load_trunk(policy: Policy, source: str | Path) -> LoadReport:
    """Load the trunk of `policy` from a `trunk.pth`, a `model.pth` or a checkpoint; call it after construction.

    Raises:
        WeightsError: no such file, unreadable, without a trunk, or of another size.
    """
    file = resolve(source)
    tensors = read_tensors(file)
    found, others = trunk_tensors(tensors, file)
    _check_trunk_size(policy.config.trunk, found, file)
    load_strictly(policy.trunk["trunk"], found, what="the trunk", file=file)
    return report_load("trunk", source, file, found, 1, others)


def load_model(policy: Policy, source: str | Path, *, without: Collection[str] = ()) -> LoadReport:
    """Load an entire policy from a published `model.pth` (or the same in safetensors); call it after construction.

    Args:
        policy: built from the same configuration; its embodiment's name must be the file's domain.
        source: path or hub address.
        without: parts that the file is allowed, and then required, to lack: published files have no "encoders".

    Raises:
        WeightsError: no such file, unreadable, or any name or shape that differs.
    """
    file = resolve(source)
    tensors = read_tensors(file)
    domains = {name.split(".")[1] for name in tensors if name.startswith("heads.")}
    if domains and policy.config.embodiment not in domains:
        raise WeightsError(
            Code.MISMATCH, f"the file {str(file)!r}", policy.config.embodiment,
            problem=f"is for {', '.join(sorted(domains))}, but the policy is for {{value}}",
            remedy="load only its trunk, or name the policy's embodiment as the file does",
        )  # fmt: skip
    own = {name: value for name, value in policy.state_dict().items() if name.split(".")[0] not in without}
    depth_width = {
        name.removeprefix(TRUNK_IN_MODEL): v for name, v in tensors.items() if name.startswith(TRUNK_IN_MODEL)
    }
    if depth_width:
        _check_trunk_size(policy.config.trunk, depth_width, file)
    load_strictly(policy, tensors, what="the policy", file=file, own=own)
    return report_load("policy", source, file, tensors, 1)


def load_image_encoder(policy: Policy, source: str | Path) -> LoadReport:
    """Load published weights into every network of the policy's image encoder; what lies behind them is left out.

    The source is a file, a folder with one of `ENCODER_FILES`, or ``hf://user/repo[/file]``: ImageNet weights with
    torchvision's names for ResNet-18; a file like that of the package `efficientnet.PACKAGE`, or that name itself, for
    EfficientNet-Lite0; the library's files for timm and transformers (`hpt_ros.model.pretrained_weights`); or, for any
    kind, the folder of one of this project's checkpoints, with the same encoder.

    Raises:
        WeightsError: the policy's encoder is of none of these, or the file does not fit.
        MissingExtraError: the package is named, but not installed.
    """
    from hpt_ros.model import parts_of_checkpoint  # it imports this module

    if parts_of_checkpoint.is_checkpoint(source):
        return parts_of_checkpoint.load_encoder_of_checkpoint(policy, source)
    kind = policy.config.image_encoder.kind
    if isinstance(policy.config.image_encoder, LibraryEncoderConfig):
        from hpt_ros.model.pretrained_weights import load_library_encoder  # it imports this module

        return load_library_encoder(policy, source)
    encoder = dict(policy.encoders.items()).get(IMAGE)  # depth has one of its own
    nets = list(encoder.nets) if isinstance(encoder, ImageEncoder) else []
    if not nets or not isinstance(nets[0], (ResNet18, EfficientNetLite0)):
        raise WeightsError(
            Code.INVALID, "the policy's image encoder", kind,
            problem="is {value}, but ImageNet weights need 'resnet18' or 'efficientnet_lite0'",
            remedy="name a checkpoint of this encoder, set image_encoder.kind, or load no image encoder",
        )  # fmt: skip
    file = find_packaged_file() if str(source) == PACKAGE else resolve(source, ENCODER_FILES)
    tensors = read_tensors(file)
    first = nets[0]
    left_out = (
        beyond(first, tensors)
        if isinstance(first, EfficientNetLite0)
        else tuple(name for name in CLASSIFIER if name in tensors)
    )
    retained = {name: value for name, value in tensors.items() if name not in left_out}
    what = "ResNet-18" if isinstance(first, ResNet18) else "EfficientNet-Lite0"
    for net in nets:
        load_strictly(net, retained, what=what, file=file)
    return report_load(f"image encoder (x{len(nets)})", source, file, retained, len(nets), left_out)


def export_trunk(policy: Policy, out: str | Path) -> LoadReport:
    """Write the policy's trunk in the layout of a published `trunk.pth`, and read it back to prove that it is complete.

    Args:
        policy: whose trunk.
        out: a new file; its ending, .pth or .safetensors, says the format. Parents are made.

    Raises:
        WeightsError: another ending, a file that is already there, or one that cannot be written.
    """
    path = Path(out)
    if path.suffix not in (".pth", ".safetensors"):
        raise WeightsError(
            Code.INVALID, "the file to export to", str(path), expected="a name ending in .pth or .safetensors",
            remedy="rename it",
        )  # fmt: skip
    if not policy.config.trunk.depth:
        raise WeightsError(
            Code.MISSING, "the policy", problem="has no trunk (trunk.depth is 0), so there is none to export",
            remedy="take another checkpoint",
        )  # fmt: skip
    if path.exists():
        raise WeightsError(Code.EXISTS, repr(str(path)), remedy="name another file")
    tensors = {
        name: value.detach().to("cpu", torch.float32).contiguous().clone()
        for name, value in policy.trunk.state_dict().items()  # "trunk.blocks.0...."
    }
    try:
        with replace_atomically(path) as work:
            if path.suffix == ".pth":
                torch.save(tensors, work)
            else:
                save_tensors(tensors, work, metadata=trunk_metadata(policy.config.trunk))
            written = read_tensors(work)
            if written.keys() != tensors.keys() or any(
                not torch.equal(written[name], tensors[name]) for name in tensors
            ):
                raise WeightsError(
                    Code.UNWRITABLE, repr(str(path)), problem="does not read back as it was written",
                    remedy="check the disk",
                )  # fmt: skip
    except OSError as error:
        raise WeightsError(
            Code.UNWRITABLE, repr(str(path)), remedy="name another file, or make room", cause=error
        ) from error
    return report_load("trunk", path, path, tensors, 1)


def trunk_metadata(config: TrunkConfig) -> dict[str, str]:
    """Return what a trunk's `.safetensors` file says beside its tensors, which do not show the number of heads."""
    return {
        "format": "pt",
        "width": str(config.width),
        "depth": str(config.depth),
        "heads": str(config.heads),
    }


def load_strictly(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    what: str,
    file: Path,
    own: Mapping[str, Tensor] | None = None,
) -> None:
    """Copy `tensors` into `module` if names and shapes are exactly its own and all values are finite; else raise.

    `own` restricts the module's names that the file must hold (default: all of them).
    """
    check_strictly(module.state_dict() if own is None else own, tensors, what=what, file=file)
    module.load_state_dict({**module.state_dict(), **tensors}, strict=True)


def check_strictly(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, what: str, file: Path
) -> None:
    """Raise unless `tensors` have exactly the names and shapes of `own` (a state dict) and hold finite numbers."""
    missing = [name for name in own if name not in tensors and not name.endswith(COUNTER)]
    unexpected = [name for name in tensors if name not in own]
    if missing or unexpected:
        lacks = f"lacks {len(missing)} tensors ({some(missing)})" if missing else ""
        surplus = f"has {len(unexpected)} tensors too many ({some(unexpected)})" if unexpected else ""
        raise WeightsError(
            Code.MISMATCH, f"the file {str(file)!r}",
            problem=f"does not fit {what}: it {' and '.join(filter(None, (lacks, surplus)))}",
            remedy="use the configuration that the file was made with",
        )  # fmt: skip
    for name, value in tensors.items():
        if value.shape != own[name].shape:
            raise WeightsError(
                Code.MISMATCH, f"the file {str(file)!r}", name,
                problem=f"does not fit {what}: {{value}} is {tuple(value.shape)}",
                expected=f"{tuple(own[name].shape)}",
                remedy="use the configuration that the file was made with",
            )  # fmt: skip
        if value.is_floating_point() != own[name].is_floating_point():
            raise WeightsError(
                Code.MISMATCH, f"the file {str(file)!r}", name,
                problem=f"does not fit {what}: {{value}} is {_dtype(value)}", expected=f"{_dtype(own[name])}",
                remedy="fetch it again",
            )  # fmt: skip
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(
                Code.NOT_FINITE, f"the file {str(file)!r}", name,
                problem="holds values in {value} that are no finite numbers", remedy="fetch it again",
            )  # fmt: skip


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def trunk_tensors(tensors: Mapping[str, Tensor], file: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return a file's trunk, named ``blocks.{i}...``, and what else the file holds, by the first part of the names.

    Raises:
        WeightsError: it holds no trunk.
    """
    prefix = TRUNK_IN_MODEL if any(name.startswith(TRUNK_IN_MODEL) for name in tensors) else TRUNK_IN_FILE
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    if not any(name.startswith("blocks.") for name in found):
        raise WeightsError(
            Code.MISSING, f"the file {str(file)!r}",
            problem=f"holds no HPT trunk (no name starts with 'trunk.blocks.'; it has {some(tensors)})",
            remedy="give a trunk.pth, a model.pth or a checkpoint",
        )  # fmt: skip
    others = dict.fromkeys(name.partition(".")[0] for name in tensors if not name.startswith(prefix))
    return found, tuple(others)


def trunk_size(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return (width, depth) of tensors named ``blocks.{i}...``."""
    depth = 1 + max(
        (int(name.split(".")[1]) for name in tensors if re.match(r"blocks\.\d+\.", name)), default=-1
    )
    norms = [value for name, value in tensors.items() if name.endswith(".norm_1.weight") and value.ndim == 1]
    return (int(norms[0].shape[0]) if norms else 0), depth


def _check_trunk_size(config: TrunkConfig, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Compare the size of a file's trunk with the configuration's, for an error that says the remedy.

    Weights do not show the number of heads: `find_heads` says where it is looked up. Where nothing says it, the
    configuration's is taken.
    """
    width, depth = trunk_size(tensors)
    heads = find_heads(file, read_metadata(file), width, depth) or config.heads
    if (width, depth, heads) != (config.width, config.depth, config.heads):
        published = next(
            (n for n, s in TRUNK_SIZES.items() if (s.width, s.depth, s.heads) == (width, depth, heads)), None
        )
        size = f" (the size {published!r})" if published else ""
        raise WeightsError(
            Code.INVALID, f"the trunk in {str(file)!r}",
            problem=f"has width {width}, depth {depth} and {heads} heads{size}, but the policy's has width "
            f"{config.width}, depth {config.depth} and {config.heads} heads",
            remedy="set the policy's trunk to the file's",
        )  # fmt: skip


def report_load(
    part: str,
    source: str | Path,
    file: Path,
    tensors: Mapping[str, Tensor],
    copies: int,
    left_out: tuple[str, ...] = (),
) -> LoadReport:
    """Return what was loaded of `file`: `tensors`, into each of so many `copies` of a network."""
    return LoadReport(
        part=part,
        source=str(source),
        file=str(file),
        sha256=sha256_of(file),
        tensors=len(tensors) * copies,
        parameters=sum(value.numel() for value in tensors.values()) * copies,
        left_out=left_out,
    )
