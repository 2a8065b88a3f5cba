# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files of weights: where they are found (a path, a folder, the Hugging Face hub), and how they are read.

Pickled files are read with ``weights_only=True``, so that they cannot run code.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from hpt_ros.errors import Code, HptError, cause_text

HUB = "hf://"
FILES_IN_FOLDER = ("trunk.pth", "trunk.safetensors", "model.safetensors", "model.pth")
# What repositories of encoders on the hub hold (timm's and transformers').
ENCODER_FILES = ("model.safetensors", "pytorch_model.bin", "resnet18.safetensors", "resnet18.pth")
NAMES_IN_ERRORS = 4


class WeightsError(HptError):
    """A weight file cannot be read, or does not fit the policy."""


def resolve(source: str | Path, names: Sequence[str] = FILES_IN_FOLDER) -> Path:
    """Return the local file of a path, of a folder with one of `names` (the first wins), or of an ``hf://`` address.

    Raises:
        WeightsError: nothing there, or the hub cannot be reached.
    """
    text = str(source)
    if text.startswith(HUB):
        repository, file = split_address(text)
        return _fetch(repository, (file,) if file else names)
    if re.match(r"[a-z]+://", text):
        raise WeightsError(
            Code.INVALID, f"the address {text!r}", problem="is neither a path nor hf://user/repo[/file]",
            remedy="download it, or use those",
        )  # fmt: skip
    path = Path(source)
    if path.is_dir():
        for name in names:
            if (path / name).is_file():
                return path / name
        if path.parent.name == "embodiments":  # one robot's folder in a checkpoint of many
            return resolve(path.parent.parent, names)
        for part in (path / "best", path / "last"):
            if any((part / name).is_file() for name in names):
                raise WeightsError(
                    Code.INVALID, f"the folder {text!r}", problem="is a training run",
                    remedy=f"give its checkpoint, {str(part)!r}",
                )  # fmt: skip
        raise WeightsError(
            Code.NOT_FOUND, f"the folder {text!r}", list(names), problem=f"holds none of {', '.join(names)}",
            remedy="give the weight file's path",
        )  # fmt: skip
    if not path.is_file():
        raise WeightsError(
            Code.NOT_FOUND, f"the weight file {text!r}",
            remedy="give an existing path or hf://user/repo[/file]",
        )  # fmt: skip
    return path


def split_address(address: str) -> tuple[str, str]:
    """Return ("user/repo", file within it or "") of an ``hf://`` address.

    Raises:
        WeightsError: not of the form hf://user/repo[/file].
    """
    parts = address.removeprefix(HUB).split("/")
    if len(parts) < 2 or not all(re.fullmatch(r"[A-Za-z0-9._-]+", part) and part != ".." for part in parts):
        raise WeightsError(
            Code.INVALID, f"the hub address {address!r}", problem="is not of the form hf://user/repo[/file]"
        )
    return "/".join(parts[:2]), "/".join(parts[2:])


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a flat mapping of names to tensors from `.safetensors`, or else from a PyTorch file, onto the CPU."""
    try:
        data = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # each damaged format raises its own kind; all mean the same to the user
        # Torch raises its own, which explains `weights_only`, in place of the one that says what is wrong.
        refused = isinstance(error, pickle.UnpicklingError) and error.__context__
        raise WeightsError(
            Code.DAMAGED, f"the weight file {str(file)!r} ({file.stat().st_size} bytes)",
            problem="cannot be read", cause=cause_text(refused or error, 160),
            remedy="it is damaged, cut short or no weight file, so fetch it again",
        ) from error  # fmt: skip
    if not isinstance(data, Mapping) or not all(isinstance(value, Tensor) for value in data.values()):
        raise WeightsError(
            Code.UNREADABLE, f"the weight file {str(file)!r}",
            problem=f"holds a {type(data).__name__} that is no flat mapping of names to tensors",
            remedy="give a file saved from a state_dict()",
        )  # fmt: skip
    return dict(data)


def read_metadata(file: Path) -> dict[str, str]:
    """Return the text that a `.safetensors` file carries beside its tensors; empty for other files."""
    if file.suffix != ".safetensors":
        return {}
    with safe_open(file, framework="pt") as opened:
        return dict(opened.metadata() or {})


def sha256_of(file: Path) -> str:
    """Return the file's SHA-256 as hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def some(names: Collection[str]) -> str:
    """Return the first few of `names` for an error's sentence."""
    shown = list(names)[:NAMES_IN_ERRORS]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def _fetch(repository: str, names: Sequence[str]) -> Path:
    """Return the first of `names` that the hub, or its cache on this machine, has."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError as error:
        raise WeightsError(
            Code.NOT_INSTALLED, f"{HUB}{repository}",
            problem="needs the package huggingface_hub, which is not installed",
            remedy="pip install huggingface_hub, or download the file and give its path",
        ) from error  # fmt: skip
    problem: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except EntryNotFoundError as error:  # the next name may be there
            problem = problem or error
        except (
            Exception
        ) as error:  # network, authentication, absent repository: the hub's own message says which
            problem = error
            break
    reason = " ".join(str(problem).split())[:200]
    raise WeightsError(
        Code.UNSUPPORTED, " or ".join(map(repr, names)), repository,
        problem=f"cannot be fetched from {{value}} on the hub: {reason}",
        remedy="check the address and the network, or download the file and give its path",
    ) from problem  # fmt: skip


def save_tensors(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file; what the disk refuses is an OSError, as of any other file."""
    try:
        save_file(tensors, file, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{str(file)!r} cannot be written: {error}") from error
