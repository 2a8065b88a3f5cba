# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt evaluate`: what a policy would have done where others were recorded: a replay through the robot's own path."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP, choose_device
from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.evaluation.replay import Recording, Replay
    from hpt_ros.policies.loading import LoadedPolicy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "policy",
        metavar="POLICY",
        help="checkpoint folder, the name of a shipped one, or a policy for any robot: hold, random",
    )
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATASET|BAG",
        help="LeRobotDataset v3.0 folder of the same robot, or bags of it; best of episodes that nobody trained on",
    )
    parser.add_argument(
        "--episodes", type=Path, metavar="FILE.json", help="of a dataset, these alone, a list of numbers"
    )
    parser.add_argument(
        "--inference-s",
        type=float,
        default=0.05,
        metavar="S",
        help="time of an inference on the recording's clock (default: 0.05)",
    )
    parser.add_argument(
        "--html", type=Path, metavar="PAGE.html", help="also write a page; replaced if it is there"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--device", default=DEFAULT_DEVICE, help=DEVICE_HELP)


def run(args: argparse.Namespace) -> int:
    """Replay every episode, and print errors, smoothness, seams, limits, holds and faults; returns 0."""
    from hpt_ros.cli.evaluate_report import print_json, print_table, write_html
    from hpt_ros.cli.output import make_parent, note_unfinished
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.evaluation.replay import ReplayConfig, replay, summarise
    from hpt_ros.report.page import require_html

    if args.html is not None:
        require_html("--html", args.html)
        make_parent(args.html)
    note_unfinished(args.policy)
    config = ReplayConfig(inference_s=args.inference_s)
    replays: list[Replay] = []
    with Terminal() as terminal:
        loaded, total, recordings = _open(args)
        try:
            for recording in recordings:
                terminal.bar("replaying", len(replays), total, recording.name)
                replays.append(replay(recording, loaded, config))
            terminal.bar("replaying", len(replays), total)
        finally:
            loaded.close()
    if not replays:
        raise HptError(
            Code.EMPTY,
            repr(args.data[0]),
            problem="has no episode to replay",
            remedy="name another, or other --episodes",
        )
    figures = summarise(replays, loaded.embodiment)
    if args.html is not None:
        write_html(args, loaded.embodiment, replays, figures)
    (print_json if args.json else print_table)(args, loaded.embodiment, replays, figures)
    return 0


def _open(args: argparse.Namespace) -> tuple[LoadedPolicy, int | None, Iterator[Recording]]:
    """Return the policy, how many recordings there are (None: that shows), and these."""
    from hpt_ros.cli.view import is_bag

    if is_bag(Path(args.data[0])):
        if args.episodes:
            raise HptError(
                Code.UNEXPECTED,
                "--episodes",
                problem="is of a dataset, but bags are given",
                remedy="leave it out",
            )
        loaded = _policy(args, lambda: _robot_of_bags(args.data))
        return loaded, None, _of_bags(args.data, loaded)
    if len(args.data) > 1:
        raise HptError(
            Code.UNEXPECTED,
            "a second dataset",
            args.data[1],
            expected="one dataset, or bags",
            remedy="evaluate it by itself",
        )
    return _of_dataset(args)


def _policy(args: argparse.Namespace, robot: object) -> LoadedPolicy:
    from hpt_ros.cli.eval import policy_of
    from hpt_ros.policies.factory import BASELINES, load_baseline

    arm = policy_of(args.policy, choose_device(args.device).name)
    if arm.runner:
        raise HptError(
            Code.UNSUPPORTED, "the policy", arm.name, problem="{value} needs an environment, but recordings have none",
            remedy=f"name a checkpoint, {' or '.join(BASELINES)}",
        )  # fmt: skip
    if arm.choice.policy == "checkpoint":
        return arm.choice.load()
    return load_baseline(arm.choice.policy, robot())  # type: ignore[operator]


def _of_dataset(args: argparse.Namespace) -> tuple[LoadedPolicy, int, Iterator[Recording]]:
    from hpt_ros.dataset import open_dataset
    from hpt_ros.dataset.selection import read_episode_list
    from hpt_ros.embodiment import require_match
    from hpt_ros.evaluation.dataset_recording import dataset_recordings

    dataset = open_dataset(args.data[0])
    loaded = _policy(args, lambda: dataset.embodiment)
    require_match(
        loaded.embodiment,
        dataset.embodiment,
        a_name=f"checkpoint {args.policy!r}",
        b_name=f"dataset {args.data[0]!r}",
        settled="dataset",
    )
    if args.episodes:
        dataset = dataset.select(read_episode_list(args.episodes))
    dataset = replace(dataset, embodiment=loaded.embodiment)  # the horizons are the checkpoint's
    return loaded, len(dataset.episodes), dataset_recordings(dataset)


def _robot_of_bags(bags: list[str]) -> Embodiment:
    from hpt_ros.embodiment import Embodiment
    from rosbag_tools.reading.finding import find_bags
    from rosbag_tools.reading.reader import Bag

    path = find_bags(bags, lambda passed_over: None)[0]
    with Bag.open(path) as bag:
        text = bag.embodiment_text()
    if not text:
        raise HptError(
            Code.MISSING, f"bag {str(path)!r}", problem="carries no embodiment file", expected="one, to know its robot",
            remedy="name a checkpoint of the robot",
        )  # fmt: skip
    return Embodiment.loads(text, where=f"the embodiment in bag {str(path)!r}")


def _of_bags(bags: list[str], loaded: LoadedPolicy) -> Iterator[Recording]:
    from hpt_ros.evaluation.replay import Arrival, Recording
    from rosbag_tools.converting.replaying import RecordedEpisode, iterate_recorded_episodes

    def arrivals(episode: RecordedEpisode) -> Iterator[Arrival]:
        by_topic: dict[str, list[str]] = {}
        for stream in episode.embodiment.streams:
            by_topic.setdefault(stream.topic, []).append(stream.name)
        for message in episode.messages():
            for name in by_topic[message.topic]:
                # The policy's own stream: topics may be another namespace's in the bag.
                yield Arrival(loaded.embodiment.stream(name), message.log_ns, message=message.content)

    for episode in iterate_recorded_episodes(bags, loaded.embodiment):
        yield Recording(episode.name, episode.task, episode.actions, partial(arrivals, episode))
