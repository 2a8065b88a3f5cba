# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt demo`: the simulated robot feeds the dog, over real ROS 2 middleware, and the figures are printed."""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_ros.cli.output import make_folder
from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from hpt_ros.cli.terminal import Results
    from hpt_ros.nodes.sim.demo import DemoSettings


# Seconds of wall time on two cores, from the runs in docs/demo.md; only for the sentence before the start.
EPISODE_S = 11.0
DEMONSTRATION_S = 5.0
ITERATION_S = 0.15

# Simulated seconds per wall second, at most. Faster than this, pictures come later in simulated time than they do while
# the policy plays, since simulated time does not wait for the middleware.
RECORDING_SPEED = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--episodes", type=int, default=10, metavar="N", help="of each policy")
    parser.add_argument(
        "checkpoint", nargs="?", default="feed_dog", metavar="CHECKPOINT", help="folder, or a shipped name"
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
        "--recipe", metavar="FILE", help="with --full: training recipe, or a shipped name (default: feed_dog)"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="with --full: instead of the recipe's")


def run(args: argparse.Namespace) -> int:
    """Play, and with ``--full`` make the checkpoint first."""
    # ROS, torch and MuJoCo take seconds to import; `hpt --help` should not.
    from hpt_ros.cli.terminal import Results
    from hpt_ros.nodes.sim.demo import DemoSettings

    console = Results()
    settings = DemoSettings(args.episodes, args.checkpoint, args.seed, not args.no_baselines)
    if args.full:
        settings = replace(settings, checkpoint=str(_make_checkpoint(args, console)))
    _evaluate(settings, args.out, console)
    return 0


def _make_checkpoint(args: argparse.Namespace, console: Results) -> Path:
    """Record, convert and finetune into ``--out``; returns the checkpoint's folder."""
    from hpt_ros.cli.main import main as hpt
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.learning import load_recipe
    from hpt_ros.nodes.sim.demo import record_demonstrations
    from hpt_ros.resources import config_file, config_path

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
    recipe_path = str(config_path("recipes", args.recipe or "feed_dog"))
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
    with Terminal() as terminal:
        done = itertools.count(1)
        terminal.bar("recording demonstrations", 0, args.demonstrations)

        def recorded(_: str, result: Any) -> None:
            if result.success:
                terminal.bar("recording demonstrations", next(done), args.demonstrations)

        record_demonstrations(args.demonstrations, bags, real_time_factor=RECORDING_SPEED, report=recorded)
    embodiment = str(config_file("embodiments/feed_dog.yaml"))
    for verb in (
        ["convert", str(bags), "--embodiment", embodiment, "--out", str(dataset), "--workers", "2"],
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


def _evaluate(settings: DemoSettings, out: Path, console: Results) -> None:
    from hpt_ros.cli import demo_report
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.nodes.sim.demo import evaluate
    from hpt_ros.resources import checkpoint_folder, embodiment_file

    folder = checkpoint_folder(settings.checkpoint)
    make_folder(out, out)
    robot = Embodiment.load(embodiment_file(folder))
    policies = 3 if settings.baselines else 1
    started_s = time.monotonic()
    with Terminal() as terminal:
        done, total = itertools.count(1), policies * settings.episodes
        terminal.bar("running episodes", 0, total)
        results, trace = evaluate(
            settings, lambda policy, _: terminal.bar("running episodes", next(done), total, policy)
        )
    table = demo_report.results_table(results)
    console.print(table)
    about = {
        "checkpoint": settings.checkpoint,
        "first_seed": settings.first_seed,
        "wall_s": round(time.monotonic() - started_s, 1),
    }
    demo_report.write_json(out / "results.json", results, about)
    written = [out / "results.json"]
    if trace is not None and trace.result is not None and trace.commands_rad:
        how = "fed" if trace.success else "not fed"
        demo_report.write_plot(
            out / "episode.png", robot, trace, f"scene {trace.result.seed}: the dog was {how}"
        )
        written.append(out / "episode.png")
        if trace.pictures:
            demo_report.write_video(out / "episode.mp4", trace.pictures)
            written.append(out / "episode.mp4")
    console.print(f"saved: {', '.join(str(path) for path in written)}", highlight=False)
