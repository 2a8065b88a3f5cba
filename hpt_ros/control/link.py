# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the commands have exactly one source and somebody who takes them, as the graph shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
    """Told by the caller what the graph shows; without being told nothing is wrong."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._unsubscribed = ""
        self.unserved = ""  # which actions have no server, a sentence's worth; empty if all have one
        self._published = self._asked = ""  # who else commands the robot, by topics and by goals

    def saw(self, topics: Sequence[CommandTopic]) -> None:
        """Note what the graph shows now of all topics."""
        self._unsubscribed = "; ".join(_unheard(topic) for topic in topics if not topic.taken)
        self._published = "; ".join(_contested(topic) for topic in topics if topic.rivals)

    def serves(self, absent: Sequence[str]) -> None:
        """Note the actions that have no server now, by their full names."""
        self.unserved = "; ".join(_unserved(name) for name in absent)

    def asks(self, rivals: Mapping[str, Sequence[str]]) -> None:
        """Note who else sends goals: action to nodes, in words."""
        self._asked = "; ".join(_asked(name, nodes) for name, nodes in rivals.items() if nodes)

    @property
    def contested(self) -> str:
        """Who else commands the robot, a sentence; empty if nobody."""
        return "; ".join(filter(None, (self._published, self._asked)))

    @property
    def unheard(self) -> str:
        """Why commands would reach nobody, a sentence's worth; empty if they reach somebody."""
        return "; ".join(filter(None, (self._unsubscribed, self.unserved)))


def _unheard(topic: CommandTopic) -> str:
    words = f"a subscriber on {topic.topic}: no controller takes the commands"
    if topic.listening:
        words += f" ({', '.join(topic.listening)} only records, or subscribes with another type or quality of service)"
    return f"{words}; start the controller, or correct the topic's name"


def _unserved(name: str) -> str:
    return (
        f"a server of the action {name}: nobody takes goals; start its driver, or correct the action's name"
    )


def _asked(name: str, nodes: Sequence[str]) -> str:
    return (
        f"{', '.join(nodes)} sends goals to the action {name} too, so the robot has two masters; end it, or permit it "
        "with outputs.permitted_publishers"
    )


def _contested(topic: CommandTopic) -> str:
    return (
        f"{', '.join(topic.rivals)} publishes on {topic.topic} too, so the robot has two masters; end it, or permit it "
        "with outputs.permitted_publishers"
    )
