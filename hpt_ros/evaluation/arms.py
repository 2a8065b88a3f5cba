# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Arms of a comparison: files of outcomes by environment, one for each training seed, and what two of them show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation import CONFIDENCE
from hpt_ros.evaluation.outcomes import Outcomes, Provenance, arm_of, read_outcomes
from hpt_ros.evaluation.rollout import EpisodeResult
from hpt_ros.evaluation.statistics import (
    Interval,
    PairedComparison,
    anytime_e_value,
    compare_arms,
    draw_means,
    interval_of,
    mcnemar_p,
    success_interval,
)

Floats = NDArray[np.float64]
OVERALL = "all"
# In what the files of one arm may differ: each is of another training run.
_OF_A_SEED = ("policy", "checkpoint_sha256", "hpt_ros_version")


@dataclass(frozen=True, slots=True)
class Arm:
    """The outcomes of one way to make a policy.

    Attributes:
        path: file or folder.
        runs: environment to its files, one for each training seed.
    """

    path: Path
    runs: Mapping[str, tuple[Outcomes, ...]]

    @property
    def name(self) -> str:
        """For people: the file's, and the policy's where it is another."""
        policies = sorted({run.provenance.policy for runs in self.runs.values() for run in runs})
        stem = self.path.stem
        return stem if policies == [stem] else f"{stem} ({', '.join(policies)})"

    @property
    def training_seeds(self) -> int:
        """Files of an environment, at most."""
        return max(len(runs) for runs in self.runs.values())


@dataclass(frozen=True, slots=True)
class Row:
    """What two arms show in one environment, a suite or all.

    Attributes:
        name: of it.
        environments: names.
        success: of each arm, with its interval.
        paired: the comparison; of several environments the scenes of all, each environment of equal weight.
    """

    name: str
    environments: tuple[str, ...]
    success: tuple[Interval, Interval]
    paired: PairedComparison


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two arms on the same scenes.

    Attributes:
        arms: A and B, their outcomes as they were read.
        seeds: environment to the scenes that all files have.
        rows: of each environment, each suite of several, and of all if there are several.
        confidence: of the intervals.
    """

    arms: tuple[Arm, Arm]
    seeds: Mapping[str, tuple[int, ...]]
    rows: tuple[Row, ...]
    confidence: float = CONFIDENCE

    @property
    def interval(self) -> str:
        """Heading of the intervals, as ``95 % interval``."""
        return interval_heading(self.confidence)

    def episodes(self, arm: int, environment: str | None = None) -> list[EpisodeResult]:
        """Return the compared episodes of an arm, of one environment or of all."""
        return [
            episode
            for name, runs in self.arms[arm].runs.items()
            if environment in (None, name) and name in self.seeds
            for run in runs
            for episode in run.episodes
            if episode.seed in set(self.seeds[name])
        ]


def interval_heading(confidence: float) -> str:
    """Return what intervals are called in tables, as ``95 % interval``."""
    return f"{100 * confidence:g} % interval"


def read_arm(path: Path) -> Arm:
    """Read an arm: a file, or a folder of files, of any environments.

    Raises:
        HptError: nothing there, no outcomes, or files of one environment that are not of one arm.
    """
    files = sorted(path.glob("**/*.parquet")) if path.is_dir() else [path]
    if not files:
        raise HptError(
            Code.MISSING, f"the folder {str(path)!r}", problem="has no *.parquet file",
            remedy=f"'hpt eval --out {path}/1.parquet' writes one",
        )  # fmt: skip
    runs: dict[str, dict[Path, Outcomes]] = {}
    for file in files:
        outcomes = read_outcomes(file)
        runs.setdefault(outcomes.provenance.environment, {})[file] = outcomes
    for found in runs.values():
        _require_one_arm(found)
    return Arm(path, {name: tuple(found.values()) for name, found in runs.items()})


def _require_one_arm(runs: Mapping[Path, Outcomes]) -> None:
    """Refuse files that are no training seeds of each other: other conditions, or the same weights again."""
    seen: dict[str, Path] = {}
    first_file, first = next((file, run.provenance) for file, run in runs.items())
    for file, run in runs.items():
        about = run.provenance
        for name in (item.name for item in fields(Provenance) if item.name not in _OF_A_SEED):
            if (value := getattr(about, name)) != (expected := getattr(first, name)):
                raise HptError(
                    Code.MISMATCH, f"{name} of {str(file)!r}", value,
                    expected=f"{expected!r} as in {str(first_file)!r}, since files of one environment in a folder are "
                    "training seeds of one arm",
                    remedy="give each arm its own folder",
                )  # fmt: skip
        if about.checkpoint_sha256 and about.checkpoint_sha256 in seen:
            raise HptError(
                Code.MISMATCH, repr(str(file)), str(seen[about.checkpoint_sha256]),
                problem="is of the same weights as {value}, so it is no other training seed",
                remedy="give each arm its own folder",
            )  # fmt: skip
        seen[about.checkpoint_sha256] = file


def compare(a: Arm, b: Arm, confidence: float = CONFIDENCE) -> Comparison:
    """Compare arm B with arm A, in each environment and over all.

    Args:
        a: one arm.
        b: the other.
        confidence: of all intervals, between 0 and 1.

    Raises:
        HptError: a confidence that none can be, an environment that only one of them has, scenes that differ, or none
            in common.
    """
    if not 0.0 < confidence < 1.0:
        raise HptError(Code.OUT_OF_RANGE, "the confidence", confidence, expected="between 0 and 1, as 0.95")
    for one, other in ((a, b), (b, a)):
        if missing := sorted(one.runs.keys() - other.runs.keys()):
            raise HptError(
                Code.MISMATCH, repr(str(one.path)), ", ".join(missing),
                problem=f"has outcomes of {{value}}, which {str(other.path)!r} lacks, so its scenes differ",
                remedy="evaluate both in the same environments",
            )  # fmt: skip
    seeds, tables = {}, {}
    for name in a.runs:
        seeds[name] = _common_seeds(a, b, name)
        tables[name] = tuple(np.array(arm_of(arm.runs[name], seeds[name])) for arm in (a, b))
    rows = [_row_of_one(name, tables[name][0], tables[name][1], confidence) for name in seeds]
    for suite, names in _suites(list(seeds)).items():
        rows.append(_row_of_several(suite, names, [tables[name] for name in names], confidence))
    return Comparison((a, b), seeds, tuple(rows), confidence)


def _suites(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return suites of several environments (what their names have before a slash), and all if there are several."""
    suites: dict[str, list[str]] = {}
    for name in names:
        if "/" in name:
            suites.setdefault(name.partition("/")[0], []).append(name)
    found = {suite: tuple(inside) for suite, inside in suites.items() if 1 < len(inside) < len(names)}
    return found | ({OVERALL: tuple(names)} if len(names) > 1 else {})


def _common_seeds(a: Arm, b: Arm, environment: str) -> tuple[int, ...]:
    first = a.runs[environment][0].provenance
    for arm in (a, b):
        for run in arm.runs[environment]:
            if not run.provenance.scenes_as(first):
                raise HptError(
                    Code.MISMATCH, repr(str(arm.path)), _scenes(run),
                    problem="has outcomes of {value}, so its scenes differ",
                    expected=f"{_scenes(a.runs[environment][0])}, as {str(a.path)!r} has",
                    remedy="evaluate both in the same environment",
                )  # fmt: skip
    every = [{episode.seed for episode in run.episodes} for arm in (a, b) for run in arm.runs[environment]]
    if not (common := set.intersection(*every)):
        raise HptError(
            Code.MISMATCH, f"{str(a.path)!r} and {str(b.path)!r}", problem=f"have no scene in common of {environment}",
            remedy="evaluate both with the same --seed and --episodes",
        )  # fmt: skip
    return tuple(sorted(common))


def _scenes(outcomes: Outcomes) -> str:
    about = outcomes.provenance
    environment = f"{about.environment} {about.environment_version}"
    return (
        f"{environment} with MuJoCo {about.mujoco_version}, {about.time_limit_s:g} s an episode and the variation "
        f"{about.variation!r}"
    )


def success_of(table: Floats, confidence: float = CONFIDENCE) -> Interval:
    """Return the success of (training seeds, scenes): Wilson's interval of one seed, a bootstrap of several."""
    if len(table) == 1:
        return success_interval(int(table.sum()), table.size, confidence)
    return interval_of(float(table.mean()), draw_means([(table,)])[0], confidence)


def successes_of(arm: Arm) -> dict[str, Interval]:
    """Return the success of an arm in each environment, each suite of several, and in all if there are several.

    Of several training seeds, in the scenes that all their files have.
    """
    tables = {}
    for name, runs in arm.runs.items():
        common = set.intersection(*({episode.seed for episode in run.episodes} for run in runs))
        tables[name] = np.array(arm_of(runs, sorted(common)))
    found = {name: success_of(table) for name, table in tables.items()}
    for suite, names in _suites(list(tables)).items():
        draws = draw_means([(tables[name],) for name in names])[0]
        found[suite] = interval_of(float(np.mean([tables[name].mean() for name in names])), draws)
    return found


def _row_of_one(name: str, a: Floats, b: Floats, confidence: float) -> Row:
    success = (success_of(a, confidence), success_of(b, confidence))
    return Row(name, (name,), success, compare_arms(a, b, confidence=confidence))


def _row_of_several(
    name: str, environments: tuple[str, ...], tables: Sequence[tuple[Floats, ...]], confidence: float
) -> Row:
    each = [compare_arms(*pair) for pair in tables]
    only_a, only_b = sum(item.only_a for item in each), sum(item.only_b for item in each)
    estimates = [np.mean([pair[arm].mean() for pair in tables]) for arm in (0, 1)]
    draws = draw_means(tables)
    success = [interval_of(estimates[arm], draws[arm], confidence) for arm in (0, 1)]
    difference = interval_of(estimates[1] - estimates[0], draws[1] - draws[0], confidence)
    paired = PairedComparison(
        scenes=sum(item.scenes for item in each),
        both=sum(item.both for item in each),
        only_a=only_a,
        only_b=only_b,
        neither=sum(item.neither for item in each),
        difference=difference,
        p_value=mcnemar_p(only_a, only_b),
        e_value=anytime_e_value(only_a, only_b),
    )
    return Row(name, environments, (success[0], success[1]), paired)
