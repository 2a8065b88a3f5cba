# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt compare`: whether one policy is better than another, from two evaluations on the same scenes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from hpt_ros.evaluation.outcomes import Outcomes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    for name in ("a", "b"):
        parser.add_argument(
            name,
            type=Path,
            metavar=name.upper(),
            help="file of 'hpt eval --out', or a folder of them: one file for each training seed of the arm",
        )


def run(args: argparse.Namespace) -> int:
    """Print both arms' success, and the paired difference with its interval; returns 0."""
    import numpy as np
    from rich import box
    from rich.table import Table

    from hpt_ros.cli.terminal import Results
    from hpt_ros.evaluation.outcomes import arm_of
    from hpt_ros.evaluation.statistics import bootstrap_interval, compare_arms, success_interval

    arms = [_read(args.a), _read(args.b)]
    seeds = _common_seeds(arms, [str(args.a), str(args.b)])
    tables = [np.array(arm_of(arm, seeds)) for arm in arms]
    results = Table(title=f"{len(seeds)} scenes of {arms[0][0].provenance.environment}", box=box.SIMPLE_HEAD)
    for column in ("arm", "training seeds", "success", "95 % interval"):
        results.add_column(column)
    for path, arm, table in zip((args.a, args.b), arms, tables, strict=True):
        if len(arm) == 1:
            found = success_interval(int(table.sum()), table.size)
        else:
            found = bootstrap_interval([table], lambda drawn: float(drawn[0].mean()))
        results.add_row(
            f"{path.stem} ({arm[0].provenance.policy})", str(len(arm)), f"{100 * found.estimate:.1f} %",
            f"{100 * found.lower:.1f} to {100 * found.upper:.1f} %",
        )  # fmt: skip
    console = Results()
    console.print(results)
    compared = compare_arms(*tables)
    difference = compared.difference
    console.print(
        f"B less A: {100 * difference.estimate:+.1f} points, 95 % interval {100 * difference.lower:+.1f} to "
        f"{100 * difference.upper:+.1f} (paired bootstrap over scenes"
        f"{' and training seeds' if max(map(len, arms)) > 1 else ''})\n"
        f"scenes: both {compared.both}, A alone {compared.only_a}, B alone {compared.only_b}, neither "
        f"{compared.neither}; exact McNemar p = {compared.p_value:.3g}; evidence against no difference "
        f"{compared.e_value:.3g} (20 and more: a difference at 5 %, even if episodes are added until it shows)",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _read(path: Path) -> list[Outcomes]:
    from hpt_ros.evaluation.outcomes import read_outcomes

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise HptError(
            Code.MISSING, f"the folder {str(path)!r}", problem="has no *.parquet file",
            remedy=f"'hpt eval --out {path}/1.parquet' writes one",
        )  # fmt: skip
    return [read_outcomes(file) for file in files]


def _common_seeds(arms: list[list[Outcomes]], names: list[str]) -> list[int]:
    first = arms[0][0].provenance
    for arm, name in zip(arms, names, strict=True):
        for outcomes in arm:
            if not outcomes.provenance.scenes_as(first):
                raise HptError(
                    Code.MISMATCH, repr(name), _scenes(outcomes),
                    problem="has outcomes of {value}, so its scenes differ",
                    expected=f"{_scenes(arms[0][0])}, as {names[0]!r} has",
                    remedy="evaluate both in the same environment",
                )  # fmt: skip
    seeds = sorted(
        set.intersection(*({episode.seed for episode in item.episodes} for arm in arms for item in arm))
    )
    if not seeds:
        raise HptError(
            Code.MISMATCH, f"{names[0]!r} and {names[1]!r}", problem="have no scene in common",
            remedy="evaluate both with the same --seed and --episodes",
        )  # fmt: skip
    return seeds


def _scenes(outcomes: Outcomes) -> str:
    about = outcomes.provenance
    environment = f"{about.environment} {about.environment_version}"
    return (
        f"{environment} with MuJoCo {about.mujoco_version}, {about.time_limit_s:g} s an episode and the variation "
        f"{about.variation!r}"
    )
