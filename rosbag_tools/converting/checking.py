# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checks of all bags before anything is written, and the jobs that they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpt_ros.dataset.append import ExistingDataset
from hpt_ros.dataset.conversion_report import ConversionReport
from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import Code, HptError
from hpt_ros.observation.time_series import seconds
from rosbag_tools.converting.leader_arm import LEADER_TYPE
from rosbag_tools.converting.options import Options
from rosbag_tools.converting.progress import Progress
from rosbag_tools.converting.resample import measuring_stream
from rosbag_tools.converting.topic_names import with_names_of
from rosbag_tools.errors import BagError
from rosbag_tools.reading.episodes import BagEpisode, find_episodes
from rosbag_tools.reading.reader import Bag


@dataclass(frozen=True)
class Job:
    """One bag that passed the checks, with its episodes."""

    number: int
    path: Path
    embodiment: Embodiment
    episodes: tuple[BagEpisode, ...]
    options: Options
    note: str  # what was lost, if the bag was recovered
    identity: str  # of the bag, by what is in it
    kept: Path | None = None  # where the result is retained, with `Options.resume`

    @property
    def length_s(self) -> float:
        """Seconds of recording in its episodes."""
        return sum(seconds(episode.end_ns - episode.start_ns) for episode in self.episodes)


def check_bags(
    paths: Sequence[Path],
    given: Embodiment | None,
    options: Options,
    report: ConversionReport,
    say: Progress,
    existing: ExistingDataset | None,
) -> tuple[list[Job], Embodiment]:
    """Open every bag before anything is written: is all there that the conversion needs, and is it there once?"""
    jobs: list[Job] = []
    known: set[str] = set()  # texts that match: the bags of one robot carry the same
    met: dict[str, Path] = {}
    in_dataset = 0
    robot = given
    robot_of = "the embodiment file"
    for number, path in enumerate(paths):
        say("checking", path.name, number, len(paths))
        try:
            with Bag.open(path, recover=options.recover, beside=options.beside) as bag:
                identity = bag.identity()
                if existing is not None and existing.has(path, identity):
                    in_dataset += 1
                    continue
                if (same := met.setdefault(identity, path)) != path:
                    report.passed_over.append(f"{str(path)!r} is a copy of {str(same)!r}, and counts once")
                    continue
                text = bag.embodiment_text()
                if text and text not in known:
                    carried = Embodiment.loads(text, where=f"the embodiment in bag {str(path)!r}")
                    if robot is None:
                        robot, robot_of = carried, f"bag {str(path)!r}"
                    require_match(carried, robot, a_name=f"bag {str(path)!r}", b_name=robot_of, settled="bag")
                    known.add(text)
                if robot is None:
                    raise BagError(
                        Code.MISSING, f"bag {str(path)!r}", problem="carries no embodiment",
                        remedy="pass --embodiment FILE",
                    )  # fmt: skip
                named = options.timing.over(with_names_of(bag, robot, options.namespace, options.deployment))
                require_topics(bag, named, options)
                if options.action_source == "state":
                    robot.space.states.require_positions()  # raises, naming what is not observed
                jobs.append(
                    Job(number, path, named, tuple(find_episodes(bag)), options, bag.recovered, identity)
                )
        except HptError as error:
            if not options.skip_bad:
                raise
            report.skipped_bags[str(path)] = str(error)
    if existing is not None and in_dataset and not jobs and not report.skipped_bags:
        raise BagError(
            Code.EXISTS, f"all {in_dataset} bags" if in_dataset > 1 else "the bag", in_dataset,
            problem=f"{'are' if in_dataset > 1 else 'is'} in the dataset {str(existing.folder)!r} already",
            remedy="name others, or convert with --overwrite",
        )  # fmt: skip
    if robot is None or not jobs:
        first = next(iter(report.skipped_bags.values()), "")
        which = "none of the bags" if len(paths) == 1 else f"none of the {len(paths)} bags"
        raise BagError(
            Code.EMPTY, which, first, problem=f"can be converted{': the first' * (len(paths) > 1)}: {first}"
        )
    return jobs, robot


def require_topics(bag: Bag, embodiment: Embodiment, options: Options) -> None:
    """Raise BagError unless the bag has every topic that a conversion needs."""
    for stream in embodiment.streams:
        if stream.modality not in options.optional:
            bag.require(stream.topic, stream.type, f"stream {stream.name!r}")
    if options.leader is not None:
        options.leader.check(embodiment)
        bag.require(options.leader.topic, LEADER_TYPE, "the leader arm")
    if options.action_source == "command":
        names = [output.name for output in embodiment.action.parts]
        for name in sorted(options.measured):
            if name not in names:
                raise BagError(
                    Code.UNKNOWN, "--measured", name, problem="names the output {value}", known=names
                )
        for output in embodiment.action.parts:
            if output.name in options.measured:
                measuring_stream(embodiment, output)
                continue
            what = f"the command {output.name!r}" if embodiment.action.outputs else "the action"
            without = "convert with --actions state if it was led by hand"
            bag.require(output.recorded_as.topic, output.recorded_as.type, what, without)
