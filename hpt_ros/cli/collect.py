# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt collect`: demonstrations of simulated environments, as bags as a robot's recorder writes them or a dataset."""

from __future__ import annotations

import argparse
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.cli.eval import add_variation
from hpt_ros.devices import usable_cores
from hpt_ros.errors import Code, HptError, counted
from hpt_ros.resources import DEMO
from hpt_ros.sim.demonstrations import FIRST_DEMONSTRATION_SEED, MOST_DISTURBANCE_RAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpt_ros.cli.collection import Collection
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.evaluation.conditions import Contender


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "env", nargs="+", metavar="ENV", help=f"environment, or a set of them, e.g. {DEMO} or metaworld/hpt4"
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR", help="for the bags, one an episode")
    target.add_argument(
        "--dataset",
        type=Path,
        metavar="DIR",
        help="for a LeRobot dataset of the successes in place of the bags",
    )
    parser.add_argument(
        "--policy",
        default="expert",
        metavar="POLICY",
        help="who demonstrates: expert, or a checkpoint (default: expert)",
    )
    parser.add_argument(
        "-n",
        "--episodes",
        type=int,
        default=50,
        metavar="N",
        help="successful ones of each environment (default: 50)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=FIRST_DEMONSTRATION_SEED,
        metavar="N",
        help=f"of the first scene (default: {FIRST_DEMONSTRATION_SEED})",
    )
    parser.add_argument(
        "--disturbance-rad",
        type=float,
        default=0.0,
        metavar="RAD",
        help="standard deviation of smooth offsets between commanded and executed joint targets, so that recoveries "
        "are in the data (default: 0)",
    )
    add_variation(parser)
    parser.add_argument("--time-limit-s", type=float, metavar="S", help="instead of the environment's")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes (default: one for each core)"
    )


def run(args: argparse.Namespace) -> int:
    """Record until enough episodes succeeded, and make a dataset of them if one is wanted; returns 0."""
    from hpt_ros.cli.collection import Collection
    from hpt_ros.cli.eval import check_counts, policy_of
    from hpt_ros.cli.terminal import Results, Terminal
    from hpt_ros.sim.environment_sets import environments_of

    check_counts(args)
    if not 0.0 <= args.disturbance_rad <= MOST_DISTURBANCE_RAD:
        raise HptError(
            Code.OUT_OF_RANGE, "--disturbance-rad", args.disturbance_rad,
            expected=f"0 to {MOST_DISTURBANCE_RAD:g} rad",
        )  # fmt: skip
    names = environments_of(args.env)
    arm = policy_of(args.policy)
    if args.dataset is not None and os.path.lexists(args.dataset):
        raise HptError(
            Code.EXISTS, "--dataset", str(args.dataset), problem="is {value}, which exists already",
            remedy="give another place",
        )  # fmt: skip
    folder = args.out or args.dataset.with_name(f".{args.dataset.name}.bags")
    collection = Collection(folder, _list_settings(args, names, arm))
    collection.begin()
    succeeded = failed = 0
    with Terminal() as terminal:
        for name in names:
            outcomes = _collect(args, name, arm, collection, terminal)
            succeeded, failed = succeeded + sum(outcomes), failed + len(outcomes) - sum(outcomes)
        if args.dataset is not None:
            _convert(folder, args, terminal)
    where = f"{counted(succeeded + failed, 'bag')} in {folder}" if args.out else f"dataset {args.dataset}"
    Results().print(
        f"{where}: {succeeded} successes, {failed} failures, which "
        + ("conversion leaves out" if args.out else "are left out"),
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _list_settings(args: argparse.Namespace, names: Sequence[str], arm: Contender) -> dict[str, str]:
    """Return what every demonstration depends on; how many there are may change.

    Raises:
        HptError: one dataset is to hold several robots.
    """
    from importlib.metadata import version

    from hpt_ros.cli.eval import variation_of
    from hpt_ros.sim.environment import make_environment

    versions, variations, robots = [], [], {}
    for name in names:
        variation = variation_of(args, name)
        environment = make_environment(name, disturbance_rad=args.disturbance_rad, variation=variation)
        variations.append(str(variation))
        versions.append(f"{name} {environment.version}")
        robots[environment.embodiment.name] = name
        environment.close()
    if args.dataset is not None and len(robots) > 1:
        raise HptError(
            Code.MISMATCH, "--dataset", ", ".join(sorted(robots)),
            problem="was asked for environments of the robots {value}", expected="one robot in a dataset",
            remedy=f"record {' and '.join(robots.values())} into a dataset each",
        )  # fmt: skip
    return {
        "environments": ", ".join(versions),
        "MuJoCo": version("mujoco"),
        "variation": ", ".join(variations),
        "policy": f"{arm.name} {arm.sha256}".strip(),
        "first seed": str(args.seed),
        "disturbance": f"{args.disturbance_rad:g} rad",
        "time limit": "the environment's" if args.time_limit_s is None else f"{args.time_limit_s:g} s",
    }


def _collect(
    args: argparse.Namespace, name: str, arm: Contender, collection: Collection, terminal: Terminal
) -> list[bool]:
    """Record one environment, or go on with it; returns the outcome of each of its bags."""
    from hpt_ros.cli.collection import open_seeds, record
    from hpt_ros.cli.eval import variation_of
    from hpt_ros.evaluation.evaluate import Job, evaluate
    from hpt_ros.evaluation.rollout import RolloutConfig

    # An inference of an expert takes no time; a checkpoint demonstrates at its best as well.
    config = RolloutConfig(inference_s=0.0, time_limit_s=args.time_limit_s)
    job = Job(
        name, arm.choice, arm.runner, variation=variation_of(args, name), config=config,
        disturbance_rad=args.disturbance_rad,
    )  # fmt: skip
    run_one = partial(record, folder=collection.folder, operator=arm.name)
    label, workers = f"recording {name}", args.workers or usable_cores()
    known = collection.recorded(name)
    if known:
        terminal.say(f"{len(known)} episodes of {name} are in {collection.folder} already")
    terminal.bar(label, min(sum(known.values()), args.episodes), args.episodes)
    while seeds := open_seeds(known, args.seed, args.episodes):
        for episode in evaluate(job, seeds, workers, run_one):
            known[episode.seed] = episode.success
            succeeded = sum(known.values())
            terminal.bar(
                label, min(succeeded, args.episodes), args.episodes, f"{len(known) - succeeded} failed"
            )
        if len(known) >= 10 and succeeded < len(known) // 2:
            raise HptError(
                Code.OUT_OF_RANGE, f"{arm.name} in {name}", succeeded,
                problem=f"succeeded in {{value}} of {len(known)} episodes", expected="at least half",
                remedy=f"'hpt eval {args.policy} --env {name}' shows why; the bags are in {str(collection.folder)!r}",
            )  # fmt: skip
    return list(known.values())


def _convert(folder: Path, args: argparse.Namespace, terminal: Terminal) -> None:
    """Make the dataset of the bags, and remove them; an interrupted conversion goes on as well."""
    from rosbag_tools.converting.convert import Options, convert

    def show(doing: str, note: str, done: float, total: float) -> None:
        terminal.bar(doing, round(done), max(round(total), 1), note)

    options = Options(workers=args.workers or usable_cores(), resume=True)
    convert([folder], args.dataset, None, options, show)
    shutil.rmtree(folder)
