# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the commands have exactly one source and somebody who takes them, as the graph shows it."""

from __future__ import annotations

from collections.abc import Sequence
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
        self.unheard = ""  # why commands would reach nobody, a sentence's worth; empty if they reach somebody
        self.contested = ""  # who else commands the robot, a sentence; empty if nobody

    def saw(self, topics: Sequence[CommandTopic]) -> None:
        """Note what the graph shows now of all topics."""
        self.unheard = "; ".join(_unheard(topic) for topic in topics if not topic.taken)
        self.contested = "; ".join(_contested(topic) for topic in topics if topic.rivals)


def _unheard(topic: CommandTopic) -> str:
    words = f"a subscriber on {topic.topic}: no controller takes the commands"
    if topic.listening:
        words += f" ({', '.join(topic.listening)} only records, or subscribes with another type or quality of service)"
    return f"{words}; start the controller, or correct the topic's name"


def _contested(topic: CommandTopic) -> str:
    return (
        f"{', '.join(topic.rivals)} publishes on {topic.topic} too, so the robot has two masters; end it, or permit it "
        "with outputs.permitted_publishers"
    )
