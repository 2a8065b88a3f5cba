# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt eval`: how often a policy succeeds in an environment, in lock step, or over the ROS graph in real time."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.cli.cluster import add_ray, check_ray
from hpt_ros.cli.compare import add_page_arguments, check_page_arguments
from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP, choose_device, usable_cores
from hpt_ros.errors import Code, HptError, format_count
from hpt_ros.evaluation import INFERENCE_S
from hpt_ros.resources import DEMO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from hpt_ros.cli.timings import Samples
    from hpt_ros.evaluation.comparison_page import Shown
    from hpt_ros.evaluation.conditions import Contender
    from hpt_ros.evaluation.evaluate import Job
    from hpt_ros.evaluation.outcomes import Outcomes, Provenance
    from hpt_ros.evaluation.rollout import EpisodeResult
    from hpt_ros.sim.variation import Variation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "policy",
        metavar="POLICY",
        help="checkpoint folder, the name of a shipped one, or an arm for any robot: hold, random, expert, replay (the "
        "expert's demonstration of each scene), replay:SEED (that of one scene, in all)",
    )
    parser.add_argument(
        "--env",
        nargs="+",
        action="extend",
        metavar="NAME",
        help=f"environments, or sets of them such as metaworld/hpt4 (default: {DEMO})",
    )
    parser.add_argument("--episodes", type=int, default=100, metavar="N", help="scenes (default: 100)")
    parser.add_argument(
        "--seed", type=int, default=1000, metavar="N", help="of the first scene (default: 1000)"
    )
    parser.add_argument(
        "--ros",
        action="store_true",
        help="over the ROS graph in real time: the policy node, the simulator node and real middleware between",
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes (default: one for each core)"
    )
    add_ray(parser, "scenes")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="parquet file of outcomes, of several environments a folder of those; an evaluation begun there goes on",
    )
    parser.add_argument(
        "--inference-s",
        type=float,
        metavar="S",
        help=f"time of an inference on the environment's clock (default: {INFERENCE_S})",
    )
    for name, metavar, text in (
        ("delay-s", "S", "shortest time from a camera's exposure to the image's arrival"),
        ("jitter-s", "S", "mean of a random time on top, drawn for each image"),
        ("lost", "RATIO", "of all images that never arrive"),
    ):
        parser.add_argument(
            f"--image-{name}", type=float, default=0.0, metavar=metavar, help=f"{text} (default: 0)"
        )
    add_variation(parser)
    parser.add_argument(
        "--transport",
        action="append",
        default=[],
        metavar="STREAM.KEY=VALUE",
        help="what happens to one stream's messages: delay_s, jitter_s or lost of it, e.g. wrist.lost=0.1; may be "
        "repeated",
    )
    parser.add_argument("--time-limit-s", type=float, metavar="S", help="instead of the environment's")
    add_page_arguments(parser)
    parser.add_argument("--device", default=DEFAULT_DEVICE, help=DEVICE_HELP)


def add_variation(parser: argparse.ArgumentParser) -> None:
    """Declare how far scenes differ."""
    parser.add_argument(
        "--difficulty",
        default="standard",
        metavar="LEVEL",
        help="how far scenes differ: standard, varied, hard or extreme, or 0 to 3 (default: standard)",
    )
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one thing of the difficulty, e.g. camera_shift_m=0.03; may be repeated (docs/simulation.md)",
    )


def variation_of(args: argparse.Namespace, name: str) -> Variation:
    """Return how far scenes of an environment differ.

    Raises:
        HptError: there is no such level or thing, or a value cannot be.
    """
    from hpt_ros.evaluation.conditions import variation_of as found

    return found(name, args.difficulty, tuple(args.vary))


def run(args: argparse.Namespace) -> int:
    """Evaluate in one environment or several; returns 0."""
    from hpt_ros.cli.eval_many import run_each
    from hpt_ros.cli.output import note_unfinished
    from hpt_ros.sim.environment_sets import environments_of

    check_page_arguments(args)
    note_unfinished(args.policy)
    names = environments_of(args.env or [DEMO])
    args.env = names[0]
    if len(names) > 1:
        return run_each(args, names, run_one, write_page)
    outcomes = run_one(args)
    if args.html is not None:
        write_page(args, [(args, outcomes)])
    return 0


def run_one(args: argparse.Namespace) -> Outcomes:
    """Run the episodes of one environment, print the success ratio with its interval, and return the outcomes."""
    from hpt_ros.cli.interruption import interrupt_on_signals
    from hpt_ros.cli.output import make_parent
    from hpt_ros.cli.terminal import ResultConsole, Terminal
    from hpt_ros.evaluation.outcomes import Outcomes
    from hpt_ros.evaluation.scenes import run_scenes

    check_counts(args)
    job, provenance = job_of(args, args.env)
    device = choose_device(args.device) if provenance.checkpoint_sha256 else None
    seeds = range(args.seed, args.seed + args.episodes)
    if args.out is not None:
        make_parent(args.out)
    timings: dict[str, NDArray[np.float64]] = {}
    ran: list[EpisodeResult] = []

    def run_left(left: Sequence[int]) -> Generator[EpisodeResult, None, None]:
        return _episodes(args, job, left, timings)

    with interrupt_on_signals(), Terminal() as terminal:
        if device:
            terminal.say(str(device))
        with closing(run_scenes(seeds, run_left, provenance, args.out)) as scenes:
            for number, ran in enumerate(scenes):
                if number == 0 and ran:
                    terminal.say(f"{len(ran)} of {len(seeds)} scenes are in {args.out} already")
                note = f"{sum(item.success for item in ran)} succeeded" if ran else ""
                terminal.bar("running episodes", len(ran), len(seeds), note)
    shown = Outcomes(provenance, tuple(ran))
    ResultConsole().print(_table(shown, timings))
    return shown


def write_page(args: argparse.Namespace, found: Sequence[tuple[argparse.Namespace, Outcomes]]) -> None:
    """Write the page.

    Args:
        args: of the verb.
        found: those of each environment, and its outcomes.
    """
    from hpt_ros.evaluation.arms import Arm as Files
    from hpt_ros.evaluation.comparison_page import evaluation_page
    from hpt_ros.report.page import write_page as write

    shown = [scene for one, outcomes in found for scene in _videos(one, outcomes)]
    runs = {outcomes.provenance.environment: (outcomes,) for _, outcomes in found}
    files = Files(args.out or Path(found[0][1].provenance.policy), runs)
    write(args.html, evaluation_page(files, shown))
    print(f"page: {args.html}")


def _videos(args: argparse.Namespace, outcomes: Outcomes) -> list[Shown]:
    """Run scenes of one environment again, successes and failures."""
    from hpt_ros.cli.compare import choose_scenes
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.evaluation.comparison_page import Shown
    from hpt_ros.evaluation.videos import record_scenes

    about = outcomes.provenance
    by_seed = {episode.seed: episode for episode in outcomes.episodes}
    won = [[episode.success for episode in outcomes.episodes]]
    # Over the graph nothing is the same twice, so a scene that is run again shows nothing.
    chosen = [] if args.ros else choose_scenes(won, tuple(by_seed), args.videos)
    with Terminal() as terminal:
        if chosen:
            terminal.say(f"running {len(chosen)} scenes of {about.environment} again for the page")
        videos = record_scenes(job_of(args, about.environment)[0], chosen) if chosen else {}
    return [Shown(about.environment, seed, ((about.policy, by_seed[seed], videos[seed]),)) for seed in chosen]


def _episodes(
    args: argparse.Namespace, job: Job, seeds: Sequence[int], timings: dict[str, NDArray[np.float64]]
) -> Generator[EpisodeResult, None, None]:
    """Yield the episodes as they are done; `timings` gets the policy node's own over the graph."""
    if args.ros:
        from hpt_ros.nodes.sim.graph_evaluation import Graph

        if not seeds:
            return
        with Graph(job) as graph, graph.arm(job) as arm:
            for seed in seeds:
                yield arm.episode(seed)
                timings.update(arm.samples_s())
    else:
        from hpt_ros.evaluation.evaluate import evaluate, evaluate_on_ray

        if args.ray and seeds:
            yield from evaluate_on_ray(job, seeds, args.ray)
        else:
            yield from evaluate(job, seeds, args.workers or usable_cores())


def check_counts(args: argparse.Namespace) -> None:
    """Refuse --episodes, --seed and --workers that are no numbers of such.

    Raises:
        HptError: one is too small.
    """
    for name, least in (("episodes", 1), ("seed", 0), ("workers", 0)):
        if (value := getattr(args, name)) < least:
            raise HptError(Code.OUT_OF_RANGE, f"--{name}", value, expected=f"at least {least}")
    if hasattr(args, "ray"):
        check_ray(args, "scenes")
    if getattr(args, "ros", False):
        ours = (
            ("workers", args.workers > 1),
            ("ray", args.ray),
            ("inference-s", args.inference_s is not None),
        )
        for name, useless in ours:
            if useless:
                raise HptError(
                    Code.UNSUPPORTED, f"--{name} with --ros", problem="has no meaning: time is real, and the robot one",
                    remedy="leave one of them out",
                )  # fmt: skip


def policy_of(text: str, device: str = DEFAULT_DEVICE) -> Contender:
    """Find the policy of a name: a baseline, a checkpoint's folder, or a shipped one.

    Raises:
        HptError: there is none.
    """
    from hpt_ros.evaluation.conditions import Contender
    from hpt_ros.evaluation.runners import RUNNERS, is_runner
    from hpt_ros.model.checkpoint_folder import is_many
    from hpt_ros.policies.factory import POLICIES
    from hpt_ros.resources import checkpoint_folder
    from hpt_ros.runtime.policy_config import PolicyChoice

    if not Path(text).exists():
        if is_runner(text):
            return Contender(text, PolicyChoice(policy="hold"), runner=text)
        if text in POLICIES and POLICIES[text].make is not None:  # for any robot
            return Contender(text, PolicyChoice(policy=text))
    baselines = [name for name, policy in POLICIES.items() if policy.make is not None]
    folder = checkpoint_folder(text, besides=[*RUNNERS, *baselines])
    is_many(folder)  # a folder that is no checkpoint
    return Contender.of_checkpoint(folder, device=device)


def job_of(args: argparse.Namespace, name: str) -> tuple[Job, Provenance]:
    """Make of the arguments what is run in the environment of a name, and what its outcomes are made by.

    Raises:
        HptError: no such policy or environment, or a number that makes no sense.
    """
    from hpt_ros.evaluation.conditions import Conditions
    from hpt_ros.evaluation.outcomes import LOCK_STEP, REAL_TIME

    conditions = Conditions(
        inference_s=INFERENCE_S if args.inference_s is None else args.inference_s,
        image_delay_s=args.image_delay_s,
        image_jitter_s=args.image_jitter_s,
        image_lost=args.image_lost,
        difficulty=args.difficulty,
        vary=tuple(args.vary),
        transport=tuple(args.transport),
        time_limit_s=args.time_limit_s,
    )
    return conditions.job(policy_of(args.policy, args.device), name, REAL_TIME if args.ros else LOCK_STEP)


def _table(outcomes: Outcomes, timings: Samples) -> Table:
    import numpy as np
    from rich import box
    from rich.table import Table

    from hpt_ros.cli.timings import TIMINGS, median_and_p99
    from hpt_ros.evaluation.statistics import success_interval

    episodes, about = outcomes.episodes, outcomes.provenance
    found = success_interval(outcomes.successes, len(episodes))
    solved = [episode.duration_s for episode in episodes if episode.success]
    moved = [episode.arc_length for episode in episodes if np.isfinite(episode.arc_length)]
    rows = {
        "success": f"{outcomes.successes} of {len(episodes)}: {100 * found.estimate:.1f} % "
        f"(95 % interval {100 * found.lower:.1f} to {100 * found.upper:.1f})",
        "progress, mean": f"{100 * float(np.mean([episode.progress for episode in episodes])):.0f} %",
        "time to success, median": f"{np.median(solved):.1f} s" if solved else "-",
        "faults": f"{sum(bool(episode.fault) for episode in episodes)} episodes",
        "holds": f"{sum(episode.holds for episode in episodes)} in all",
        "commands refused by the controller": f"{sum(episode.refused for episode in episodes)}",
        "smoothness (SPARC, 0 is best), median": f"{np.median(moved):.2f}" if moved else "-",
        "largest velocity over its limit": f"{max(episode.limits_used for episode in episodes):.2f}",
    }
    if (late := outcomes.late_actions) is not None:
        rows["actions of a chunk that come late, mean"] = f"{late:.1f}"
    if silent := [episode for episode in episodes if episode.silent]:
        rows["nothing was commanded"] = (
            f"in {format_count(len(silent), 'episode')}; the last: {silent[-1].detail}"
        )
    for title, name in TIMINGS.items() if timings else ():
        rows[f"{title}, ms, median / 99th percentile"] = median_and_p99(timings.get(name))
    if about.variation != "standard":
        rows = {"scenes": about.variation, **rows}
    where = f"{about.environment} {about.environment_version}, {about.clock}"
    scenes = f"scenes {episodes[0].seed} to {episodes[-1].seed}"
    table = Table(title=f"{about.policy} in {where}, {scenes}", box=box.SIMPLE_HEAD, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table
