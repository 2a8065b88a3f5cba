# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Message definitions of the installed ROS packages, so that a bag explains itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from hpt_ros.errors import Code
from rosbag_tools.errors import BagError


def share_folders() -> list[Path]:
    """``share`` folders of the ROS prefixes, and of this Python's own, where the wheels put theirs."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    return [Path(prefix) / "share" for prefix in prefixes]


def load_installed_types(types: Iterable[str], folders: Iterable[Path] | None = None) -> Typestore:
    """A type store of these message types and all that they are made of, read from their .msg files.

    Args:
        types: names such as ``"sensor_msgs/msg/Image"``.
        folders: ``share`` folders to look in; those of the installation by default.

    Raises:
        BagError: a type is not installed, or its definition cannot be read.
    """
    places = list(share_folders() if folders is None else folders)
    store = get_typestore(Stores.EMPTY)
    waiting, known = list(types), set()
    found = {}
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        parsed = get_types_from_msg(_text(name, places), name)
        found.update(parsed)
        for _, fields in parsed.values():
            waiting += [item for _, field in fields for item in _names(field)]
    store.register(found)
    return store


def _text(name: str, places: list[Path]) -> str:
    package, _, short = name.partition("/msg/")
    for place in places if package.isidentifier() and short.isidentifier() else ():
        path = place / package / "msg" / f"{short}.msg"
        if path.is_file():
            try:
                return path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BagError(
                    Code.UNREADABLE, f"the definition {str(path)!r}", cause=error, remedy=f"install {package} again",
                ) from error  # fmt: skip
    raise BagError(
        Code.NOT_INSTALLED, "the message type", name,
        problem=f"{{value}} is not installed (no {package}/msg/{short}.msg in {', '.join(map(str, places))})",
        remedy=f"install {package}, or source its workspace",
    )  # fmt: skip


def _names(field: object) -> list[str]:
    """Message types that a field of a parsed definition refers to."""
    if isinstance(field, tuple):
        return [name for item in field for name in _names(item)]
    return [field] if isinstance(field, str) and "/msg/" in field else []
