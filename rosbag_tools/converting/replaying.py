# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Episodes of bags as they came, with the actions that a conversion would make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.conversion_report import ConversionReport, EpisodeReport
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from rosbag_tools.converting.checking import Job, check_bags
from rosbag_tools.converting.options import Options
from rosbag_tools.converting.rows import rows_of
from rosbag_tools.errors import BagError
from rosbag_tools.reading.episodes import BagEpisode
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.reader import Bag, Message


@dataclass(frozen=True)
class RecordedEpisode:
    """An episode of a bag, while the bag is open.

    Attributes:
        name: the bag's and the episode's.
        task: its text.
        embodiment: the robot, with the topics that the bag has.
        actions: index of a tick at which all is there to the action (Da,) at it.
    """

    name: str
    task: str
    embodiment: Embodiment
    actions: dict[int, NDArray[np.float64]]
    _bag: Bag
    _episode: BagEpisode

    def messages(self) -> Iterator[Message]:
        """Yield the messages of the robot's streams in the order of their arrival; first what was sent once before."""
        streams = self.embodiment.streams
        start_ns, end_ns = self._episode.start_ns, self._episode.end_ns
        for stream in (item for item in streams if item.kind.holds):
            newest = None
            for newest in self._bag.messages([stream.topic], stop_ns=start_ns):  # noqa: B007 - the last one counts
                pass
            if newest is not None:
                yield newest
        topics = list(dict.fromkeys(stream.topic for stream in streams))
        yield from self._bag.messages(topics, start_ns=start_ns, stop_ns=end_ns + 1)


def iterate_recorded_episodes(
    bags: Sequence[str | Path], embodiment: Embodiment, options: Options | None = None
) -> Iterator[RecordedEpisode]:
    """Yield the episodes of bags that a conversion would take; each must be read before the next one is taken.

    Args:
        bags: bags, or folders of bags.
        embodiment: the robot; bags that carry another one are refused.
        options: of the conversion.

    Raises:
        BagError: a bag is bad, or lacks a topic.
        HptError: a bag is of another robot.
    """
    chosen = options or Options()
    report = ConversionReport(0, chosen.action_source, 0.0, "")
    jobs, _ = check_bags(
        find_bags(bags, report.passed_over.append), embodiment, chosen, report, lambda *words: None, None
    )
    for job in jobs:
        with Bag.open(job.path, recover=chosen.recover) as bag:
            for number, episode in enumerate(job.episodes):
                if (found := _read_recorded(bag, job, number, episode)) is not None:
                    yield found


def _read_recorded(bag: Bag, job: Job, number: int, episode: BagEpisode) -> RecordedEpisode | None:
    if episode.explain_exclusion(keep_failures=job.options.keep_failures):
        return None
    task = episode.task or job.embodiment.task
    entry = EpisodeReport(
        str(job.path), job.identity, episode.episode_id, task, episode.operator, episode.outcome
    )
    actions = {
        row.tick.index: row.action
        for row in rows_of(bag, job.embodiment, episode, entry, job.options)
        if row.action is not None and not row.missing
    }
    name = f"{job.path.name}, episode {number}" if len(job.episodes) > 1 else job.path.name
    if not actions:
        raise BagError(
            Code.EMPTY, name, problem="has no tick with an observation and an action",
            remedy="look at it with 'hpt inspect'",
        )  # fmt: skip
    return RecordedEpisode(name, task, job.embodiment, actions, bag, episode)
