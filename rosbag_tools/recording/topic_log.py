# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An episode without ROS: everything that went over the topics, written as the recorder writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.streams import in_namespace
from rosbag_tools.bag_schema import KEY_EMBODIMENT, KEY_TOPICS
from rosbag_tools.recording.definitions import load_installed_types
from rosbag_tools.recording.episode_recording import EpisodeRecording, RecordedTopic
from rosbag_tools.recording.message_objects import serialize


class Arrived(Protocol):
    """A message of a sensor."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def message(self) -> Any: ...  # noqa: D102
    @property
    def arrival_ns(self) -> int: ...  # noqa: D102


class TopicLog:
    """Messages of one episode: objects with the fields of ROS messages.

    Args:
        robot: whose topics they are.
    """

    def __init__(self, robot: Embodiment) -> None:
        """Begin with none."""
        self._robot = robot
        self._messages: list[tuple[int, str, Any]] = []

    def sample(self, sample: Arrived) -> None:
        """Take a message of a sensor; one of no topic of the robot is passed over."""
        if sample.topic in self._robot.topics:
            self._messages.append((sample.arrival_ns, sample.topic, sample.message))

    def command(self, topic: str, message: Any, now_ns: int) -> None:
        """Take a command."""
        self._messages.append((now_ns, topic, message))

    def write(self, folder: Path, name: str, metadata: Mapping[str, str]) -> Path:
        """Write the bag and return its folder; a bag that cannot be finished is removed.

        Args:
            folder: where the bag's folder goes.
            name: of the bag's folder.
            metadata: custom data beside the embodiment, see `rosbag_tools.bag_schema`.

        Raises:
            BagError: it cannot be written.
        """
        kinds = self._robot.topics
        types = load_installed_types(kinds.values())
        names = {topic: in_namespace(topic) for topic in kinds}
        about = {KEY_EMBODIMENT: self._robot.to_yaml(), KEY_TOPICS: json.dumps(names), **metadata}
        topics = {names[topic]: RecordedTopic(kind) for topic, kind in kinds.items()}
        recording = EpisodeRecording(folder, name, topics, types, about)
        try:
            for time_ns, topic, message in self._messages:
                recording.write(names[topic], time_ns, serialize(message, kinds[topic], types))
            return recording.finish({})
        except BaseException:
            recording.discard()
            raise
