# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt collect`: demonstrations of a simulated environment as bags, as a robot's recorder would write them."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.cli.eval import add_variation
from hpt_ros.errors import Code, HptError, counted
from hpt_ros.sim.demonstrations import FIRST_DEMONSTRATION_SEED, MOST_DISTURBANCE_RAD

if TYPE_CHECKING:
    from hpt_ros.evaluation.rollout import Episode, Runner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("env", metavar="ENV", help="environment, e.g. feed_dog")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the bags, one an episode")
    parser.add_argument(
        "--policy",
        default="expert",
        metavar="POLICY",
        help="who demonstrates: expert, or a checkpoint (default: expert)",
    )
    parser.add_argument(
        "-n", "--episodes", type=int, default=50, metavar="N", help="successful ones (default: 50)"
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
    """Record until enough episodes succeeded; returns 0."""
    from hpt_ros.cli.eval import check_counts, policy_of, variation_of
    from hpt_ros.cli.output import make_folder
    from hpt_ros.cli.terminal import Results, Terminal
    from hpt_ros.evaluation.evaluate import Job, evaluate
    from hpt_ros.evaluation.rollout import RolloutConfig

    check_counts(args)
    if not 0.0 <= args.disturbance_rad <= MOST_DISTURBANCE_RAD:
        raise HptError(
            Code.OUT_OF_RANGE, "--disturbance-rad", args.disturbance_rad,
            expected=f"0 to {MOST_DISTURBANCE_RAD:g} rad",
        )  # fmt: skip
    if args.out.is_dir() and any(args.out.iterdir()):
        raise HptError(
            Code.EXISTS, "--out", str(args.out), problem="is {value}, which holds something already",
            remedy="give an empty folder",
        )  # fmt: skip
    variation = variation_of(args)  # and the environment, before a folder is made
    arm = policy_of(args.policy)
    # An inference of an expert takes no time; a checkpoint demonstrates at its best as well.
    config = RolloutConfig(inference_s=0.0, time_limit_s=args.time_limit_s)
    job = Job(
        args.env, arm.choice, arm.expert, variation=variation, config=config,
        disturbance_rad=args.disturbance_rad,
    )  # fmt: skip
    make_folder(args.out, args.out)
    workers = args.workers or os.cpu_count() or 1
    record = partial(_record, out=args.out, operator=arm.name)
    succeeded = recorded = 0
    with Terminal() as terminal:
        terminal.bar("recording episodes", 0, args.episodes)
        while succeeded < args.episodes:
            first = args.seed + recorded
            for episode in evaluate(job, range(first, first + args.episodes - succeeded), workers, record):
                recorded += 1
                succeeded += episode.success
                terminal.bar("recording episodes", succeeded, args.episodes, f"{recorded - succeeded} failed")
            if recorded >= 10 and succeeded < recorded // 2:
                raise HptError(
                    Code.OUT_OF_RANGE, f"{arm.name} in {args.env}", succeeded,
                    problem=f"succeeded in {{value}} of {recorded} episodes", expected="at least half",
                    remedy=f"'hpt eval {args.policy} --env {args.env}' shows why; the bags are in {str(args.out)!r}",
                )  # fmt: skip
    Results().print(
        f"{counted(recorded, 'bag')} in {args.out}: {succeeded} successes, {recorded - succeeded} failures, which "
        "conversion leaves out",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _record(runner: Runner, seed: int, *, out: Path, operator: str) -> Episode:
    from rosbag_tools import bag_schema
    from rosbag_tools.recording.topic_log import TopicLog

    log = TopicLog(runner.robot)
    episode = runner.episode(seed, tap=log)
    name = f"{runner.environment.name}_{seed:08d}"
    metadata = {
        bag_schema.KEY_EPISODE: name,
        bag_schema.KEY_TASK: runner.environment.instruction,
        bag_schema.KEY_OPERATOR: operator,
        bag_schema.KEY_OUTCOME: "success" if episode.success else "failure",
        bag_schema.KEY_NOTE: episode.fault or episode.detail,
    }
    log.write(out, name, metadata)
    return episode
