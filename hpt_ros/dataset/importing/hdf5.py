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
from hpt_ros.dataset.importing.array_columns import reading
from hpt_ros.dataset.importing.arrays import ArraySource, Opener, Stored
from hpt_ros.dataset.importing.source import ACTIONS, TEXTS
from hpt_ros.dataset.recognise import HDF5, find_hdf5, recognise
from hpt_ros.errors import Code
from hpt_ros.extras import require_extra

_DEPTH = 2  # groups above an episode's
_MASKS = "mask"  # robomimic's group of lists of episodes


def open_hdf5(
    root: Path, fps: float | None, action: Sequence[str] | None, state: Sequence[str] | None
) -> ArraySource:
    """Open an HDF5 file, or a folder of them.

    Raises:
        DatasetError: no episode can be read, columns are not there, or nobody states a rate.
    """
    paths = [root]
    if root.is_dir():
        paths = sorted(find_hdf5(root), key=_in_order)
    wanted = tuple(action or (key for keys in ACTIONS for key in keys))
    openers: list[Opener] = []
    rate_hz: float | None = None
    notes: list[str] = []
    for path in paths:
        passed: list[str] = []
        try:
            file = _file(path)
            with reading(repr(str(path))):
                groups = list(_groups(file, wanted, _DEPTH, passed))
                rate_hz = rate_hz or _rate(file)
        except DatasetError as error:
            openers.append((f"file {str(path)!r}", partial(_fail, error)))
            continue
        if not groups:
            notes.append(f"{str(path)!r} has no {' or '.join(wanted)}, so no episode is taken of it")
        elif passed:
            notes.append(
                f"{', '.join(passed[:20])} of {str(path)!r}: no {' or '.join(wanted)}, so they are no episodes"
            )
        openers += [
            (f"{group or 'episode'} of {str(path)!r}", partial(_open, path, group)) for group in groups
        ]
    if not openers:
        raise DatasetError(
            Code.EMPTY, repr(str(root)), wanted,
            problem=f"has no group with {' or '.join(wanted)}, so no episode was found",
            remedy="name the columns of the action, as they are called within an episode's group, with --action",
        )  # fmt: skip
    return ArraySource(f"dataset {str(root)!r}", openers, fps, rate_hz, action, state, notes)


def _fail(error: DatasetError) -> Stored:
    raise error


def _in_order(path: Path) -> list[Any]:
    return _natural(str(path))


def _natural(text: str) -> list[Any]:
    """Return a key that sorts demo_10 behind demo_9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _file(path: Path) -> Any:
    h5py = require_extra("h5py", extra="export", what="importing HDF5")
    kind = recognise(path)
    if kind is not HDF5:
        what = "no HDF5 file" if kind is None else kind.name
        raise DatasetError(
            Code.UNREADABLE, repr(str(path)), problem=f"is {what}",
            remedy=f"{kind.remedy if kind else 'copy it again'}, or leave it out with --skip-bad",
        )  # fmt: skip
    with reading(repr(str(path))):
        return h5py.File(path, "r")


def _groups(group: Any, wanted: Sequence[str], depth: int, passed: list[str]) -> Iterator[str]:
    """Yield the paths of the groups that hold an action; empty for the file itself.

    Those that lie beside others and hold none are added to `passed`.
    """
    if any(name in group for name in wanted):
        yield group.name.strip("/")
        return
    if not depth:
        return
    found: list[str] = []
    beside: list[str] = []
    for name in sorted(group, key=_natural):
        child = group.get(name)  # None of a link to nowhere
        if hasattr(child, "keys"):
            below = list(_groups(child, wanted, depth - 1, passed))
            found += below
            if not below and name != _MASKS:
                beside.append(f"{group.name}/{name}".strip("/"))
    passed += beside if found else []
    yield from found


def _open(path: Path, name: str) -> Stored:
    file = _file(path)
    with reading(f"{name or 'episode'} of {str(path)!r}"):
        group = file[name] if name else file
        columns: dict[str, Any] = {}
        broken: dict[str, str] = {}
        _collect(group, "", columns, broken, {group.id.__hash__()})
        texts = {
            key: _plain(item[()] if item.shape == () else item[0])
            for key, item in columns.items()
            if item.shape in ((), (1,)) and item.dtype.kind in "OS"
        }
        columns = {key: item for key, item in columns.items() if not key.startswith("next_obs/")}
        parent = group.parent
        attributes = {**_attributes(file), **_attributes(parent), **_attributes(group), **texts}
        return Stored(columns, None, _instruction(attributes), broken)


def _collect(group: Any, above: str, columns: dict[str, Any], broken: dict[str, str], seen: set[int]) -> None:
    """Add a group's arrays by name, those behind links too; links to nowhere are added to `broken`."""
    for name in group:
        key = f"{above}{name}"
        try:
            item = group[name]
        except (KeyError, OSError):
            link = group.get(name, getlink=True)
            to = (
                f" to {link.filename!r}"
                if hasattr(link, "filename")
                else f" to {getattr(link, 'path', '')!r}"
            )
            broken[key] = f"a link{to}, which is not there"
            continue
        if hasattr(item, "dtype") and hasattr(item, "shape"):
            _bring_filters(item)
            columns[key] = item
        elif hasattr(item, "keys") and (place := item.id.__hash__()) not in seen:  # no circle of links
            _collect(item, f"{key}/", columns, broken, seen | {place})


def _bring_filters(item: Any) -> None:
    """Load what reads Blosc and other filters of an array that h5py has not; raise MissingExtraError without it."""
    h5py = require_extra("h5py", extra="export", what="importing HDF5")
    properties = item.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        if not h5py.h5z.filter_avail(number := properties.get_filter(index)[0]):
            require_extra("hdf5plugin", extra="umi", what=f"importing HDF5 with the filter {number}")


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
