# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where a bag's episodes begin and end, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from hpt_ros.errors import Code
from rosbag_tools.bag_schema import (
    DISCARDED,
    EVENTS_TOPIC,
    EVENTS_TYPE,
    KEY_EPISODE,
    KEY_NOTE,
    KEY_OPERATOR,
    KEY_OUTCOME,
    KEY_TASK,
    OUTCOMES,
    STARTED,
    STOPPED,
)
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag


class LeftOut(str, Enum):
    """Why an episode of a bag does not go into a dataset."""

    DISCARDED = "discarded"
    FAILURE = "failure"


@dataclass(frozen=True)
class BagEpisode:
    """A stretch of a bag.

    Attributes:
        start_ns, end_ns: log times of its first and last message.
        episode_id: the recorder's name for it; empty if unknown.
        task: task text; empty if unknown.
        operator: who teleoperated; empty if unknown.
        outcome: ``"unknown"``, ``"success"`` or ``"failure"``.
        note: the operator's free text.
        discarded: the operator threw it away.
    """

    start_ns: int
    end_ns: int
    episode_id: str = ""
    task: str = ""
    operator: str = ""
    outcome: str = OUTCOMES[0]
    note: str = ""
    discarded: bool = False

    def explain_exclusion(self, *, keep_failures: bool) -> LeftOut | None:
        """Return why it does not go into a dataset; None if it does."""
        if self.discarded:
            return LeftOut.DISCARDED
        if self.outcome == "failure" and not keep_failures:
            return LeftOut.FAILURE
        return None


def find_episodes(bag: Bag) -> list[BagEpisode]:
    """Episodes of a bag in their order: between its markers, or the entire bag if it has none.

    A marker is a message on ``/hpt/episode_events``, or on that topic in a namespace if only one is there. An episode
    that never ended (the recorder was killed) reaches to the bag's end, or to the next one's start.
    """
    topic = _events_topic(bag)
    found: list[BagEpisode] = []
    running: BagEpisode | None = None
    for message in bag.messages([topic]):
        event = message.content
        if event.event == STARTED:
            if running is not None:
                found.append(replace(running, end_ns=message.log_ns - 1))
            running = BagEpisode(
                message.log_ns,
                bag.end_ns,
                episode_id=str(event.episode_id),
                task=str(event.task),
                operator=str(event.operator_name),
            )
        elif event.event in (STOPPED, DISCARDED) and running is not None:
            outcome = OUTCOMES[event.outcome] if event.outcome < len(OUTCOMES) else OUTCOMES[0]
            found.append(
                replace(
                    running,
                    end_ns=message.log_ns,
                    outcome=outcome,
                    note=str(event.note),
                    discarded=event.event == DISCARDED,
                )
            )
            running = None
    if running is not None:
        found.append(running)
    return found or [_episode_of_bag(bag)]


def _events_topic(bag: Bag) -> str:
    topic = bag.topics.get(EVENTS_TOPIC)
    if topic is not None and topic.type != EVENTS_TYPE:
        raise BagError(
            Code.WRONG_TYPE, f"bag {str(bag.path)!r}", topic.type,
            problem=f"has the topic {EVENTS_TOPIC!r} with type {topic.type}", expected=EVENTS_TYPE,
            remedy="rename that topic",
        )  # fmt: skip
    named = [
        name
        for name, entry in bag.topics.items()
        if name.endswith(EVENTS_TOPIC) and entry.type == EVENTS_TYPE
    ]
    return named[0] if topic is None and len(named) == 1 else EVENTS_TOPIC


def _episode_of_bag(bag: Bag) -> BagEpisode:
    outcome = bag.custom.get(KEY_OUTCOME, OUTCOMES[0])
    return BagEpisode(
        bag.start_ns,
        bag.end_ns,
        episode_id=bag.custom.get(KEY_EPISODE, ""),
        task=bag.custom.get(KEY_TASK, ""),
        operator=bag.custom.get(KEY_OPERATOR, ""),
        outcome=outcome if outcome in OUTCOMES else OUTCOMES[0],
        note=bag.custom.get(KEY_NOTE, ""),
    )
