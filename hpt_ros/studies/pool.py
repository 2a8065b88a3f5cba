# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The data of a study's cells.

Validation episodes depend on the dataset alone, not on the cell: runs with 5 and with 50 demonstrations are judged on
the same ones, or their losses could not be compared.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hpt_ros.errors import Code, HptError
from hpt_ros.learning.mixture import Mixture, open_mixture, with_fractions
from hpt_ros.learning.mixture_config import load_mixture
from hpt_ros.learning.samples import Split
from hpt_ros.studies.config import Cell, StudyConfig


class Pool:
    """The datasets of a study, opened once."""

    def __init__(self, study: StudyConfig, cache_root: str | Path | None = None) -> None:
        """Open them.

        Args:
            study: its configuration.
            cache_root: see `hpt_ros.dataset.open_dataset`.

        Raises:
            HptError: a dataset cannot be opened.
        """
        self._config = load_mixture(study.mixture)
        self._mixture = open_mixture(self._config, study.held_out, 0, cache_root=cache_root, fewest=1)

    def of(self, cell: Cell) -> Mixture:
        """Return the data of a cell: the same held-out episodes of each dataset in all, and fewer of the others.

        Raises:
            HptError: there are too few datasets, or one has too few episodes.
        """
        if cell.datasets > len(self._mixture.members):
            raise HptError(
                Code.OUT_OF_RANGE, "datasets of the study", cell.datasets,
                expected=f"at most {len(self._mixture.members)}, which the mixture has",
            )  # fmt: skip
        members = []
        for number, member in enumerate(self._mixture.members[: cell.datasets or None]):
            there = member.split.train
            if cell.episodes > len(there):
                raise HptError(
                    Code.OUT_OF_RANGE, "episodes of the study", cell.episodes,
                    expected=f"at most {len(there)}, which {member.name!r} has beside those held out",
                )  # fmt: skip
            # Fewer episodes are a part of more, and another seed has others.
            order = np.random.default_rng([cell.seed, 6, number]).permutation(len(there))
            places = sorted(order[: cell.episodes or None].tolist())
            weights = member.weights
            if weights is not None:  # those of each episode, one after the other
                each = np.split(weights, member.windows.ends[:-1])
                weights = np.concatenate([each[index] for index in places])
            chosen = tuple(there[index] for index in places)
            members.append(replace(member, split=Split(chosen, member.split.validation), weights=weights))
        return with_fractions(members, self._config)
