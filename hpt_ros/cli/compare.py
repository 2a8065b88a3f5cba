# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt compare`: whether one policy is better than another, from two evaluations on the same scenes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation import CONFIDENCE

if TYPE_CHECKING:
    from hpt_ros.evaluation.arms import Comparison
    from hpt_ros.evaluation.comparison_page import Shown
    from hpt_ros.evaluation.evaluate import Job
    from hpt_ros.evaluation.outcomes import Provenance

VIDEOS = 3  # scenes, by default


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    for name in ("a", "b"):
        parser.add_argument(
            name,
            type=Path,
            metavar=name.upper(),
            help="file of 'hpt eval --out', or a folder of them: one file for each environment and training seed",
        )
    add_page_arguments(parser)
    parser.add_argument(
        "--confidence",
        type=float,
        default=CONFIDENCE,
        metavar="RATIO",
        help="of the intervals; where outcomes are looked at K times while training seeds are added, 1 less 0.05 over "
        f"K keeps the error at 5 %% (default: {CONFIDENCE:g})",
    )
    parser.add_argument(
        "--policies",
        nargs=2,
        metavar=("A", "B"),
        help="checkpoints of both arms, for the videos; left out: by the names that the files have",
    )


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `hpt eval` and `hpt compare` have in common."""
    parser.add_argument(
        "--html", type=Path, metavar="PAGE.html", help="also write a page; replaced if it is there"
    )
    parser.add_argument(
        "--videos",
        type=int,
        default=VIDEOS,
        metavar="N",
        help=f"on the page, run this many scenes again and show them (default: {VIDEOS})",
    )


def check_page_arguments(args: argparse.Namespace) -> None:
    """Refuse --html and --videos that cannot be.

    Raises:
        HptError: another ending, or a negative number.
    """
    from hpt_ros.cli.output import make_parent
    from hpt_ros.report.page import require_html

    if args.videos < 0:
        raise HptError(Code.OUT_OF_RANGE, "--videos", args.videos, expected="at least 0")
    if args.html is not None:
        require_html("--html", args.html)
        make_parent(args.html)


def run(args: argparse.Namespace) -> int:
    """Print both arms' success, and the paired difference with its interval; returns 0."""
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.evaluation.arms import compare, read_arm
    from hpt_ros.evaluation.comparison_page import comparison_page
    from hpt_ros.report.page import write_page

    check_page_arguments(args)
    comparison = compare(read_arm(args.a), read_arm(args.b), args.confidence)
    _print(args, comparison)
    if args.html is not None:
        with Terminal() as terminal:
            shown = _videos(args, comparison, terminal) if args.videos else []
        write_page(args.html, comparison_page(comparison, shown))
        print(f"page: {args.html}")
    return 0


def _print(args: argparse.Namespace, comparison: Comparison) -> None:
    from rich import box
    from rich.table import Table

    from hpt_ros.cli.terminal import Results

    console = Results(highlight=False, soft_wrap=True)
    for row in comparison.rows:
        results = Table(title=f"{row.paired.scenes} scenes of {row.name}", box=box.SIMPLE_HEAD)
        for column in ("arm", "training seeds", "success", comparison.interval):
            results.add_column(column)
        for arm, found in zip(comparison.arms, row.success, strict=True):
            results.add_row(
                arm.name, str(max(len(arm.runs[name]) for name in row.environments)), f"{100 * found.estimate:.1f} %",
                f"{100 * found.lower:.1f} to {100 * found.upper:.1f} %",
            )  # fmt: skip
        console.print(results)
        paired, difference = row.paired, row.paired.difference
        several = max(arm.training_seeds for arm in comparison.arms) > 1
        console.print(
            f"B less A: {100 * difference.estimate:+.1f} points, {comparison.interval} "
            f"{100 * difference.lower:+.1f} to {100 * difference.upper:+.1f} (paired bootstrap over scenes"
            f"{' and training seeds' if several else ''})\n"
            f"scenes: both {paired.both}, A alone {paired.only_a}, B alone {paired.only_b}, neither "
            f"{paired.neither}; exact McNemar p = {paired.p_value:.3g}; evidence against no difference "
            f"{paired.e_value:.3g} (20 and more: a difference at 5 %, even if episodes are added until it shows"
            f"{', between these runs; other training seeds are in the interval alone' if several else ''})",
            highlight=False,
            soft_wrap=True,
        )


def _videos(args: argparse.Namespace, comparison: Comparison, terminal: object) -> list[Shown]:
    """Run scenes again with both arms: first those that one of them solves alone, then others."""
    from hpt_ros.evaluation.comparison_page import Shown
    from hpt_ros.evaluation.videos import record_scenes

    found = []
    for environment, seeds in comparison.seeds.items():
        runs = [arm.runs[environment][0] for arm in comparison.arms]
        tables = [{episode.seed: episode for episode in item.episodes} for item in runs]
        chosen = choose_scenes(
            [[table[seed].success for seed in seeds] for table in tables], seeds, args.videos
        )
        videos = []
        for index, item in enumerate(runs):
            terminal.say(f"running {len(chosen)} scenes of {environment} again, arm {'AB'[index]}")  # type: ignore[attr-defined]
            job = job_again(args.policies[index] if args.policies else None, item.provenance, "AB"[index])
            videos.append(record_scenes(job, chosen))
        found += [
            Shown(
                environment,
                seed,
                tuple(
                    (f"{letter}: {arm.name}", table[seed], own[seed])
                    for letter, arm, table, own in zip("AB", comparison.arms, tables, videos, strict=True)
                ),
            )
            for seed in chosen
        ]
    return found


def choose_scenes(won: list[list[bool]], seeds: tuple[int, ...], most: int) -> list[int]:
    """Return scenes that are worth seeing: of each pattern of successes in turn, those that differ first.

    Args:
        won: of each arm, whether it succeeded in each scene.
        seeds: of the scenes.
        most: how many.
    """
    patterns: dict[tuple[bool, ...], list[int]] = {}
    for index, seed in enumerate(seeds):
        patterns.setdefault(tuple(arm[index] for arm in won), []).append(seed)
    ordered = sorted(patterns.items(), key=lambda item: (len(set(item[0])) == 1, item[0]))
    found: list[int] = []
    while len(found) < min(most, len(seeds)):
        for _, inside in ordered:
            if inside and len(found) < most:
                found.append(inside.pop(0))
    return found


def job_again(policy: str | None, about: Provenance, arm: str) -> Job:
    """Return what runs an evaluation's scenes again.

    Args:
        policy: checkpoint; None: the name that the file has.
        about: what the outcomes were made by.
        arm: its letter, for errors.

    Raises:
        HptError: the policy is not found, or is another one.
    """
    from hpt_ros.cli.eval import policy_of
    from hpt_ros.evaluation.evaluate import Job
    from hpt_ros.evaluation.outcomes import LOCK_STEP
    from hpt_ros.evaluation.rollout import RolloutConfig
    from hpt_ros.sim.transport import Transport, transports_of
    from hpt_ros.sim.variation import STANDARD, with_settings

    try:
        found = policy_of(policy or about.policy)
    except HptError as error:
        if policy is not None:
            raise
        raise HptError(
            Code.NOT_FOUND, f"the policy of arm {arm}", about.policy,
            problem="is {value}, a name that is not known here",
            remedy="name both checkpoints with --policies, or leave the videos out with --videos 0",
        ) from error  # fmt: skip
    if found.sha256 != about.checkpoint_sha256:
        raise HptError(
            Code.MISMATCH, f"the policy of arm {arm}", found.sha256[:12] or "none",
            problem="has weights of SHA-256 {value}",
            expected=f"{about.checkpoint_sha256[:12] or 'none'}, as the outcomes say",
            remedy="name the checkpoint that was evaluated with --policies, or leave the videos out with --videos 0",
        )  # fmt: skip
    if about.clock != LOCK_STEP:
        raise HptError(
            Code.UNSUPPORTED, f"the evaluation of arm {arm}", about.clock,
            problem="ran on the clock {value}, on which nothing is the same twice",
            remedy="leave the videos out with --videos 0",
        )  # fmt: skip
    return Job(
        about.environment,
        found.choice,
        found.runner,
        Transport(about.image_delay_s, about.image_jitter_s, about.image_lost),
        variation=with_settings(
            STANDARD, [] if about.variation == str(STANDARD) else about.variation.split()
        ),
        transports=transports_of(about.transports.split()),
        config=RolloutConfig(inference_s=about.inference_s, time_limit_s=about.time_limit_s),
    )
