# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Writing folders and files so that they are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from hpt_ros.errors import HptError


@contextmanager
def new_folder(target: Path, error: type[HptError]) -> Iterator[Path]:
    """Give an empty folder to write to, which takes the name `target` when the block ends well.

    Raises:
        error: `target` is there already and not an empty folder, or the disk refuses; nothing is left behind.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise error(f"{str(target)!r} exists already, so it is not replaced; name another folder")
    work: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.writing-", dir=target.parent))
        yield work
        publish(work)
        work.rename(target)
    except OSError as problem:
        raise error(
            f"{str(target)!r} cannot be written: {problem}; name another folder, or make room"
        ) from problem
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def save_tensors(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file; what the disk refuses is an OSError, as of any other file."""
    try:
        save_file(tensors, file, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{str(file)!r} cannot be written: {error}") from error


def publish(folder: Path) -> None:
    """Make the folder readable (mkdtemp and safetensors make theirs private) and have its files on the disk.

    The latter before it gets its name, so that a power cut leaves no empty file in it.
    """
    folder.chmod(0o755)
    for file in folder.rglob("*"):
        if file.is_dir():
            continue
        file.chmod(0o644)
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
