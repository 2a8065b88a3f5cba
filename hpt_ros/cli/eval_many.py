# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt eval` of several environments: each as by itself, and a row for each at the end."""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from rich.table import Table

    from hpt_ros.evaluation.outcomes import Outcomes


def run_each(
    args: argparse.Namespace,
    names: Sequence[str],
    run_one: Callable[[argparse.Namespace], Outcomes],
    write_page: Callable[[argparse.Namespace, Sequence[tuple[argparse.Namespace, Outcomes]]], None],
) -> int:
    """Evaluate in each environment, print one table, and write one page if it is wanted; returns 0.

    Args:
        args: of the verb; `out` is a folder, which gets a file of outcomes for each environment.
        names: of the environments.
        run_one: evaluates in `args.env` alone, writes its outcomes to `args.out` and returns them.
        write_page: writes a page of all.

    Raises:
        HptError: `out` is a file.
    """
    from hpt_ros.cli.output import make_folder
    from hpt_ros.cli.terminal import ResultConsole, Terminal

    with contextlib.ExitStack() as stack:
        if args.out is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = args.out
            if folder.is_file():
                raise HptError(
                    Code.INVALID, "--out", str(folder), problem="is {value}, which is a file",
                    expected="a folder, for a file of outcomes for each environment", remedy="give another place",
                )  # fmt: skip
            make_folder(folder, folder)
        found = []
        for name in names:
            Terminal().say(name)
            one = argparse.Namespace(**vars(args))
            one.env, one.out = name, folder / f"{name.replace('/', '.')}.parquet"
            with contextlib.redirect_stdout(io.StringIO()):  # its own table
                found.append((one, run_one(one)))
        seeds = range(args.seed, args.seed + args.episodes)
        ResultConsole().print(_summary([outcomes for _, outcomes in found], seeds))
        if args.html is not None:
            write_page(args, found)
    return 0


def _summary(found: Sequence[Outcomes], seeds: range) -> Table:
    import numpy as np
    from rich import box
    from rich.table import Table

    from hpt_ros.evaluation.statistics import success_interval

    about = found[0].provenance
    title = f"{about.policy}, scenes {seeds[0]} to {seeds[-1]}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("environment", no_wrap=True)
    for column in ("success", "% (95 % interval)", "time", "late"):
        table.add_column(column, justify="right", no_wrap=True)

    def row(name: str, successes: int, episodes: int, time: str, late: str) -> None:
        found = success_interval(successes, episodes)
        ratio = f"{100 * found.estimate:.1f} ({100 * found.lower:.1f} to {100 * found.upper:.1f})"
        table.add_row(name, f"{successes} of {episodes}", ratio, time, late)

    total = 0
    for outcomes in found:
        episodes = outcomes.episodes
        solved = [episode.duration_s for episode in episodes if episode.success]
        total += len(solved)
        time = f"{np.median(solved):.1f} s" if solved else "-"
        late = "-" if outcomes.late_actions is None else f"{outcomes.late_actions:.1f}"
        row(outcomes.provenance.environment, len(solved), len(episodes), time, late)
    table.add_section()
    row("all", total, len(seeds) * len(found), "", "")
    table.caption = "time: to success, median; late: actions of a chunk that come late, mean"
    return table
