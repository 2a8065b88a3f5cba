# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A list of episodes, as `hpt quality --keep` writes it: a JSON list of numbers, which LeRobot's tools take too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.errors import Code, format_count


def read_episode_list(path: Path) -> tuple[int, ...]:
    """Return the numbers in a file, each once, sorted.

    Raises:
        DatasetError: the file cannot be read, or is no list of numbers.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            Code.UNREADABLE, f"the list of episodes {str(path)!r}", cause=error,
            remedy="give a file that `hpt quality --keep` wrote",
        ) from error  # fmt: skip
    whole = isinstance(found, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in found
    )
    if found == []:
        raise DatasetError(
            Code.EMPTY, f"the list of episodes {str(path)!r}", problem="names none",
            remedy="look at what `hpt quality` found, and list those to keep yourself",
        )  # fmt: skip
    if not whole:
        raise DatasetError(
            Code.WRONG_TYPE, f"the list of episodes {str(path)!r}", found,
            expected="a JSON list of numbers, as [0, 2, 5]",
        )  # fmt: skip
    return tuple(sorted(set(found)))


def check_known(wanted: Iterable[int], known: Iterable[int], where: str) -> None:
    """Raise DatasetError if an episode is wanted that is not there."""
    there = set(known)
    missing = [number for number in wanted if number not in there]
    if missing:
        raise DatasetError(
            Code.UNKNOWN, "the list of episodes", missing[0],
            problem=f"names episode {{value}}, but {where} has {format_count(len(there), 'episode')}, {min(there)} to "
            f"{max(there)}",
            remedy="take the list that was made of it",
        )  # fmt: skip
