# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A mixture: the datasets of a run with their weights, and which samples each step draws from them.

Draws are a pure function of (seed, step), and each process takes its own from them, so that a resumed run draws what it
would have drawn, and several processes together draw what one would.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import field as plain_field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.dataset.labels import read_labels
from hpt_ros.dataset.reader import Episode
from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import Code
from hpt_ros.learning.mixture_config import DatasetEntry, MixtureConfig, MixtureError
from hpt_ros.learning.samples import Split, Windows, samples_between, split_episodes
from hpt_ros.resources import config_path
from hpt_ros.structured import to_mapping

NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Member:
    """An opened dataset of a mixture."""

    name: str
    dataset: Dataset
    split: Split
    fraction: float = 1.0  # of the samples that are drawn; all members' sum to 1
    licence: str = NOT_STATED
    failed: int = 0  # episodes left out since they failed
    capped: int = 0  # episodes left out since there are too many
    weights: NDArray[np.float64] | None = (
        None  # of the training samples, in the order of `windows`; None: equal
    )
    windows: Windows = plain_field(init=False)  # of the training episodes

    def __post_init__(self) -> None:
        robot = self.dataset.embodiment
        windows = Windows.of(self.split.train, robot.observation_horizon, robot.action.horizon)
        object.__setattr__(self, "windows", windows)

    @property
    def embodiment(self) -> str:
        """Name of its robot."""
        return self.dataset.embodiment.name


@dataclass(frozen=True, slots=True)
class Draw:
    """The samples of one member in a step."""

    member: int
    samples: NDArray[np.int64]  # all processes' together, indices of the member's `windows`
    rows: NDArray[np.int64]  # places in `samples` of those that this process takes
    filled: bool = (
        False  # whether the last row only makes as many as the other processes have, and does not count
    )


@dataclass(frozen=True, slots=True)
class Mixture:
    """Opened datasets of one or more robots."""

    members: tuple[Member, ...]

    @property
    def robots(self) -> dict[str, Embodiment]:
        """Embodiments by name, in the order of their first datasets."""
        found: dict[str, Embodiment] = {}
        for member in self.members:
            found.setdefault(member.embodiment, member.dataset.embodiment)
        return found

    def of(self, embodiment: str) -> tuple[Member, ...]:
        """The members of one embodiment."""
        return tuple(member for member in self.members if member.embodiment == embodiment)

    def tasks(self, embodiment: str) -> tuple[str, ...]:
        """Texts of the tasks in the data of one embodiment, sorted, each once."""
        return tuple(sorted({task for member in self.of(embodiment) for task in member.dataset.tasks}))

    def draws(
        self,
        step: int,
        batch_size: int,
        seed: int,
        *,
        whole: bool = False,
        rank: int = 0,
        world: int = 1,
        alike: bool = False,
    ) -> list[Draw]:
        """What one process draws at a step.

        Args:
            step: from 0.
            batch_size: samples of all processes together; a multiple of `world`.
            seed: of the run.
            whole: take all samples of a step from one member, the next from another, as HPT's released code does;
                else each step mixes the members by their fractions.
            rank: of this process.
            world: number of processes.
            alike: let all processes draw as many samples of the same members.
        """
        fractions = np.array([member.fraction for member in self.members])
        unit = batch_size if whole else 1
        first, last = (
            counts_before(n * batch_size // unit, fractions, seed) * unit for n in (step, step + 1)
        )
        mine = np.arange(rank, batch_size, world)
        drawn, place = [], 0
        for index, (start, stop) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            rows = mine[(mine >= place) & (mine < place + stop - start)] - place
            place += stop - start
            filled = False
            if alike:
                rows = np.arange(rank, stop - start, world)
                filled = len(rows) < -(-(stop - start) // world)
                rows = np.append(rows, 0) if filled else rows
            if len(rows):
                member = self.members[index]
                samples = samples_between(start, stop, len(member.windows), (seed, 2), index, member.weights)
                drawn.append(Draw(index, samples, rows, filled))
        return drawn


def counts_before(n: int, fractions: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """How many of a run's first n samples are of each dataset, (K,); they sum to n.

    Sample i of dataset k is due at (i + u_k) / fraction_k, with u_k random in [0, 1), and samples come in the order of
    these times: every stretch of a run has each dataset's fraction to within a sample, and nothing is remembered.

    Args:
        n: number of samples.
        fractions: above 0, of sum 1.
        seed: of the run.
    """
    late = np.random.default_rng([seed, 3]).random(len(fractions))
    # All that is due long before the n-th sample is counted at once; the rest, at most twice K samples, one by one.
    counts: NDArray[np.int64] = np.maximum(np.floor((n - len(fractions)) * fractions - late) + 1, 0).astype(
        np.int64
    )
    due = [
        ((count + u) / fraction, k)
        for k, (count, u, fraction) in enumerate(zip(counts, late, fractions, strict=True))
    ]
    heapq.heapify(due)
    for _ in range(n - int(counts.sum())):
        k = due[0][1]
        counts[k] += 1
        heapq.heapreplace(due, ((counts[k] + late[k]) / fractions[k], k))
    return counts


def mixture_of(dataset: Dataset, validation_ratio: float, seed: int) -> Mixture:
    """The mixture of one dataset, all its episodes."""
    return Mixture((Member(dataset.root.name, dataset, split_episodes(dataset, validation_ratio, seed)),))


def open_mixture(
    config: MixtureConfig,
    validation_ratio: float,
    seed: int,
    *,
    cache_root: str | Path | None = None,
    fewest: int = 2,
) -> Mixture:
    """Open a mixture's datasets, choose and split their episodes, and check them against each other.

    Args:
        config: what to open.
        validation_ratio: of each dataset's episodes, see `split_episodes`.
        seed: of the choice of episodes and of the split.
        cache_root: see `open_dataset`.
        fewest: datasets that are needed, 1 or 2.

    Raises:
        HptError: a dataset cannot be opened or has no episode left; two have one name; there are too few; or datasets
            of one embodiment's name differ.
    """
    entries = [entry for entry in config.datasets if entry.weight != 0.0]
    if len(entries) < fewest:
        raise MixtureError(
            Code.OUT_OF_RANGE, "the mixture", entries[0].path, problem="has one dataset, {value}",
            expected="two or more", remedy="add another, or train on one with 'hpt finetune'",
        )  # fmt: skip
    members: list[Member] = []
    for entry in entries:
        robot = Embodiment.load(config_path("embodiments", entry.embodiment)) if entry.embodiment else None
        dataset = open_dataset(entry.path, robot, cache_root=cache_root)
        name = entry.name or Path(entry.path).name
        if any(member.name == name for member in members):
            raise MixtureError(
                Code.DUPLICATE, "two datasets of the mixture", name, problem="are called {value}",
                remedy="give each a name of its own",
            )  # fmt: skip
        member = _member(name, dataset, entry, config, validation_ratio, seed)
        _require_same_robot(members, member)
        members.append(member)
    return with_fractions(members, config)


def with_fractions(members: Sequence[Member], config: MixtureConfig) -> Mixture:
    """Return the mixture of members with the fractions of the samples that a configuration gives them.

    Args:
        members: the first of those that are drawn from, in its order.
        config: of all of them.
    """
    entries = [entry for entry in config.datasets if entry.weight != 0.0][: len(members)]
    sizes = [
        len(member.windows) ** (1 / config.temperature) if entry.weight is None else entry.weight
        for member, entry in zip(members, entries, strict=True)
    ]
    return Mixture(
        tuple(replace(m, fraction=size / sum(sizes)) for m, size in zip(members, sizes, strict=True))
    )


def describe(mixture: Mixture) -> list[dict[str, Any]]:
    """What a run must be resumed with: plain values of each member."""
    return [
        {
            "name": member.name,
            "fraction": member.fraction,
            "train": [episode.index for episode in member.split.train],
            "weights": None if member.weights is None else float(member.weights.sum()),
            "embodiment": to_mapping(member.dataset.embodiment),
            "tasks": list(member.dataset.tasks),
            "episodes": [episode.length for episode in member.dataset.episodes],
            "action sum": float(member.dataset.action.sum(dtype="float64")),
            "state sum": float(member.dataset.state.sum(dtype="float64")),
        }
        for member in mixture.members
    ]


def _member(
    name: str,
    dataset: Dataset,
    entry: DatasetEntry,
    config: MixtureConfig,
    validation_ratio: float,
    seed: int,
) -> Member:
    labels = read_labels(dataset)
    there = [e for e in dataset.episodes if config.include_failed or e.index not in labels.failed]
    if not there:
        raise MixtureError(
            Code.EMPTY, f"dataset {entry.path!r}", len(dataset.episodes),
            problem=f"has no episode that is not marked as a failure (of {len(dataset.episodes)})",
            remedy="set include_failed to true, or take the dataset out",
        )  # fmt: skip
    most = entry.max_episodes or config.max_episodes
    chosen = there
    if len(there) > most:
        places = np.random.default_rng([seed, 4]).permutation(len(there))[:most]
        chosen = [there[place] for place in sorted(places.tolist())]
    split = split_episodes(dataset, validation_ratio, seed, tuple(chosen))
    return Member(
        name=name,
        dataset=dataset,
        split=split,
        licence=entry.licence or _licence(dataset.root),
        failed=len(dataset.episodes) - len(there),
        capped=len(there) - len(chosen),
        weights=_weights(labels.intervention, config.intervention_weight, split.train, entry.path),
    )


def _weights(
    intervention: NDArray[np.bool_] | None, weight: float, episodes: Sequence[Episode], path: str
) -> NDArray[np.float64] | None:
    """Weight of every training sample; None where all are equal."""
    if intervention is None or weight == 1.0:
        return None
    marked = np.concatenate([intervention[episode.start : episode.stop] for episode in episodes])
    if weight == 0.0 and marked.all():
        raise MixtureError(
            Code.EMPTY, f"dataset {path!r}", weight,
            problem="has a person's commands at every tick and the intervention_weight {value}, so none is left",
            remedy="raise it, or take the dataset out",
        )  # fmt: skip
    return np.where(marked, weight, 1.0)


def _require_same_robot(members: Sequence[Member], member: Member) -> None:
    other = next((m for m in members if m.embodiment == member.embodiment), None)
    if other is None:
        return
    names = [f"dataset {str(m.dataset.root)!r}" for m in (other, member)]
    robots = other.dataset.embodiment, member.dataset.embodiment
    require_match(*robots, a_name=names[0], b_name=names[1])
    sources = [m.dataset.action_source or "command" for m in (other, member)]
    if sources[0] != sources[1]:
        raise MixtureError(
            Code.MISMATCH, f"the actions of {names[1]}, of embodiment {member.embodiment!r},", sources[1],
            expected=f"{sources[0]!r} as in {names[0]}",
            remedy="convert both alike, or give one robot another name",
        )  # fmt: skip


def _licence(root: Path) -> str:
    """The licence in the header of a dataset's card, as the hub has it."""
    try:
        text = (root / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return NOT_STATED
    header = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^licen[sc]e:\s*(\S.*)$", header.group(1), re.MULTILINE) if header else None
    return found.group(1).strip() if found else NOT_STATED
