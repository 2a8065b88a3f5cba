# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The files that ship inside the package: configuration and the demo's checkpoint.

They are package data (``hpt_ros/config`` is a link to the source tree's ``config``), so that they are found however
the package is installed: in a prefix, with ``pip install --user``, in development mode, by colcon, or in a zip file.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable  # at this name from Python 3.11 on

# What is taken where nothing is named, and what help names as an example: the environment, embodiment, recipe and
# checkpoint of the demo have this name.
DEMO = "feed_dog"


def config_file(relative: str) -> Path:
    """Path of a shipped file below ``config/``, e.g. ``"recipes/hpt_base.yaml"``.

    Raises:
        HptError: there is none, with the closest one that there is.
    """
    folder = _find_shipped("config")
    known = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if relative in known:
        return folder / relative
    kind = relative.partition("/")[0]
    similar = [name for name in known if name.startswith(f"{kind}/")] or known
    raise HptError(
        Code.NOT_FOUND, f"no file config/{relative}", relative, problem="ships with the package", known=similar,
    )  # fmt: skip


def config_path(kind: str, name_or_path: str | Path) -> Path:
    """Path of a configuration file: a path, or the name of a shipped one.

    A file that exists wins over a shipped name; a name has neither folder nor ending.

    Args:
        kind: folder below ``config/``: "embodiments", "recipes" or "safety".
        name_or_path: what the user gave.

    Raises:
        HptError: a name, but of no shipped file.
    """
    path = Path(name_or_path)
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    shipped = {file.stem: file for file in (_find_shipped("config") / kind).glob("*.yaml")}
    if path.name in shipped:
        return shipped[path.name]
    raise HptError(
        Code.NOT_FOUND, repr(path.name), path.name, problem=f"is neither a file nor shipped in config/{kind}",
        known=sorted(shipped),
    )  # fmt: skip


def checkpoint_folder(name_or_path: str, *, besides: Iterable[str] = ()) -> Path:
    """Folder of a checkpoint: a path, or the name of one shipped with the package, as `DEMO`.

    A folder that exists wins over a shipped name.

    Args:
        name_or_path: what the user gave.
        besides: names that the caller takes as well, for the error.

    Raises:
        HptError: neither a folder nor a shipped name.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    shipped = {
        folder.name: folder
        for folder in _find_shipped("data").glob("*")
        if (folder / "config.yaml").is_file()
    }
    if name_or_path in shipped:
        return shipped[name_or_path]
    if path.parent.name == "embodiments" and path.parent.is_dir():
        raise HptError(
            Code.UNKNOWN, f"the checkpoint {str(path.parent.parent)!r}", path.name, problem="has no robot {value}",
            known=sorted(folder.name for folder in path.parent.iterdir()),
        )  # fmt: skip
    raise HptError(
        Code.NOT_FOUND, f"the checkpoint {name_or_path!r}", name_or_path,
        problem="is neither a folder nor shipped with the package", known=[*besides, *sorted(shipped)],
        remedy="give a folder that 'hpt finetune' wrote",
    )  # fmt: skip


def embodiment_file(checkpoint: Path) -> Path:
    """The embodiment file of a checkpoint's folder, of one robot, or of one robot's folder in it.

    Raises:
        HptError: there is none, or several.
    """
    found = [checkpoint / "embodiment.yaml", *sorted(checkpoint.glob("embodiments/*/embodiment.yaml"))]
    there = [path for path in found if path.is_file()]
    if len(there) != 1:
        raise HptError(
            Code.INVALID, f"the checkpoint {str(checkpoint)!r}", len(there),
            problem="has {value} embodiment files", expected="that of one robot",
            remedy="give the checkpoint of one robot, or one of the folders in its embodiments/",
        )  # fmt: skip
    return there[0]


@functools.cache
def _find_shipped(name: str) -> Path:
    """A folder of the package on disk; out of a zip file it is unpacked, once, until the process ends."""
    folder = resources.files("hpt_ros") / name
    if isinstance(folder, Path):
        return folder
    target = Path(tempfile.mkdtemp(prefix=f"hpt_ros_{name}_"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    _unpack(folder, target)
    return target


def _unpack(folder: Traversable, target: Path) -> None:
    """Copy a folder; importlib.resources.as_file does so only from Python 3.12 on."""
    target.mkdir(exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir():
            _unpack(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
