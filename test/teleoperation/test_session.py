# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a person demonstrated survives a disk that was full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.environment import Environment, make_environment
from hpt_ros.teleoperation.devices import Wish
from hpt_ros.teleoperation.session import TeleopSession
from rosbag_tools.recording.topic_log import TopicLog


@pytest.fixture
def environment() -> Iterator[Environment]:
    made = make_environment("feed_dog")
    yield made
    made.close()


def test_when_a_bag_cannot_be_written_expect_the_recording_to_go_on_until_it_can(
    environment: Environment,
) -> None:
    kept: list[tuple[TopicLog, int, bool]] = []
    full = [True]

    def keep(log: Any, scene: int, *, success: bool, outcome: object) -> None:
        if full[0]:
            raise HptError(Code.UNAVAILABLE, "the bag", problem="cannot be written", remedy="make room")
        kept.append((log, scene, success))

    session = TeleopSession(environment, 7, lambda: TopicLog(environment.embodiment), keep)
    session.say("begin")
    session.step(Wish())
    session.say("success")
    assert session.notice == "not kept, still recording: the bag cannot be written; make room"
    assert session.episodes.recording
    assert (session.episodes.scene, session.episodes.kept) == (7, 0)
    session.step(Wish())
    full[0] = False
    session.say("success")
    ((log, scene, success),) = kept
    assert (scene, success) == (7, True)
    assert isinstance(log, TopicLog)
    assert (session.episodes.scene, session.episodes.kept, session.episodes.recording) == (8, 1, False)
