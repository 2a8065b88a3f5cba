# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The file of a mixture: its datasets, and how much of the samples is of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.dataset.layout import is_dataset
from hpt_ros.errors import Code, HptError
from hpt_ros.structured import field, read_dataclass, read_yaml_file, to_mapping


class MixtureError(HptError):
    """A mixture contradicts itself, or its datasets do not fit each other."""


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """One dataset of a mixture."""

    path: str = field("LeRobotDataset v3.0 folder; relative to the mixture's file")
    name: str = field("in messages and the model card; left out: the folder's", default="")
    embodiment: str = field(
        "the robot's file, relative to the mixture's, or a shipped name; left out: the dataset's own",
        default="",
    )
    weight: float | None = field(
        "fraction of the samples relative to the other datasets' weights; all datasets have one, or none",
        default=None,
        minimum=0.0,
    )
    max_episodes: int | None = field("instead of the mixture's", default=None, minimum=1)
    licence: str = field("for the model card; left out: what the dataset's README.md states", default="")


@dataclass(frozen=True, slots=True)
class MixtureConfig:
    """Datasets of any robots, and how much of each."""

    datasets: tuple[DatasetEntry, ...] = field("two or more")
    # Square root: arXiv 2409.20537. Large datasets count for more, but do not drown the small ones.
    temperature: float = field(
        "without weights, a dataset's fraction is its samples to the power of 1/temperature: 1 by size, 2 the square "
        "root, large equal",
        default=2.0,
        above=0.0,
    )
    max_episodes: int = field(  # 1000 trajectories of each dataset: arXiv 2409.20537
        "most episodes of one dataset, chosen at random", default=1000, minimum=1
    )
    include_failed: bool = field("train on episodes that were recorded as failures, too", default=False)
    intervention_weight: float = field(
        "how often a tick is drawn at which a person commanded, relative to others", default=1.0, minimum=0.0
    )

    def __post_init__(self) -> None:
        if not self.datasets:
            raise MixtureError(
                Code.EMPTY,
                "the mixture",
                problem="has no datasets",
                expected="two or more",
                remedy="name them",
            )
        given = [entry.weight for entry in self.datasets if entry.weight is not None]
        if given and len(given) < len(self.datasets):
            without = next(entry.path for entry in self.datasets if entry.weight is None)
            raise MixtureError(
                Code.CONFLICT, f"dataset {without!r} of the mixture", len(given),
                problem=f"has no weight, but {{value}} of its {len(self.datasets)} datasets have",
                remedy="give all a weight, or none",
            )  # fmt: skip
        if given and sum(given) <= 0:
            raise MixtureError(
                Code.OUT_OF_RANGE, "the sum of the weights of the mixture's datasets", sum(given),
                expected="more than 0", remedy="give at least two of them a weight",
            )  # fmt: skip


def load_mixture(path: str | Path) -> MixtureConfig:
    """Read a mixture's YAML file; paths in it become absolute.

    Raises:
        HptError: a wrong file, key or value, or a mixture that contradicts itself.
    """
    file = Path(path)
    if file.is_dir():
        one = is_dataset(file)
        raise MixtureError(
            Code.WRONG_TYPE, repr(str(path)), problem=f"is {'a dataset' if one else 'a folder'}",
            expected="a mixture: a YAML file that lists datasets",
            remedy="train a policy on it with 'hpt finetune', or write a mixture of it and others (docs/training.md)"
            if one else "name the file",
        )  # fmt: skip
    data = read_yaml_file(file)
    for entry in data.get("datasets") or ():
        if isinstance(entry, dict):
            for key in ("path", "embodiment"):
                value = entry.get(key)
                if isinstance(value, str) and (
                    key == "path" or len(Path(value).parts) > 1 or Path(value).suffix
                ):
                    entry[key] = str((file.parent / Path(value).expanduser()).absolute())
    return read_dataclass(MixtureConfig, data, where=f"mixture {str(path)!r}")


def plain(config: MixtureConfig) -> Mapping[str, Any]:
    """The mixture's configuration as plain values, for the run's folder."""
    return to_mapping(config)
