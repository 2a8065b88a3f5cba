# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from rosbag_tools import bag_schema
from rosbag_tools.bag_schema import EVENTS_TOPIC
from rosbag_tools.errors import BagError
from rosbag_tools.reading.episodes import Episode, LeftOut, find_episodes
from rosbag_tools.reading.reader import Bag

MS = 1_000_000


def episodes_of(robot, path, events=(), custom=None):
    """Episodes of a bag with these (kind, ms, outcome) markers."""
    messages = robot.messages(2.0)
    base = robot.start_ns
    marks = [
        (EVENTS_TOPIC, base + at * MS, robot.event(kind, base + at * MS, outcome, episode_id=f"e{at}"))
        for kind, at, outcome in events
    ]
    written = robot.write(path, sorted(messages + marks, key=lambda item: item[1]), custom=custom)
    with Bag.open(written) as bag:
        found = find_episodes(bag)
        whole = (bag.start_ns, bag.end_ns)
    return found, [((item.start_ns - base) / MS, (item.end_ns - base) / MS) for item in found], whole


def test_without_markers_the_bag_is_one_episode(robot, tmp_path):
    custom = {
        bag_schema.KEY_TASK: "pour",
        bag_schema.KEY_OUTCOME: "success",
        bag_schema.KEY_OPERATOR: "ann",
        bag_schema.KEY_EPISODE: "x1",
        bag_schema.KEY_NOTE: "slow",
    }
    found, _, whole = episodes_of(robot, tmp_path / "bag", custom=custom)
    assert found == [Episode(whole[0], whole[1], "x1", "pour", "ann", "success", "slow")]


def test_markers_cut_episodes(robot, tmp_path):
    events = [(1, 100, 0), (2, 500, 1), (1, 600, 0), (2, 900, 2), (1, 1000, 0), (3, 1200, 0)]
    found, times, _ = episodes_of(robot, tmp_path / "bag", events)
    assert times == [(100, 500), (600, 900), (1000, 1200)]
    assert [item.outcome for item in found] == ["success", "failure", "unknown"]
    assert [item.discarded for item in found] == [False, False, True]
    assert (found[0].task, found[0].operator, found[0].episode_id) == ("from the marker", "ann", "e100")


def test_an_episode_without_an_end_reaches_to_the_next_or_to_the_bags_end(robot, tmp_path):
    _, times, whole = episodes_of(robot, tmp_path / "bag", [(1, 100, 0), (1, 600, 0)])
    assert times == [(100, 600 - 1e-6), (600, (whole[1] - robot.start_ns) / MS)]


def test_an_end_without_a_start_is_no_episode(robot, tmp_path):
    found, _, whole = episodes_of(robot, tmp_path / "bag", [(2, 100, 1)])
    assert [(item.start_ns, item.end_ns) for item in found] == [whole]


@pytest.mark.parametrize(
    ("episode", "keep", "reason"),
    [
        (Episode(0, 1), False, None),
        (Episode(0, 1, outcome="success"), False, None),
        (Episode(0, 1, outcome="failure"), False, LeftOut.FAILURE),
        (Episode(0, 1, outcome="failure"), True, None),
        (Episode(0, 1, discarded=True), True, LeftOut.DISCARDED),
    ],
)
def test_left_out(episode, keep, reason):
    assert episode.left_out(keep_failures=keep) is reason


def test_when_the_marker_topic_has_another_type_expect_error(robot, tmp_path):
    path = robot.write(
        tmp_path / "bag", [(EVENTS_TOPIC, 1, robot.string("x"))], types={EVENTS_TOPIC: "std_msgs/msg/String"}
    )
    with Bag.open(path) as bag, pytest.raises(BagError, match="type std_msgs/msg/String, expected hpt_msgs"):
        find_episodes(bag)
