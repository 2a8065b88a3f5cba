"""Loading weights: strictly, after construction, and with a report of what came from the file.

Files are published HPT weights (`trunk.pth`, `model.pth`), the same names in safetensors, or this project's checkpoint
folders; from a local path or from the Hugging Face hub as ``hf://user/repo[/file]``. Pickled files are read with
``weights_only=True``, so that they cannot run code.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hpt_ros.errors import HptError
from hpt_ros.model.config import TRUNK_SIZES, TrunkConfig
from hpt_ros.model.encoders import ImageEncoder, ResNet18
from hpt_ros.model.policy import Policy

HUB = "hf://"
TRUNK_IN_MODEL = "trunk.trunk."  # prefix in model.pth and in our checkpoints
TRUNK_IN_FILE = "trunk."  # prefix in trunk.pth
FILES_IN_FOLDER = ("trunk.pth", "trunk.safetensors", "model.safetensors", "model.pth")
CLASSIFIER = ("fc.weight", "fc.bias")
# BatchNorm's count of training steps: files older than PyTorch 0.4.1 lack it, and with a momentum nothing reads it.
COUNTER = "num_batches_tracked"
NAMES_IN_ERRORS = 4


class WeightsError(HptError):
    """A weight file cannot be read, or does not fit the policy."""


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
    prefix = TRUNK_IN_MODEL if any(name.startswith(TRUNK_IN_MODEL) for name in tensors) else TRUNK_IN_FILE
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    if not any(name.startswith("blocks.") for name in found):
        raise WeightsError(
            f"the file {str(file)!r} holds no HPT trunk (no name starts with 'trunk.blocks.'; it has "
            f"{_some(tensors)}); give a trunk.pth, a model.pth or a checkpoint"
        )
    _check_trunk_size(policy.config.trunk, found, file)
    load_strictly(policy.trunk["trunk"], found, what="the trunk", file=file)
    return _report("trunk", source, file, found, 1)


def load_model(policy: Policy, source: str | Path, *, without: Collection[str] = ()) -> LoadReport:
    """Load a whole policy from a published `model.pth` (or the same in safetensors); call it after construction.

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
            f"the file {str(file)!r} is for {', '.join(sorted(domains))}, but the policy is for "
            f"{policy.config.embodiment!r}; load only its trunk, or name the policy's embodiment as the file does"
        )
    own = {name: value for name, value in policy.state_dict().items() if name.split(".")[0] not in without}
    depth_width = {
        name.removeprefix(TRUNK_IN_MODEL): v for name, v in tensors.items() if name.startswith(TRUNK_IN_MODEL)
    }
    if depth_width:
        _check_trunk_size(policy.config.trunk, depth_width, file)
    load_strictly(policy, tensors, what="the policy", file=file, own=own)
    return _report("policy", source, file, tensors, 1)


def load_image_encoder(policy: Policy, source: str | Path) -> LoadReport:
    """Load ImageNet weights with torchvision's names into every ResNet-18 of the policy; the classifier is left out.

    Raises:
        WeightsError: the policy's encoder is no ResNet-18, or the file does not fit.
    """
    (encoder,) = policy.encoders.values() or (None,)
    if not isinstance(encoder, ImageEncoder) or not all(isinstance(net, ResNet18) for net in encoder.nets):
        raise WeightsError(
            f"the policy's image encoder is {policy.config.image_encoder.kind!r}, but ImageNet weights need "
            "'resnet18'; set image_encoder.kind, or load no image encoder"
        )
    file = resolve(source)
    tensors = read_tensors(file)
    left_out = tuple(name for name in CLASSIFIER if name in tensors)
    kept = {name: value for name, value in tensors.items() if name not in CLASSIFIER}
    for net in encoder.nets:
        load_strictly(net, kept, what="ResNet-18", file=file)
    return _report(f"image encoder (x{len(encoder.nets)})", source, file, kept, len(encoder.nets), left_out)


def export_trunk(policy: Policy, out: str | Path) -> LoadReport:
    """Write the policy's trunk in the layout of a published `trunk.pth`, and read it back to prove that it is whole.

    Args:
        policy: whose trunk.
        out: a new file; its ending, .pth or .safetensors, says the format. Parents are made.

    Raises:
        WeightsError: another ending, a file that is already there, or one that cannot be written.
    """
    path = Path(out)
    if path.suffix not in (".pth", ".safetensors"):
        raise WeightsError(
            f"the file to export to is {str(path)!r}, but a name ending in .pth or .safetensors was expected; rename it"
        )
    if path.exists():
        raise WeightsError(f"{str(path)!r} exists already, so it is not replaced; name another file")
    tensors = {
        name: value.detach().to("cpu", torch.float32).contiguous().clone()
        for name, value in policy.trunk.state_dict().items()  # "trunk.blocks.0...."
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.writing-", dir=path.parent) as folder:
            work = Path(folder) / path.name
            if path.suffix == ".pth":
                torch.save(tensors, work)
            else:
                save_file(tensors, work, metadata={"format": "pt"})
            work.chmod(0o644)
            written = read_tensors(work)
            if written.keys() != tensors.keys() or any(
                not torch.equal(written[name], tensors[name]) for name in tensors
            ):
                raise WeightsError(f"{str(path)!r} does not read back as it was written; check the disk")
            work.rename(path)
    except OSError as error:
        raise WeightsError(
            f"{str(path)!r} cannot be written: {error}; name another file, or make room"
        ) from error
    return _report("trunk", path, path, tensors, 1)


def resolve(source: str | Path) -> Path:
    """Return the local file of a path, of a folder with one of the known names, or of an ``hf://`` address.

    Raises:
        WeightsError: nothing there, or the hub cannot be reached.
    """
    text = str(source)
    if text.startswith(HUB):
        return _download(text)
    if re.match(r"[a-z]+://", text):
        raise WeightsError(
            f"the address {text!r} is neither a path nor hf://user/repo[/file]; download it, or use those"
        )
    path = Path(source)
    if path.is_dir():
        for name in FILES_IN_FOLDER:
            if (path / name).is_file():
                return path / name
        raise WeightsError(
            f"the folder {text!r} holds none of {', '.join(FILES_IN_FOLDER)}; give the weight file's path"
        )
    if not path.is_file():
        raise WeightsError(
            f"the weight file {text!r} does not exist; give an existing path or hf://user/repo[/file]"
        )
    return path


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a flat mapping of names to tensors from `.safetensors`, or else from a PyTorch file, onto the CPU."""
    try:
        data = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # each damaged format raises its own kind; all mean the same to the user
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(
            f"the weight file {str(file)!r} ({file.stat().st_size} bytes) cannot be read: {reason}; "
            "it is damaged, cut short or no weight file; fetch it again"
        ) from error
    if not isinstance(data, Mapping) or not all(isinstance(value, Tensor) for value in data.values()):
        raise WeightsError(
            f"the weight file {str(file)!r} holds a {type(data).__name__} that is no flat mapping of names to tensors; "
            "give a file saved from a state_dict()"
        )
    return dict(data)


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
    own = module.state_dict() if own is None else own
    missing = [name for name in own if name not in tensors and not name.endswith(COUNTER)]
    unexpected = [name for name in tensors if name not in own]
    if missing or unexpected:
        lacks = f"lacks {len(missing)} tensors ({_some(missing)})" if missing else ""
        surplus = f"has {len(unexpected)} tensors too many ({_some(unexpected)})" if unexpected else ""
        raise WeightsError(
            f"the file {str(file)!r} does not fit {what}: it {' and '.join(filter(None, (lacks, surplus)))}; "
            "use the configuration that the file was made with"
        )
    for name, value in tensors.items():
        if value.shape != own[name].shape:
            raise WeightsError(
                f"the file {str(file)!r} does not fit {what}: {name!r} is {tuple(value.shape)}, but "
                f"{tuple(own[name].shape)} was expected; use the configuration that the file was made with"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(
                f"the file {str(file)!r} holds values in {name!r} that are no finite numbers; fetch it again"
            )
    module.load_state_dict({**module.state_dict(), **tensors}, strict=True)


def sha256_of(file: Path) -> str:
    """Return the file's SHA-256 as hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_trunk_size(config: TrunkConfig, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Compare the size of a file's trunk with the configuration's, for an error that says the remedy.

    Weights do not show the number of heads. A file of a published width and depth is taken to have the published heads.
    """
    depth = 1 + max(
        (int(name.split(".")[1]) for name in tensors if re.match(r"blocks\.\d+\.", name)), default=-1
    )
    first = tensors.get("blocks.0.norm_1.weight")
    width = int(first.shape[0]) if first is not None and first.ndim == 1 else config.width
    published = next(
        (n for n, size in TRUNK_SIZES.items() if (size.width, size.depth) == (width, depth)), None
    )
    heads = TRUNK_SIZES[published].heads if published else config.heads
    if (width, depth, heads) != (config.width, config.depth, config.heads):
        size = f" (the size {published!r})" if published else ""
        raise WeightsError(
            f"the trunk in {str(file)!r} has width {width}, depth {depth} and {heads} heads{size}, but the policy's "
            f"has width {config.width}, depth {config.depth} and {config.heads} heads; "
            "set the policy's trunk to the file's"
        )


def _download(address: str) -> Path:
    parts = address.removeprefix(HUB).split("/")
    if len(parts) < 2 or not all(re.fullmatch(r"[A-Za-z0-9._-]+", part) and part != ".." for part in parts):
        raise WeightsError(
            f"the hub address {address!r} is not of the form hf://user/repo[/file]; correct it"
        )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise WeightsError(
            f"{address!r} needs the package huggingface_hub, which is not installed; pip install huggingface_hub, "
            "or download the file and give its path"
        ) from error
    file = "/".join(parts[2:]) or FILES_IN_FOLDER[0]
    try:
        return Path(hf_hub_download("/".join(parts[:2]), file))
    except (
        Exception
    ) as error:  # network, authentication, absent repository or file: the hub's own words say which
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{file!r} cannot be fetched from {'/'.join(parts[:2])!r} on the hub: {reason}; "
            "check the address and the network, or download the file and give its path"
        ) from error


def _report(
    part: str,
    source: str | Path,
    file: Path,
    tensors: Mapping[str, Tensor],
    copies: int,
    left_out: tuple[str, ...] = (),
) -> LoadReport:
    return LoadReport(
        part=part,
        source=str(source),
        file=str(file),
        sha256=sha256_of(file),
        tensors=len(tensors) * copies,
        parameters=sum(value.numel() for value in tensors.values()) * copies,
        left_out=left_out,
    )


def _some(names: Collection[str]) -> str:
    shown = list(names)[:NAMES_IN_ERRORS]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
