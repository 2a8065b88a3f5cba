# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the commands have exactly one source and somebody who takes them, as the graph shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpt_ros.control.refusals import Why, join
from hpt_ros.errors import Refusal


@dataclass(frozen=True, slots=True)
class CommandTopic:
    """What the graph shows of a topic that commands go to.

    Attributes:
        topic: absolute name.
        taken: whether somebody who may move the robot is matched with our publisher.
        listening: full names of subscribers that are not: they record, or their type or quality of service differs.
        rivals: full names of other nodes that publish there and are not permitted to.
    """

    topic: str
    taken: bool = True
    listening: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


class CommandLink:
    """Takes from the caller what the graph shows; as long as nothing was shown, nothing is wrong."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._refuse_unsubscribed: list[Refusal] = []
        self._unserved: list[Refusal] = []
        self._published: list[Refusal] = []  # by others, on our topics
        self._asked: list[Refusal] = []  # by others, with goals

    def note_topics(self, topics: Sequence[CommandTopic]) -> None:
        """Note what the graph shows now of all topics."""
        self._refuse_unsubscribed = [_refuse_unsubscribed(topic) for topic in topics if not topic.taken]
        self._published = [
            _other_publishers(Why.PUBLISHED, topic.rivals, f"publishes on {topic.topic}")
            for topic in topics
            if topic.rivals
        ]

    def note_absent_servers(self, absent: Sequence[str]) -> None:
        """Note the actions that have no server now, by their full names."""
        self._unserved = [
            Refusal(
                Why.UNSERVED, f"a server of the action {name}", name, problem="to take goals",
                remedy="start its driver, or correct the action's name",
            )
            for name in absent
        ]  # fmt: skip

    def note_rivals(self, rivals: Mapping[str, Sequence[str]]) -> None:
        """Note who else sends goals: action to nodes."""
        self._asked = [
            _other_publishers(Why.ASKED, nodes, f"sends goals to the action {name}")
            for name, nodes in rivals.items()
            if nodes
        ]

    @property
    def contested(self) -> Refusal | None:
        """Who else commands the robot; None if nobody."""
        return join((*self._published, *self._asked))

    @property
    def unserved(self) -> Refusal | None:
        """Which actions have no server; None if all have one."""
        return join(self._unserved)

    @property
    def unheard(self) -> Refusal | None:
        """Why commands would reach nobody; None if they reach somebody."""
        return join((*self._refuse_unsubscribed, *self._unserved))


def _refuse_unsubscribed(topic: CommandTopic) -> Refusal:
    problem = "to take the commands"
    if topic.listening:
        listed = ", ".join(topic.listening)
        problem += f" ({listed} only records, or subscribes with another type or quality of service)"
    return Refusal(
        Why.UNSUBSCRIBED, f"a subscriber on {topic.topic}", topic.listening, problem=problem,
        remedy="start the controller, or correct the topic's name",
    )  # fmt: skip


def _other_publishers(code: Why, nodes: Sequence[str], problem: str) -> Refusal:
    return Refusal(
        code, ", ".join(nodes), tuple(nodes), problem=f"{problem} too, so the robot has two masters",
        remedy="end it, or permit it with outputs.permitted_publishers",
    )  # fmt: skip
