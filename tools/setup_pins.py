# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which versions an environment gets: the pins of a ROS distribution, and layers of all others.

Used by setup_env.py, with any Python 3 of the system and nothing but its standard library.

A layer is a constraints file. Where a later layer names a package, it replaces what an earlier one says of it, because
pip refuses two versions of one package even where both are only constraints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from setup_machine import SetupError

DISTROS = ("kilted", "jazzy")

# What the Python libraries beside ROS are taken from. "pinned": the newest that we tested. "noble": what Ubuntu 24.04,
# and so a Jazzy or Kilted from apt, has, with what pip adds to it.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "pinned": ("constraints.txt",),
    "noble": ("constraints.txt", "constraints-distribution.txt", "constraints-noble.txt"),
}


def require_one_of(what: str, value: str, known: Iterable[str]) -> str:
    """Return the value if it is one of the known ones.

    Raises:
        SetupError: it is none of them.
    """
    if value not in known:
        raise SetupError(f"{what}={value} is unknown: use {what}= one of {', '.join(known)}")
    return value


def venv_name(distro: str, libraries: str) -> str:
    """Folder of an environment: .venv, or .venv-DISTRO, .venv-DISTRO-LIBRARIES beside it.

    >>> venv_name("kilted", "pinned"), venv_name("jazzy", "noble")
    ('.venv', '.venv-jazzy-noble')
    """
    parts = [".venv"]
    if (distro, libraries) != (DISTROS[0], "pinned"):
        parts.append(distro)
    if libraries != "pinned":
        parts.append(libraries)
    return "-".join(parts)


def requirement_files(root: Path, distro: str) -> list[Path]:
    """Files that say what an environment holds: the ROS wheels, at their versions, and everything else."""
    names = (f"requirements-{distro}.txt", "requirements-runtime.txt", "requirements.txt")
    return [root / name for name in names]


def pin_lines(text: str) -> dict[str, list[str]]:
    """Lines of a requirements or constraints file by package (PEP 503 names); several differ by their marker."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        line = line.partition(" #")[0].strip()
        if line and not line.startswith("#"):
            name = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line, maxsplit=1)[0]).lower()
            found.setdefault(name, []).append(line)
    return found


def merge_constraints(root: Path, libraries: str) -> str:
    """All layers of pins as one constraints file, in which each package has the version of the last layer."""
    pins: dict[str, list[str]] = {}
    for name in LIBRARIES[libraries]:
        pins.update(pin_lines((root / name).read_text(encoding="utf-8")))
    lines = [line for name in sorted(pins) for line in pins[name]]
    return "\n".join([f"# Merged from {', '.join(LIBRARIES[libraries])} by tools/setup_pins.py.", *lines, ""])
