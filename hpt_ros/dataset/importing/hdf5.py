# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""HDF5 files: robomimic's (many episodes a file), ALOHA's (one a file), and others that name their actions so.

Layouts: https://robomimic.github.io/docs/datasets/overview.html (``data/demo_N``, ``obs``, ``actions``);
https://github.com/tonyzhaozh/act, record_sim_episodes.py (``observations/qpos``, ``observations/images``, ``action``).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.arrays import ArraySource, Opener, Stored, reading
from hpt_ros.dataset.importing.source import ACTIONS, TEXTS
from hpt_ros.dataset.recognise import ENDINGS_HDF5
from hpt_ros.errors import Code
from hpt_ros.extras import require_extra

_DEPTH = 2  # groups above an episode's


def open_hdf5(
    root: Path, fps: float | None, action: Sequence[str] | None, state: Sequence[str] | None
) -> ArraySource:
    """Open an HDF5 file, or a folder of them.

    Raises:
        DatasetError: no episode can be read, columns are not there, or nobody states a rate.
    """
    paths = [root]
    if root.is_dir():
        paths = sorted((path for ending in ENDINGS_HDF5 for path in root.glob(ending)), key=_in_order)
    wanted = tuple(action or (key for keys in ACTIONS for key in keys))
    openers: list[Opener] = []
    rate_hz: float | None = None
    for path in paths:
        try:
            file = _file(path)
            with reading(repr(str(path))):
                groups = list(_groups(file, wanted, _DEPTH))
                rate_hz = rate_hz or _rate(file)
        except DatasetError as error:
            openers.append((f"file {str(path)!r}", partial(_fail, error)))
            continue
        openers += [
            (f"{group or 'episode'} of {str(path)!r}", partial(_open, path, group)) for group in groups
        ]
    if not openers:
        raise DatasetError(
            Code.EMPTY, repr(str(root)), wanted,
            problem=f"has no group with {' or '.join(wanted)}, so no episode was found",
            remedy="name the columns of the action, as they are called within an episode's group, with --action",
        )  # fmt: skip
    return ArraySource(f"dataset {str(root)!r}", openers, fps, rate_hz, action, state)


def _fail(error: DatasetError) -> Stored:
    raise error


def _in_order(path: Path) -> list[Any]:
    return _natural(str(path))


def _natural(text: str) -> list[Any]:
    """Return a key that sorts demo_10 behind demo_9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _file(path: Path) -> Any:
    h5py = require_extra("h5py", extra="export", what="importing HDF5")
    with reading(repr(str(path))):
        return h5py.File(path, "r")


def _groups(group: Any, wanted: Sequence[str], depth: int) -> Iterator[str]:
    """Yield the paths of the groups that hold an action; empty for the file itself."""
    if any(name in group for name in wanted):
        yield group.name.strip("/")
        return
    if depth:
        for name in sorted(group, key=_natural):
            if hasattr(child := group[name], "keys"):
                yield from _groups(child, wanted, depth - 1)


def _open(path: Path, name: str) -> Stored:
    file = _file(path)
    with reading(f"{name or 'episode'} of {str(path)!r}"):
        group = file[name] if name else file
        columns: dict[str, Any] = {}
        texts: dict[str, str] = {}

        def visit(key: str, item: Any) -> None:
            if hasattr(item, "dtype"):
                columns[key] = item
                if item.shape in ((), (1,)) and item.dtype.kind in "OS":
                    texts[key] = _plain(item[()] if item.shape == () else item[0])

        group.visititems(visit)
        columns = {key: item for key, item in columns.items() if not key.startswith("next_obs/")}
        parent = group.parent
        attributes = {**_attributes(file), **_attributes(parent), **_attributes(group), **texts}
        return Stored(columns, None, _instruction(attributes))


def _attributes(item: Any) -> Mapping[str, str]:
    return {key: _plain(value) for key, value in item.attrs.items()}


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _instruction(attributes: Mapping[str, str]) -> str:
    """Return the task's text: an attribute or a text of the episode, or what RoboCasa and LIBERO keep in JSON."""
    for end in (*TEXTS, "language_raw"):
        if attributes.get(end):
            return attributes[end].strip()
    text: Any = _from_json(attributes.get("ep_meta", "")).get("lang")  # RoboCasa, of the episode
    text = text or _from_json(attributes.get("problem_info", "")).get(
        "language_instruction"
    )  # LIBERO, of all
    return str("".join(text) if isinstance(text, list) else text or "").strip().strip('"')


def _rate(file: Any) -> float | None:
    """Return what a file states of its rate: ``fps``, or robosuite's control frequency, as robomimic keeps it."""
    for item in (file, file.get("data", file)):
        attributes = _attributes(item)
        environment = _from_json(attributes.get("env_args", "")).get("env_kwargs")
        for value in (
            attributes.get("fps"),
            environment.get("control_freq") if isinstance(environment, dict) else None,
        ):
            with contextlib.suppress(TypeError, ValueError):  # there is none, or it is no number
                return float(value)  # type: ignore[arg-type]
    return None


def _from_json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
