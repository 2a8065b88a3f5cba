# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The optional extras of extras.cfg: what they are called, and what each installs.

Used by setup_env.py, with nothing but the standard library.
"""

from __future__ import annotations

import configparser
import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from setup_machine import SetupError


def read_extras(path: Path) -> dict[str, list[str]]:
    """Return the names of each extra's packages, from extras.cfg; their ranges are for pip, set-up has pins."""
    parser = configparser.ConfigParser(allow_no_value=True, delimiters=("\0",))
    parser.read_string(path.read_text(encoding="utf-8"))
    return {extra: [re.split(r"[^\w.-]", line)[0] for line in parser[extra]] for extra in parser.sections()}


def default_packages(path: Path) -> list[str]:
    """Return the names of the packages that every environment has, from requirements-runtime.txt."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [re.split(r"[^\w.-]", line)[0] for line in lines if line and not line.startswith("#")]


def require_known(names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse an extra that is unknown.

    Raises:
        SetupError: a name is unknown.
    """
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SetupError(
                f"the extra {name!r} is unknown: use 'make setup EXTRAS=\"...\"' with {', '.join(known)}{hint}"
            )
