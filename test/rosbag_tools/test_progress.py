# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far a conversion is, in seconds of recording, whoever works on it."""

from __future__ import annotations

import pytest

from rosbag_tools.convert import Options, convert
from rosbag_tools.progress import TELL_EVERY_S, Teller, Watch, done_s, told_in


def test_seconds_of_all_bags_are_added_up_and_finished_ones_count_whole(tmp_path):
    lengths_s = {3: 10.0, 5: 20.0, 8: 40.0}
    assert done_s(tmp_path, lengths_s, 0) == 0.0
    Teller(told_in(tmp_path, 5)).reached(4.0)
    Teller(told_in(tmp_path, 8)).reached(41.0)  # a stamp may lie beyond the last log time
    assert done_s(tmp_path, lengths_s, 0) == 44.0
    assert done_s(tmp_path, lengths_s, 1) == 54.0
    assert done_s(tmp_path, lengths_s, 3) == 70.0


def test_when_a_file_is_cut_short_expect_it_to_count_for_nothing(tmp_path):
    told_in(tmp_path, 1).write_bytes(b"\0\0")
    assert done_s(tmp_path, {1: 10.0}, 0) == 0.0


def test_a_teller_writes_only_after_enough_has_been_added(tmp_path):
    file = told_in(tmp_path, 0)
    teller = Teller(file)
    teller.reached(TELL_EVERY_S / 2)
    assert not file.exists()
    teller.reached(3 * TELL_EVERY_S)
    teller.reached(3.5 * TELL_EVERY_S)
    assert done_s(tmp_path, {0: 100.0}, 0) == 3 * TELL_EVERY_S


def test_a_watch_says_how_many_bags_are_converted(tmp_path):
    said = []
    watch = Watch(tmp_path, {0: 10.0, 1: 5.0}, lambda *words: said.append(words))
    Teller(told_in(tmp_path, 1)).reached(2.0)
    watch.look()
    watch.finished_one()
    assert said == [("converting", "0 of 2 bags", 2.0, 15.0), ("converting", "1 of 2 bags", 12.0, 15.0)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_conversion_says_how_far_it_is(robot, tmp_path, workers):
    starts = {"one": robot.start_ns, "two": robot.start_ns + 10**12}
    bags = [robot.write(tmp_path / name, robot.messages(5.0, start_ns=at)) for name, at in starts.items()]
    said = []
    convert(
        bags, tmp_path / "out", robot.embodiment, Options(workers=workers), lambda *words: said.append(words)
    )
    assert [words[1:] for words in said if words[0] == "checking"] == [("one", 0, 2), ("two", 1, 2)]
    converting = [words for words in said if words[0] == "converting"]
    done = [seconds for *_, seconds, _ in converting]
    assert done == sorted(done)
    assert converting[-1][1] == "2 of 2 bags"
    assert converting[-1][2] == converting[-1][3] == pytest.approx(10.0, abs=0.5)
