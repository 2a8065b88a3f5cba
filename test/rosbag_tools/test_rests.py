# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Rests that a conversion cuts out."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError


def resting(robot, moves, duration_s):
    """Messages of a recording in which command and arm go on in these stretches of seconds alone."""

    def way(time_s):
        return sum(float(np.clip(time_s - start, 0.0, stop - start)) for start, stop in moves)

    found = []
    for topic, log_ns, message in robot.messages(duration_s):
        if topic in ("/joint_states", "/command"):
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            make = robot.joints if topic == "/joint_states" else robot.command
            message = make(way((stamp - robot.start_ns) * 1e-9), stamp)
        found.append((topic, log_ns, message))
    return found


def ways(out):
    rows = pq.read_table(out / "data/chunk-000/file-000.parquet").to_pylist()
    return [
        [row["observation.state"][1] for row in rows if row["episode_index"] == index] for index in range(2)
    ]


def test_rests_longer_than_asked_are_cut_out_and_split_the_episode(robot, tmp_path):
    # Rest of 3 s, motion of 2 s, rest of 4 s, motion of 2 s, rest of 1 s.
    messages = resting(robot, ((3.0, 5.0), (9.0, 11.0)), 12.0)
    bag = robot.write(tmp_path / "bag", messages)
    report = convert([bag], tmp_path / "out", robot.embodiment, Options(longest_rest_s=2.0))
    (entry,) = report.episodes
    assert [span.ticks for span in entry.spans if span.episode_index >= 0] == [
        pytest.approx(30, abs=2),  # half a second, 2 s, half a second
        pytest.approx(35, abs=2),  # half a second, 2 s, and the last rest, which is short
    ]
    assert (
        entry.kept + entry.idle + entry.too_short + sum(d.ticks for d in entry.dropped.values())
        >= entry.ticks
    )
    assert entry.idle == pytest.approx(25 + 30, abs=3)
    first, second = ways(tmp_path / "out")
    assert (first[0], first[-1]) == (pytest.approx(0, abs=1e-4), pytest.approx(2, abs=1e-4))
    assert (second[0], second[-1]) == (pytest.approx(2, abs=1e-4), pytest.approx(4, abs=1e-4))
    assert json.loads((tmp_path / "out/meta/hpt/report.json").read_text())["longest_rest_s"] == 2.0


def test_without_the_option_every_rest_stays(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", resting(robot, ((3.0, 5.0),), 8.0))
    (entry,) = convert([bag], tmp_path / "out", robot.embodiment).episodes
    assert (entry.idle, entry.kept) == (0, pytest.approx(79, abs=1))


def test_pauses_shorter_than_asked_stay_where_they_are(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", resting(robot, ((1.0, 2.0), (3.5, 5.0)), 6.0))
    plain = convert([bag], tmp_path / "plain", robot.embodiment)
    trimmed = convert([bag], tmp_path / "trimmed", robot.embodiment, Options(longest_rest_s=2.0))
    assert trimmed.kept == plain.kept
    paths = [path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.parquet")]
    assert len(paths) == 3
    for path in paths:
        assert (tmp_path / "plain" / path).read_bytes() == (tmp_path / "trimmed" / path).read_bytes()


def test_when_nothing_moves_expect_it_said(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", resting(robot, (), 6.0))
    with pytest.raises(BagError, match=r"no episode is left.*\d+ ticks of rests that were cut out"):
        convert([bag], tmp_path / "out", robot.embodiment, Options(longest_rest_s=2.0))
