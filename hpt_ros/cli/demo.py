# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt demo`: `hpt eval --ros` of the shipped checkpoint that feeds the dog, beside two baselines; a video, a plot."""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.cli.output import make_folder
from hpt_ros.errors import Code, HptError
from hpt_ros.resources import DEMO
from hpt_ros.sim.demonstrations import FIRST_DEMONSTRATION_SEED

if TYPE_CHECKING:
    from hpt_ros.cli.terminal import Results
    from hpt_ros.evaluation.evaluate import Job
    from hpt_ros.evaluation.outcomes import Provenance
    from hpt_ros.nodes.sim.episode_recorder import EpisodeTrace

BASELINES = {"do nothing": "hold", "random": "random"}

# Seconds of wall time on two cores, from the runs in docs/demo.md; only for the sentence before the start.
EPISODE_S = 11.0
DEMONSTRATION_S = 3.0
ITERATION_S = 0.15
# Offsets between commanded and executed targets while demonstrating, so that recoveries are in the data.
DISTURBANCE_RAD = 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--episodes", type=int, default=10, metavar="N", help="of each policy")
    parser.add_argument(
        "checkpoint", nargs="?", default=DEMO, metavar="CHECKPOINT", help="folder, or a shipped name"
    )
    parser.add_argument("--out", type=Path, default=Path("hpt_demo"), metavar="DIR", help="for results")
    parser.add_argument(
        "--seed",
        type=int,
        default=1000,
        metavar="N",
        help="of the first scene",
    )
    parser.add_argument("--no-baselines", action="store_true", help="run only the trained policy")
    parser.add_argument(
        "--full",
        action="store_true",
        help="record demonstrations, convert and finetune first, into DIR, then run what comes out",
    )
    parser.add_argument(
        "--demonstrations",
        type=int,
        default=100,
        metavar="N",
        help="with --full: to record",
    )
    parser.add_argument(
        "--recipe", metavar="FILE", help=f"with --full: training recipe, or a shipped name (default: {DEMO})"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="with --full: instead of the recipe's")


def run(args: argparse.Namespace) -> int:
    """Play, and with ``--full`` make the checkpoint first."""
    # ROS, torch and MuJoCo take seconds to import; `hpt --help` should not.
    from hpt_ros.cli.terminal import Results

    if args.episodes < 1:
        raise HptError(
            Code.WRONG_SHAPE, "the number of episodes", args.episodes, expected="at least 1",
            remedy="ask for more",
        )  # fmt: skip
    if not 0 <= args.seed < FIRST_DEMONSTRATION_SEED - args.episodes:
        raise HptError(
            Code.INVALID, "the first seed",
            problem=f"is {args.seed}, but 0 to {FIRST_DEMONSTRATION_SEED - args.episodes - 1} was "
            "expected (higher ones are the scenes of demonstrations)", remedy="choose one of these",
        )  # fmt: skip
    console = Results()
    checkpoint = str(_make_checkpoint(args, console)) if args.full else args.checkpoint
    _evaluate(args, checkpoint, console)
    return 0


def _make_checkpoint(args: argparse.Namespace, console: Results) -> Path:
    """Record, convert and finetune into ``--out``; returns the checkpoint's folder."""
    from hpt_ros.cli.main import main as hpt
    from hpt_ros.learning import load_recipe
    from hpt_ros.resources import config_path

    if args.demonstrations < 2:
        raise HptError(
            Code.WRONG_SHAPE, "the number of demonstrations",
            problem=f"is {args.demonstrations}, but at least 2 was expected (one to train on, one to validate)",
            remedy="ask for more",
        )  # fmt: skip
    out: Path = args.out
    bags, dataset, training = out / "bags", out / "dataset", out / "run"
    for folder in (bags, dataset, training):
        if folder.exists():
            raise HptError(
                Code.EXISTS, repr(str(folder)), problem="exists already, from an earlier --full",
                remedy="remove it or give another --out",
            )  # fmt: skip
    recipe_path = str(config_path("recipes", args.recipe or DEMO))
    iterations = args.iterations or load_recipe(recipe_path, (), iterations=None, batch_size=None).iterations
    make_folder(out, out)
    policies = 1 if args.no_baselines else 3
    minutes = [
        args.demonstrations * DEMONSTRATION_S / 60,
        iterations * ITERATION_S / 60,
        policies * args.episodes * EPISODE_S / 60,
    ]
    console.print(
        f"on two cores this takes about {sum(minutes) + 1:.0f} minutes: {minutes[0]:.0f} to record "
        f"{args.demonstrations} demonstrations, 1 to convert them, {minutes[1]:.0f} to train {iterations} steps, "
        f"{minutes[2]:.0f} to run {policies * args.episodes} episodes"
    )
    for verb in (
        [
            "collect",
            DEMO,
            "-n",
            str(args.demonstrations),
            "--disturbance-rad",
            str(DISTURBANCE_RAD),
            "--out",
            str(bags),
        ],
        ["convert", str(bags), "--out", str(dataset), "--workers", "2"],
        ["finetune", str(dataset), "--out", str(training), "--recipe", recipe_path]
        + (["--iterations", str(args.iterations)] if args.iterations else []),
    ):
        console.print(f"[bold]hpt {' '.join(verb)}[/bold]", highlight=False)
        status = hpt(verb)
        if status == 130:
            raise KeyboardInterrupt
        if status != 0:
            raise HptError(
                Code.OUT_OF_RANGE, f"'hpt {verb[0]}'", problem=f"ended with status {status}, see above",
                remedy="correct it and start again",
            )  # fmt: skip
    return training / "best"


def _evaluate(args: argparse.Namespace, checkpoint: str, console: Results) -> None:
    from hpt_ros.cli import demo_report
    from hpt_ros.cli.interruption import interrupt_on_signals
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.evaluation.outcomes import Outcomes, write_outcomes
    from hpt_ros.nodes.sim.episode_recorder import EpisodeRecorder
    from hpt_ros.nodes.sim.graph_evaluation import Graph, PolicyArm

    arms = {"trained": checkpoint} | ({} if args.no_baselines else BASELINES)
    jobs = {name: _as_evaluated(policy) for name, policy in arms.items()}
    make_folder(args.out, args.out)
    seeds = range(args.seed, args.seed + args.episodes)
    results: list[demo_report.ArmResult] = []
    trace: EpisodeTrace | None = None
    started_s, done = time.monotonic(), itertools.count(1)
    with interrupt_on_signals(), Terminal() as terminal:
        terminal.bar("running episodes", 0, len(jobs) * len(seeds))
        with Graph(jobs["trained"][0]) as graph:
            robot = graph.robot
            recorder: EpisodeRecorder = graph.composition.add(
                EpisodeRecorder(robot, context=graph.composition.context)
            )
            for name, (job, provenance) in jobs.items():
                episodes = []
                with graph.arm(job) as arm:
                    for seed in seeds:
                        # Frames of the video are rendered only until one episode of the policy went well.
                        watching = name == "trained" and (trace is None or not trace.success)
                        if watching:
                            recorder.start()
                        episodes.append(arm.episode(seed))
                        if watching:
                            trace = recorder.stop(episodes[-1])
                            if trace.success and len(episodes) < len(seeds) and isinstance(arm, PolicyArm):
                                arm.clear_samples()  # drawing the video slowed this episode's timings down
                        terminal.bar("running episodes", next(done), len(jobs) * len(seeds), name)
                    results.append(demo_report.ArmResult(name, tuple(episodes), arm.samples_s()))
                write_outcomes(
                    args.out / f"{name.replace(' ', '_')}.parquet", Outcomes(provenance, tuple(episodes))
                )
    console.print(demo_report.results_table(results))
    about = {
        "checkpoint": checkpoint,
        "first_seed": args.seed,
        "wall_s": round(time.monotonic() - started_s, 1),
    }
    demo_report.write_json(args.out / "results.json", results, about)
    written = [
        args.out / "results.json",
        *(args.out / f"{result.policy.replace(' ', '_')}.parquet" for result in results),
    ]
    if trace is not None and trace.result is not None and trace.commands_rad:
        how = "fed" if trace.success else "not fed"
        demo_report.write_plot(
            args.out / "episode.png", robot, trace, f"scene {trace.result.seed}: the dog was {how}"
        )
        written.append(args.out / "episode.png")
        if trace.pictures:
            demo_report.write_video(args.out / "episode.mp4", trace.pictures)
            written.append(args.out / "episode.mp4")
    console.print(f"saved: {', '.join(str(path) for path in written)}", highlight=False)


def _as_evaluated(policy: str) -> tuple[Job, Provenance]:
    """What `hpt eval POLICY --ros` runs."""
    from hpt_ros.cli import eval as evaluation

    parser = argparse.ArgumentParser()
    evaluation.add_arguments(parser)
    return evaluation.job_of(parser.parse_args(["--ros", "--", policy]), DEMO)
