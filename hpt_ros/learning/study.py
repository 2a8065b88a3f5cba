# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A study: a grid of training runs over the same held-out episodes, each an ordinary run folder.

Validation episodes depend on the dataset alone, not on the cell: runs with 5 and with 50 demonstrations are judged on
the same ones, or their losses could not be compared.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hpt_ros.atomic import replaced
from hpt_ros.errors import Code, HptError
from hpt_ros.learning.mixture import Mixture, load_mixture, open_mixture, with_shares
from hpt_ros.learning.recipe import Recipe, load_recipe
from hpt_ros.learning.reporter import Reporter
from hpt_ros.learning.samples import Split
from hpt_ros.learning.start import Start
from hpt_ros.learning.state import FILE
from hpt_ros.learning.train import train
from hpt_ros.resources import config_path
from hpt_ros.structured import field, read_dataclass, read_yaml_file, to_mapping

RESULT = "result.json"
STARTS = ("scratch", "frozen", "finetuned")
SHARED = ("mixture", "recipe", "set", "size", "trunk", "held_out")  # by all cells of a folder
_SIZE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Through two points there is a power law whatever they are.
FEWEST_FITTED: Final = 3
AXES = ("episodes", "datasets", "batch_size", "size", "start")


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """What is varied; every combination is a cell."""

    mixture: str = field("mixture whose datasets are the pool, relative to the study's file")
    recipe: str = field("recipe file, or the name of a shipped one")
    x: str = field("what is drawn along the horizontal axis", choices=AXES)
    set: tuple[str, ...] = field("changes to the recipe in all cells, as key=value", default=())
    episodes: tuple[int, ...] = field(
        "training episodes of each dataset at most; 0: all", default=(0,), minimum=0
    )
    datasets: tuple[int, ...] = field(
        "the first so many of the mixture's datasets; 0: all", default=(0,), minimum=0
    )
    batch_size: tuple[int, ...] = field("samples in a step; 0: the recipe's", default=(0,), minimum=0)
    size: dict[str, tuple[str, ...]] | None = field(
        "name to changes of the recipe, as key=value, that make the network larger; left out: the recipe's",
        default=None,
    )
    start: tuple[str, ...] = field("scratch, frozen or finetuned (both from `trunk`)", default=("scratch",))
    trunk: str = field("pre-trained trunk", default="")
    seeds: tuple[int, ...] = field("of the runs", default=(0, 1, 2), minimum=0)
    held_out: float = field("ratio of each dataset's episodes", default=0.2, above=0.0, maximum=0.9)

    @property
    def sizes(self) -> dict[str, tuple[str, ...]]:
        """Names of the sizes and their changes."""
        return {"recipe": ()} if self.size is None else self.size

    def __post_init__(self) -> None:
        for name in (*AXES, "seeds"):
            if not getattr(self, name) and getattr(self, name) is not None:
                raise HptError(Code.EMPTY, f"{name} of the study", expected="at least one value")
        for name in self.sizes:
            if not _SIZE.fullmatch(name):  # folders of the cells have it in their names
                raise HptError(
                    Code.INVALID, "a size of the study", name, expected="letters, digits, '.', '_' and '-'",
                    remedy="name it otherwise",
                )  # fmt: skip
        for start in self.start:
            if start not in STARTS:
                raise HptError(Code.UNKNOWN, "start of the study", start, known=STARTS)
            if start != "scratch" and not self.trunk:
                raise HptError(
                    Code.MISSING,
                    "the study",
                    problem=f"lacks a trunk, which start {start!r} needs",
                    remedy="name it",
                )


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study."""

    episodes: int
    datasets: int
    batch_size: int
    size: str
    start: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return (
            f"episodes{self.episodes}-datasets{self.datasets}-batch{self.batch_size}-{self.size}-{self.start}"
            f"-seed{self.seed}"
        )


def load_study(path: Path) -> StudyConfig:
    """Read a study's YAML file.

    Raises:
        HptError: a wrong file, key or value.
    """
    study = read_dataclass(StudyConfig, read_yaml_file(path), where=f"study {str(path)!r}")
    return replace(study, mixture=str((path.parent / Path(study.mixture).expanduser()).absolute()))


def cells_of(study: StudyConfig) -> list[Cell]:
    """Return every cell; all combinations of one seed before those of the next, so that a part shows the whole grid."""
    grid = itertools.product(
        study.seeds, study.episodes, study.datasets, study.batch_size, study.sizes, study.start
    )
    return [Cell(e, d, b, size, start, seed) for seed, e, d, b, size, start in grid]


def recipe_of(study: StudyConfig, cell: Cell) -> Recipe:
    """Return the recipe of a cell.

    Raises:
        HptError: a change that does not fit the recipe.
    """
    changes = [*study.set, *study.sizes[cell.size], f"seed={cell.seed}"]
    if cell.start == "frozen":
        changes.append("freeze_trunk=true")
    return load_recipe(config_path("recipes", study.recipe), changes, batch_size=cell.batch_size or None)


def mixture_for(study: StudyConfig, cell: Cell, cache_root: str | Path | None = None) -> Mixture:
    """Return the data of a cell: the same held-out episodes of each dataset in every cell, and fewer of the others.

    Raises:
        HptError: a dataset cannot be opened, or has too few episodes.
    """
    config = load_mixture(study.mixture)
    whole = open_mixture(config, study.held_out, 0, cache_root=cache_root)
    if cell.datasets > len(whole.members):
        raise HptError(
            Code.OUT_OF_RANGE,
            "datasets of the study",
            cell.datasets,
            expected=f"at most {len(whole.members)}, which the mixture has",
        )
    members = []
    for place, member in enumerate(whole.members[: cell.datasets or None]):
        there = member.split.train
        if cell.episodes > len(there):
            raise HptError(
                Code.OUT_OF_RANGE, "episodes of the study", cell.episodes,
                expected=f"at most {len(there)}, which {member.name!r} has beside those held out",
            )  # fmt: skip
        # Fewer episodes are a part of more, and another seed has others.
        order = np.random.default_rng([cell.seed, 6, place]).permutation(len(there))[: cell.episodes or None]
        places = sorted(order.tolist())
        weights = member.weights
        if weights is not None:  # those of each episode, one after the other
            each = np.split(weights, member.windows.ends[:-1])
            weights = np.concatenate([each[index] for index in places])
        chosen = tuple(there[index] for index in places)
        members.append(replace(member, split=Split(chosen, member.split.validation), weights=weights))
    return with_shares(members, config)


def require_same(study: StudyConfig, out: Path) -> None:
    """Note in the study's folder what its cells have in common, or check that those that are there have it too.

    Axes may get more values, and seeds too; what all cells share may not change.

    Raises:
        HptError: the folder has the runs of another study.
    """
    common = {name: value for name, value in to_mapping(study).items() if name in SHARED}
    file = out / "study.json"
    if not file.is_file():
        with replaced(file) as work:
            work.write_text(json.dumps(common, indent=1) + "\n", encoding="utf-8")
        return
    there = json.loads(file.read_text(encoding="utf-8"))
    for name, value in common.items():
        if there.get(name) != value:
            raise HptError(
                Code.MISMATCH, f"{name} of the study in {str(out)!r}", there.get(name), expected=f"{value!r}, as now",
                remedy="name another --out",
            )  # fmt: skip


def run_cell(
    study: StudyConfig, cell: Cell, out: Path, report: Reporter, device: str = "auto"
) -> dict[str, Any]:
    """Run a cell, go on with one that was interrupted, or read what came of one that is done.

    Args:
        study: its configuration.
        cell: of it.
        out: the study's folder.
        report: where messages go.
        device: as of `train`.

    Raises:
        HptError: as `train`; the cell is of another study; KeyboardInterrupt after it was saved.
    """
    folder = out / cell.name
    file = folder / RESULT
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
    mixture, recipe = mixture_for(study, cell), recipe_of(study, cell)
    began = time.monotonic()
    start = Start() if cell.start == "scratch" else Start(trunk=study.trunk)
    resume = (folder / FILE).is_file()
    result = train(
        mixture, recipe, folder, start=start, resume=resume, device=device, report=report, command="hpt study"
    )
    if result.interrupted:
        raise KeyboardInterrupt
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["validation_loss"] for line in lines if "validation_loss" in line]
    values = {
        **asdict(cell),
        "validation_loss": losses[-1],
        "best_validation_loss": min(losses),
        "training_loss": [line["loss"] for line in lines if "lr" in line][-1],
        "iterations": recipe.iterations,
        "batch": recipe.batch_size,
        "training_episodes": sum(len(member.split.train) for member in mixture.members),
        "training_ticks": sum(len(member.windows) for member in mixture.members),
        "parameters": _parameters(folder),
        "seconds": time.monotonic() - began,
    }
    with replaced(file) as work:
        work.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return values


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(str(folder / "last" / "model.safetensors"), "np") as file:
        return sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118 - no mapping


def power_law(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return a and b of y = a x^b, by least squares of the logarithms.

    Args:
        x, y: (N,) above 0, of at least two different x.
    """
    b, log_a = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(log_a)), float(b)


def grouped(results: list[Mapping[str, Any]], x: str) -> Iterator[tuple[str, list[tuple[Any, list[float]]]]]:
    """Yield the lines of the figure: name, and for each x the validation losses of all seeds.

    Args:
        results: of the cells that are done.
        x: name of an axis.
    """
    others = [axis for axis in AXES if axis != x and len({result[axis] for result in results}) > 1]
    lines: dict[str, dict[Any, list[float]]] = {}
    for result in results:
        name = ", ".join(f"{axis} {result[axis]}" for axis in others)
        lines.setdefault(name, {}).setdefault(result[x], []).append(result["validation_loss"])
    for name, points in lines.items():
        yield (
            name,
            sorted(points.items(), key=lambda item: str(item[0]) if isinstance(item[0], str) else item[0]),
        )
