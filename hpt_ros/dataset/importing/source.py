# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What every dataset of others gives to the importer, and what the sources share: columns, names, rate, tasks."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.errors import Code, did_you_mean

Image = NDArray[Any]  # uint8 RGB (height, width, 3); of a depth view uint16 (height, width), mm
Frames = Callable[[], Iterator[Image]]

# Names of the columns of action and state where none are named, the first that is there; of several all make the
# vector.
# LeRobot's, openpi's, robomimic's, ALOHA's, RLDS', those of UMI and of robomimic's robosuite datasets.
ACTIONS: tuple[tuple[str, ...], ...] = (("action",), ("actions",))
STATES: tuple[tuple[str, ...], ...] = (
    ("observation.state",), ("observation/state",), ("obs/state",), ("state",), ("observations/qpos",),
    ("obs/robot0_eef_pos", "obs/robot0_eef_quat", "obs/robot0_gripper_qpos"),
    ("obs/ee_states", "obs/gripper_states"),
    ("robot0_eef_pos", "robot0_eef_rot_axis_angle", "robot0_gripper_width"),
)  # fmt: skip
# Columns of a task's text, by the last part of their name; the first that is there.
TEXTS = ("language_instruction", "natural_language_instruction", "instruction", "task", "prompt")
# Last part of a column's name to the column of `layout.LABELS` that it is retained as.
_LABELS = {
    "reward": "next.reward", "rewards": "next.reward",
    "done": "next.done", "dones": "next.done", "is_terminal": "next.done", "terminal": "next.done",
    "success": "next.success", "is_success": "next.success", "is_episode_successful": "next.success",
    "truncated": "next.truncated",
    "intervention": "intervention", "is_intervention": "intervention",
}  # fmt: skip
# NTSC's rates (30000/1001 and the like) are a thousandth below the whole number that people mean.
FPS_TOLERANCE = 1.1e-3


@dataclass(frozen=True)
class SourceEpisode:
    """An episode of another dataset.

    Attributes:
        name: for messages.
        task: task text.
        state: (length, D); (length, 0) if there is none.
        action: (length, Da).
        labels: column of `layout.LABELS` to its values, (length,).
        frames: view to a function that decodes its images, one a row: colour uint8 RGB (height, width, 3), depth uint16
            (height, width), mm, 0 where nothing was measured.
    """

    name: str
    task: str
    state: NDArray[np.floating[Any]]
    action: NDArray[np.floating[Any]]
    labels: Mapping[str, NDArray[Any]]
    frames: Mapping[str, Frames]


@dataclass(frozen=True, slots=True)
class Unread:
    """An episode of another dataset before it is read: reading it may fail without harm to the next.

    Attributes:
        name: for messages.
        read: returns the episode, or several where its task changes.
    """

    name: str
    read: Callable[[], Sequence[SourceEpisode]]


class DatasetSource(Protocol):
    """Another dataset."""

    @property
    def where(self) -> str:
        """What it is, for messages."""
        ...

    @property
    def fps(self) -> float:
        """Rows a second."""
        ...

    @property
    def robot(self) -> str:
        """The robot that it names; may be empty."""
        ...

    @property
    def views(self) -> Mapping[str, tuple[int, int]]:
        """Names of the views and their size (height, width)."""
        ...

    @property
    def depths(self) -> Mapping[str, tuple[int, int]]:
        """Names of the depth views and their size (height, width)."""
        ...

    @property
    def state_names(self) -> Sequence[str]:
        """Names of the state's elements; empty if there is no state."""
        ...

    @property
    def action_names(self) -> Sequence[str]:
        """Names of the action's elements."""
        ...

    @property
    def labels(self) -> Mapping[str, str]:
        """Columns of `layout.LABELS` that it has, to its own names of them."""
        ...

    @property
    def left_out(self) -> Sequence[str]:
        """Columns that are not taken."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What people should know of how it is taken."""
        ...

    def episodes(self) -> Iterator[Unread]:
        """Yield all episodes, in order; may be called more than once."""
        ...


def to_name(text: str) -> str:
    """Return the nearest name that an embodiment or a stream may have: small letters, digits and underscores."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return (plain if plain[:1].isalpha() else f"x_{plain}")[:60].rstrip("_")


def label_of(column: str) -> str:
    """Return the column of `layout.LABELS` that a column is retained as; empty if it is none."""
    return _LABELS.get(re.split(r"[./]", column)[-1], "")


def choose_columns(
    where: str,
    vectors: Mapping[str, int],
    wanted: Sequence[str] | None,
    usual: Sequence[Sequence[str]],
    what: str,
    others: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the columns that make a vector.

    Args:
        where: the dataset, for messages.
        vectors: its columns of numbers to how many they have a row.
        wanted: those that were named; the first of `usual` that are all there if None.
        usual: their usual names.
        what: "action", or "state", which may lack if none was named.
        others: its other columns to what they are.

    Raises:
        DatasetError: one is not there, or there is no action; names those that there are.
    """
    if wanted is None:
        found = next((columns for columns in usual if all(name in vectors for name in columns)), None)
        if found is not None or what == "state":
            return list(found or ())
        if (
            known := next((columns[0] for columns in usual if columns[0] in (others or {})), None)
        ) is not None:
            raise _no_numbers(where, known, what, (others or {})[known], vectors)
        names = " or ".join(" + ".join(columns) for columns in usual)
        raise DatasetError(
            Code.UNKNOWN, where, list(usual),
            problem=f"has no {what} column called {names}; its columns of numbers are {_list(vectors)}",
            remedy=f"name some with --{what}",
        )  # fmt: skip
    for name in wanted:
        if name not in vectors and name in (others or {}):
            raise _no_numbers(where, name, what, (others or {})[name], vectors)
        if name not in vectors:
            raise DatasetError(
                Code.UNKNOWN, where, name,
                problem=f"has no numbers in {{value}} for the {what}; its columns of numbers are {_list(vectors)}",
                remedy=did_you_mean(name, vectors).removeprefix("; ") or f"name some of them with --{what}",
            )  # fmt: skip
    return list(wanted)


def _no_numbers(where: str, name: str, what: str, reason: str, vectors: Mapping[str, int]) -> DatasetError:
    return DatasetError(
        Code.WRONG_SHAPE, where, name,
        problem=f"has the column {{value}}, which cannot be the {what} ({reason}); its columns of numbers are "
        f"{_list(vectors)}",
        remedy=f"name some of them with --{what}",
    )  # fmt: skip


def _list(vectors: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({size})" for name, size in sorted(vectors.items()))[:800] or "none"


def whole_fps(stated: float | None, given: float | None, states: str) -> tuple[float, list[str]]:
    """Return rows a second, and notes on where it is not what the dataset states.

    Args:
        stated: what the dataset states; None if it does not.
        given: what the caller states; None if nothing.
        states: who states it, for the note, e.g. "info.json states".

    Raises:
        DatasetError: neither states it, or it is no rate.
    """
    if given is not None:
        if not 1.0 <= given <= 1000.0:
            raise DatasetError(Code.OUT_OF_RANGE, "--fps", given, expected="1 to 1000 rows a second")
        differs = stated is not None and not abs(stated - given) <= 1e-6
        return given, [f"--fps {given:g} was taken, {states} {stated:g}"] if differs else []
    if stated is None or not 0 < stated < math.inf:  # an attribute may hold anything
        raise DatasetError(
            Code.MISSING, "the dataset", problem="does not state how many rows a second it has",
            remedy="add --fps HZ",
        )  # fmt: skip
    if round(stated) >= 1 and 1e-9 < abs(stated / round(stated) - 1.0) <= FPS_TOLERANCE:
        return float(round(stated)), [f"{round(stated)} Hz was taken, {states} {stated:g}"]
    return stated, []


def split_by_task(
    name: str,
    texts: Sequence[str],
    state: NDArray[np.floating[Any]],
    action: NDArray[np.floating[Any]],
    labels: Mapping[str, NDArray[Any]],
    frames: Callable[[int, int], Mapping[str, Frames]],
) -> list[SourceEpisode]:
    """Return an episode as one for each stretch of rows with the same text.

    A row without a text has that of the row before it; the first rows, that of the first row that has one.

    Args:
        name: the episode, for messages.
        texts: one a row.
        state, action, labels: of all rows.
        frames: of the rows from one to before another, by view.
    """
    known: list[str] = []
    following = next((text for text in texts if text), "")
    for text in texts:
        known.append(text or (known[-1] if known else following))
    cuts = [0, *(row for row in range(1, len(known)) if known[row] != known[row - 1]), len(known)]
    return [
        SourceEpisode(
            name,
            known[start] if known else "",
            state[start:stop],
            action[start:stop],
            {label: values[start:stop] for label, values in labels.items()},
            frames(start, stop),
        )
        for start, stop in itertools.pairwise(cuts)
    ]
