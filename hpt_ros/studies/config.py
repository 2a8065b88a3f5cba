# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A study's YAML file: a grid of training runs over the same held-out episodes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.conditions import Conditions
from hpt_ros.learning.initial_weights import InitialWeights
from hpt_ros.learning.recipe import Recipe, load_recipe
from hpt_ros.resources import config_path
from hpt_ros.sim.environment_sets import environments_of
from hpt_ros.structured import StructureError, field, read_dataclass, read_yaml_file
from hpt_ros.studies.starts import FIRST_RATIO, OF_TRUNK, SCRATCH, STARTS, kind_of, split_changes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_HUB = "hf://"
AXES: Final = ("episodes", "datasets", "batch_size", "size", "variant", "start", "trunk")
_COUNTED: Final = ("episodes", "datasets", "batch_size")
_NAMED: Final = ("size", "variant", "start", "trunk")
Changes = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class EvaluationConfig(Conditions):
    """How the cells' policies are judged in closed loop, all in the same scenes."""

    environments: tuple[str, ...] = field("environments, or sets of them such as metaworld/hpt4", default=())
    scenes: int = field("scenes of each environment", default=100, minimum=0)
    seed: int = field("of the first scene", default=1000, minimum=0)
    validation_scenes: int = field(
        "scenes of each environment to choose by, which are no evidence then", default=0, minimum=0
    )
    validation_seed: int = field("of the first of those", default=500_000, minimum=0)
    checkpoint: str = field(
        "of each run; best: by its validation episodes, last: of the last step",
        default="best",
        choices=("best", "last"),
    )

    def __post_init__(self) -> None:
        if not self.environments:
            raise HptError(Code.EMPTY, "environments of the study", expected="at least one", remedy="name it")
        both = set(self.seeds) & set(self.seeds_to_choose)
        if both:
            raise HptError(
                Code.CONFLICT, "validation_seed of the study", self.validation_seed,
                problem=f"is {{value}}, so that {len(both)} scenes would both choose and judge",
                remedy="move it",
            )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the environments, each once.

        Raises:
            HptError: there is none of a name.
        """
        return environments_of(self.environments)

    @property
    def seeds(self) -> range:
        """Seeds of the scenes that judge."""
        return range(self.seed, self.seed + self.scenes)

    @property
    def seeds_to_choose(self) -> range:
        """Seeds of the scenes to choose by."""
        return range(self.validation_seed, self.validation_seed + self.validation_scenes)


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """What is varied; every combination is a cell."""

    mixture: str = field("mixture whose datasets are the pool, relative to the study's file; one is enough")
    recipe: str = field("recipe file, relative to the study's file, or the name of a shipped one")
    x: str = field("what is drawn along the horizontal axis", choices=AXES)
    set: tuple[str, ...] = field("changes to the recipe in all cells, as key=value", default=())
    episodes: tuple[int, ...] = field(
        "training episodes of each dataset at most; 0: all", default=(0,), minimum=0
    )
    datasets: tuple[int, ...] = field(
        "the first so many of the mixture's datasets; 0: all", default=(0,), minimum=0
    )
    batch_size: tuple[int, ...] = field("samples in a step; 0: the recipe's", default=(0,), minimum=0)
    size: Changes | None = field(
        "name to changes of the recipe that make the network larger; left out: the recipe's", default=None
    )
    variant: Changes | None = field(
        "name to any other changes of the recipe, as an ablation has", default=None
    )
    start: Changes | None = field(
        f"{', '.join(STARTS)}, each with changes of its own or none; KIND.NAME is another arm of a kind; left out: "
        f"{SCRATCH}",
        default=None,
    )
    trunk: dict[str, str] | None = field(
        "pre-trained trunk: one, or name to trunk where several are compared", default=None
    )
    seeds: tuple[int, ...] = field("of the runs", default=(0, 1, 2), minimum=0)
    held_out: float = field("ratio of each dataset's episodes", default=0.2, above=0.0, maximum=0.9)
    evaluate: EvaluationConfig | None = field("closed loop; left out: none", default=None)
    baseline: str = field(
        f"start that others are compared with; left out: {SCRATCH}, if it is one of them", default=""
    )

    @property
    def sizes(self) -> Changes:
        """Names of the sizes and their changes."""
        return {"recipe": ()} if self.size is None else self.size

    @property
    def variants(self) -> Changes:
        """Names of the variants and their changes."""
        return {"": ()} if self.variant is None else self.variant

    @property
    def starts(self) -> Changes:
        """Names of the starts and their changes."""
        return {SCRATCH: ()} if self.start is None else self.start

    @property
    def compared_with(self) -> str:
        """The start that others are compared with; empty: none."""
        return self.baseline or (SCRATCH if SCRATCH in self.starts else "")

    def __post_init__(self) -> None:
        for name in (*AXES, "seeds"):
            values = getattr(self, name)
            if values is None:
                continue
            if not values:
                raise HptError(Code.EMPTY, f"{name} of the study", expected="at least one value")
            if len(set(values)) < len(values):
                raise HptError(
                    Code.DUPLICATE, f"{name} of the study", list(values), problem="has a value twice"
                )
        for axis in _NAMED:
            for name in getattr(self, axis) or ():
                # Folders of the cells have it in their names; a trunk without a name is the only one.
                if not _NAME.fullmatch(name) and (axis != "trunk" or name):
                    raise HptError(
                        Code.INVALID, f"a {axis} of the study", name,
                        expected="letters, digits, '.', '_', '+' and '-'", remedy="name it otherwise",
                    )  # fmt: skip
        for start, changes in self.starts.items():
            if kind_of(start) not in STARTS:
                raise HptError(Code.UNKNOWN, "start of the study", start, known=STARTS)
            kind, (_, weights) = STARTS[kind_of(start)], split_changes(changes)
            if weights.shared and kind.policy:
                raise HptError(
                    Code.CONFLICT, f"start {start!r} of the study", "shared",
                    problem="takes all of a checkpoint, so {value} adds nothing",
                    remedy="leave shared out, or name another start, as finetuned",
                )  # fmt: skip
            if (kind.trunk or weights.of_trunk) and not self.trunk:
                raise HptError(
                    Code.MISSING,
                    "the study",
                    problem=f"lacks a trunk, which start {start!r} needs",
                    remedy="name it",
                )
        if self.baseline and self.baseline not in self.starts:
            raise HptError(Code.UNKNOWN, "baseline of the study", self.baseline, known=self.starts)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study.

    Attributes:
        trunk: name of the pre-trained one; empty where none is loaded, or there is but one.
    """

    episodes: int
    datasets: int
    batch_size: int
    size: str
    variant: str
    start: str
    trunk: str
    seed: int

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Cell:
        """Return the cell of a result."""
        return cls(**{item.name: result[item.name] for item in fields(cls)})

    @property
    def arm(self) -> str:
        """Name of the cell but for its seed."""
        names = (self.size, self.variant, self.start, self.trunk)
        counts = f"episodes{self.episodes}-datasets{self.datasets}-batch{self.batch_size}"
        return "-".join([counts, *filter(None, names)])

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.arm}-seed{self.seed}"


def load_study(path: Path) -> StudyConfig:
    """Read a study's YAML file; paths in it become absolute.

    Raises:
        HptError: a wrong file, key or value.
    """
    data, where = read_yaml_file(path), f"study {str(path)!r}"
    if isinstance(data.get("start"), list):
        starts = data["start"]
        if len({str(start) for start in starts}) < len(starts):
            raise HptError(Code.DUPLICATE, "start of the study", starts, problem="has a value twice")
        data["start"] = dict.fromkeys(str(start) for start in starts)
    for axis in ("size", "variant", "start"):
        if isinstance(data.get(axis), dict):  # "scratch:" with nothing behind it changes nothing
            data[axis] = {name: [] if changes is None else changes for name, changes in data[axis].items()}
    if isinstance(data.get("trunk"), str):
        data["trunk"] = {"": data["trunk"]} if data["trunk"] else None
    study = read_dataclass(StudyConfig, data, where=where)
    folder = path.parent.absolute()
    trunks = study.trunk and {name: _beside(folder, trunk) for name, trunk in study.trunk.items()}
    recipe = str(folder / study.recipe) if (folder / study.recipe).is_file() else study.recipe
    return replace(study, mixture=_beside(folder, study.mixture), recipe=recipe, trunk=trunks)


def _beside(folder: Path, source: str) -> str:
    return source if source.startswith(_HUB) else str(folder / Path(source).expanduser())


def cells_of(study: StudyConfig) -> list[Cell]:
    """Return every cell; all combinations of one seed before those of the next, so that a part shows the entire grid.

    A start without a trunk is one cell, however many trunks there are.
    """
    found: dict[Cell, None] = {}
    grid = itertools.product(
        study.seeds, study.episodes, study.datasets, study.batch_size, study.sizes, study.variants,
        study.starts, study.trunk or {"": ""},
    )  # fmt: skip
    for seed, episodes, datasets, batch, size, variant, start, trunk in grid:
        _, weights = split_changes(study.starts[start])
        used = STARTS[kind_of(start)].trunk or weights.of_trunk
        cell = Cell(episodes, datasets, batch, size, variant, start, trunk if used else "", seed)
        found.setdefault(cell)
    return list(found)


def start_of(study: StudyConfig, cell: Cell) -> InitialWeights:
    """Return where the weights of a cell come from."""
    _, weights = split_changes(study.starts[cell.start])
    trunk = (study.trunk or {}).get(cell.trunk)
    source = trunk if weights.image_encoder == OF_TRUNK else (weights.image_encoder or None)
    kind = STARTS[kind_of(cell.start)]
    if kind.policy:
        return InitialWeights(init=trunk, image_encoder=source, init_statistics=True)
    return InitialWeights(
        trunk=trunk if kind.trunk else None, image_encoder=source, shared=trunk if weights.shared else None
    )


def recipe_of(study: StudyConfig, cell: Cell) -> Recipe:
    """Return the recipe of a cell.

    Raises:
        HptError: a change that does not fit the recipe, or a recipe that contradicts itself.
    """
    kind, path = STARTS[kind_of(cell.start)], config_path("recipes", study.recipe)
    own, _ = split_changes(study.starts[cell.start])
    before = [*study.set, *study.sizes[cell.size], *study.variants[cell.variant]]
    steps = []
    if kind.two_steps and not _has_first_step(read_yaml_file(path), [*before, *own]):
        steps.append(f"first_step.ratio={FIRST_RATIO}")
    changes = [*before, *kind.changes, *steps, *own, f"seed={cell.seed}"]
    try:
        return load_recipe(path, changes, batch_size=cell.batch_size or None)
    except StructureError:
        raise
    except HptError as error:
        given = [f"set: {study.set}"] if study.set else []
        for axis, named in (("size", study.sizes), ("variant", study.variants), ("start", study.starts)):
            name = getattr(cell, axis)
            given += [f"{axis} {name}: {named[name]}"] if named[name] else []
        said = ", ".join(text.replace("(", "[").replace(",)", "]").replace(")", "]") for text in given)
        raise error.within(f"cell {cell.name!r}{f' ({said})' if said else ''}") from error


def _has_first_step(recipe: Mapping[str, Any], changes: list[str]) -> bool:
    return bool(recipe.get("first_step")) or any(change.startswith("first_step") for change in changes)
