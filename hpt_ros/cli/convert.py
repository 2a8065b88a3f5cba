# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt convert`: bags to a LeRobotDataset v3.0."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

IDLE_S = 2.0  # a person needs about a second to press a button; `hpt quality` points out rests from here on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add("bags", nargs="+", metavar="BAG", help="a rosbag1 or rosbag2 bag, a folder of those, or a pattern")
    add("--embodiment", metavar="FILE", help="embodiment file; left out: the one that the bags carry")
    add(
        "--namespace",
        metavar="NAME",
        help="namespace of the embodiment's relative topics; left out: each bag's",
    )
    add(
        "--deployment",
        metavar="FILE",
        help="facts of the cell that the bags are from, where they do not carry them, as those of `ros2 bag record`",
    )
    add(
        "--time",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=TIME",
        help="what says when a stream's or an output's messages were measured, instead of what the embodiment file "
        "states: stamp or arrival, and an offset in seconds, such as front=arrival or front=stamp-0.08",
    )
    add(
        "--ignore-arrival",
        action="store_true",
        help="samples count by their stamps, however late they arrived: for log times that are wrong or in bursts. The "
        "robot would not have had them",
    )
    add(
        "--together",
        nargs="+",
        action="extend",
        default=[],
        metavar="BAG",
        help="bags of the same session as BAG, such as one of cameras and one of the arm: read as one",
    )
    add(
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the dataset; a new one, unless --overwrite or --append is given",
    )
    add("--task", default="", metavar="TEXT", help="task text of all episodes, instead of the recorded ones")
    add("--keep-failures", action="store_true", help="also convert episodes marked as failure")
    add("--recover", action="store_true", help="use bags that were cut short as far as they go")
    add("--skip-bad", action="store_true", help="leave out bags that cannot be converted, and report them")
    add("--overwrite", action="store_true", help="replace the dataset at --out")
    add(
        "--append",
        action="store_true",
        help="add to the dataset at --out the bags that it does not have yet; it is made if it is not there",
    )
    add(
        "--actions",
        default="command",
        choices=("command", "state", "leader"),
        help="what an action is: the command at its tick (default), the measured position at the next one, or the "
        "leader arm's position",
    )
    add(
        "--measured",
        nargs="+",
        action="extend",
        default=[],
        metavar="OUTPUT",
        help="outputs of which the bag has no commands, such as a gripper's: their actions are the measured positions "
        "at the next tick, beside the commands of the others",
    )
    add(
        "--leader-topic",
        default="",
        metavar="TOPIC",
        help="JointState of the leader arm, for --actions leader",
    )
    add(
        "--leader-joints",
        nargs="+",
        action="extend",
        default=[],
        metavar="JOINT=LEADERS",
        help="commanded joints and the leader's joints that stand for them; equal names need not be given",
    )
    add(
        "--trim-idle",
        type=float,
        nargs="?",
        const=IDLE_S,
        default=math.inf,
        metavar="S",
        help=f"cut out rests longer than S seconds ({IDLE_S:g} if S is left out) but for half a second on either side; "
        "a rest in the middle splits the episode",
    )
    add(
        "--episodes",
        type=Path,
        metavar="FILE.json",
        help="keep these alone, by their numbers in a conversion without this option, as of `hpt quality --keep`",
    )
    add(
        "--depth",
        choices=("rows", "video"),
        help="how depth is stored: in rows, to the millimetre (default), or as LeRobot's video of 12-bit codes, which "
        "its tools edit: to within 1 mm up to 4 m and 2 mm up to 10 m, and no further",
    )
    add("--workers", type=int, default=1, metavar="N", help="processes that convert side by side")
    add(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="convert on a Ray cluster that shares the file system: auto, HOST:PORT, ray://HOST:PORT, or local",
    )
    add(
        "--resume",
        action="store_true",
        help="keep finished bags in a hidden folder beside --out until all is done; the same command goes on there",
    )


def run(args: argparse.Namespace) -> int:
    """Convert and print what was kept and why the rest was not."""
    import time

    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.dataset.selection import read_episode_list
    from hpt_ros.embodiment import Deployment, Embodiment
    from hpt_ros.errors import Code, HptError, counted
    from rosbag_tools.converting.convert import Options, convert
    from rosbag_tools.converting.leader_arm import Leader, parse_joints
    from rosbag_tools.converting.timing import Timing

    if args.workers < 1:
        raise HptError(
            Code.OUT_OF_RANGE, "--workers", args.workers, expected="at least 1",
            remedy="give the number of processes",
        )  # fmt: skip
    embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
    options = Options(
        task=args.task,
        keep_failures=args.keep_failures,
        skip_bad=args.skip_bad,
        recover=args.recover,
        workers=args.workers,
        ray=args.ray,
        resume=args.resume,
        overwrite=args.overwrite,
        append=args.append,
        action_source=args.actions,
        leader=Leader(args.leader_topic, parse_joints(args.leader_joints)) if args.leader_topic else None,
        longest_rest_s=args.trim_idle,
        namespace=args.namespace,
        deployment=Deployment.load(args.deployment) if args.deployment else None,
        beside=tuple(args.together),
        episodes=read_episode_list(args.episodes) if args.episodes else None,
        measured=frozenset(args.measured),
        timing=Timing.parse(args.time, ignore_arrival=args.ignore_arrival),
        depth=args.depth,
    )
    started = time.monotonic()
    with Terminal() as terminal:

        def show(doing: str, note: str, done: float, total: float) -> None:
            terminal.bar(doing, round(done), max(round(total), 1), note)

        report = convert(args.bags, args.out, embodiment, options, show)
    elapsed_s = time.monotonic() - started
    episodes = sum(1 for entry in report.episodes for span in entry.spans if span.episode_index >= 0)
    print(
        f"{Path(args.out)}: {counted(episodes, 'episode')}, {report.kept} of {report.ticks} ticks kept, in "
        f"{elapsed_s:.1f} s"
    )
    for reason, count in report.left_out().items():
        print(f"  {counted(count, 'recorded episode')} left out: {reason}")
    if idle := sum(entry.idle for entry in report.episodes):
        print(f"  {idle} ticks of rests longer than {report.longest_rest_s:g} s cut out")
    for entry in report.episodes:
        for change in entry.task_changes:
            print(f"  {entry.source}: split where the task changed {change}")
        for name, change in entry.resized.items():
            print(
                f"  {entry.source}: the images of {name} changed {change}; the dataset has one size for all"
            )
    wrapped = {joint: jump for entry in report.episodes for joint, jump in entry.wrapped.items()}
    for joint, jump in wrapped.items():
        print(
            f"  {joint} jumps {jump}, and rows between are wrong; if it turns without end, add continuous: true to its "
            "limit"
        )
    for note in (*report.sample_notes(), *report.clock_notes()):
        print(f"  {note}")
    for line in report.reasons():
        print(f"  dropped for {line}")
    for path, reason in report.skipped_bags.items():
        print(f"  skipped {path}: {reason}")
    for note in (*report.recovered_bags, *report.passed_over):
        print(f"  {note}")
    return 0
