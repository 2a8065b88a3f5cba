# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which episodes are used, and how much of them: lists of episodes, and rests that are cut off their ends."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.embodiments import camera, embodiment, joints, limit, trajectory
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.dataset import DatasetError, open_dataset, write_dataset
from hpt_ros.dataset.quality.findings import IDLE_EDGE_S
from hpt_ros.dataset.selection import read_episode_list
from hpt_ros.dataset.trim import find_ends
from hpt_ros.learning import open_cache
from rosbag_tools.converting.convert import Options, convert


@pytest.fixture(scope="module")
def senses():
    return Senses()


@pytest.fixture(scope="module")
def bags(senses, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    for number in range(3):
        senses.write(folder / f"bag{number}", senses.all_messages(1.6 + 0.3 * number))
    return folder


def test_a_list_of_episodes_is_checked(tmp_path):
    path = tmp_path / "keep.json"
    path.write_text("[5, 2, 2]")
    assert read_episode_list(path) == (2, 5)
    with pytest.raises(DatasetError, match=r"cannot be read \(No such file"):
        read_episode_list(tmp_path / "none.json")
    path.write_text("[]")
    with pytest.raises(DatasetError, match="names none"):
        read_episode_list(path)
    for text in ("3", "[-1]", "[true]", '["1"]', "[0,"):
        path.write_text(text)
        with pytest.raises(DatasetError, match="the list of episodes"):
            read_episode_list(path)


def test_conversion_keeps_the_episodes_of_a_list(senses, bags, tmp_path, capsys):
    (tmp_path / "robot.yaml").write_text(senses.text)
    (tmp_path / "keep.json").write_text("[0, 2]")
    common = ["convert", str(bags), "--embodiment", str(tmp_path / "robot.yaml")]
    assert main([*common, "--out", str(tmp_path / "all")]) == 0
    assert main([*common, "--out", str(tmp_path / "some"), "--episodes", str(tmp_path / "keep.json")]) == 0
    whole, some = open_dataset(tmp_path / "all"), open_dataset(tmp_path / "some")
    lengths = [episode.length for episode in whole.episodes]
    assert [episode.length for episode in some.episodes] == [lengths[0], lengths[2]]
    np.testing.assert_array_equal(some.state[lengths[0] :], whole.state[sum(lengths[:2]) :])
    capsys.readouterr()
    (tmp_path / "keep.json").write_text("[3]")
    assert main([*common, "--out", str(tmp_path / "more"), "--episodes", str(tmp_path / "keep.json")]) == 2
    assert (
        "names episode 3, but the conversion of these bags has 3 episodes, 0 to 2" in capsys.readouterr().err
    )


def test_a_selected_dataset_has_those_episodes_and_a_cache_of_its_own(senses, bags, tmp_path):
    convert([bags], tmp_path / "all", senses.embodiment, Options())
    whole = open_dataset(tmp_path / "all", cache_root=tmp_path / "cache")
    some = whole.select((1,))
    assert [episode.index for episode in some.episodes] == [1]
    assert some.tasks == (whole.episodes[1].task,)
    rows = slice(some.episodes[0].start, some.episodes[0].stop)
    frames = open_cache(some, tmp_path / "cache").frames
    np.testing.assert_array_equal(frames[rows], open_cache(whole, tmp_path / "cache").frames[rows])
    with pytest.raises(DatasetError, match="names episode 7, but dataset .* has 3 episodes, 0 to 2"):
        whole.select((0, 7))


ROBOT = embodiment(
    "small",
    [camera("top", 16, 24), joints("a", unit="rad")],
    trajectory([limit("a", 2.0, 2.0, 10.0)], rate_hz=50.0),
)


def resting(before, moving, after):
    """An episode that rests, reaches and rests; each image has its tick's number."""
    reach = np.linspace(0.0, 1.0, moving + 1)
    action = np.concatenate([np.zeros(before), reach, np.ones(after)])[:, None]
    images = (
        np.zeros((len(action), 16, 24, 3), np.uint8)
        + np.arange(len(action), dtype=np.uint8)[:, None, None, None]
    )
    return "reach", {"top": images * 2}, action, action


def test_long_rests_are_cut_off_the_ends_and_nothing_else_changes(tmp_path, capsys):
    made = [resting(30, 20, 40), resting(10, 20, 15), resting(50, 0, 0)]
    write_dataset(tmp_path / "source", ROBOT, made)
    source = open_dataset(tmp_path / "source")
    assert [(end.start, end.stop) for end in find_ends(source, IDLE_EDGE_S)] == [(25, 56), (0, 46), (0, 51)]
    assert main(["dataset", "trim", str(tmp_path / "source"), "--out", str(tmp_path / "out")]) == 0
    assert "3 episodes, 128 of 188 ticks; rests were cut off 1 episode (6.0 s)" in capsys.readouterr().out
    out = open_dataset(tmp_path / "out")
    assert [episode.length for episode in out.episodes] == [31, 46, 51]
    np.testing.assert_array_equal(out.action[:31], source.action[25:56])
    frames = open_cache(out, tmp_path / "cache").frames
    np.testing.assert_allclose(frames[:31, 0].mean(axis=(1, 2, 3)), 2 * np.arange(25, 56), atol=3)
    assert main(["dataset", "trim", str(tmp_path / "out"), "--out", str(tmp_path / "again")]) == 0
    np.testing.assert_array_equal(open_dataset(tmp_path / "again").action, out.action)
    assert (
        main(["dataset", "trim", str(tmp_path / "out"), "--out", str(tmp_path / "x"), "--rest", "0.1"]) == 2
    )
    assert "the longest rest is 0.1 s, expected at least 0.5 s" in capsys.readouterr().err


def test_a_trimmed_dataset_of_every_sense_can_still_be_appended_to(senses, bags, tmp_path):
    convert([bags / "bag0"], tmp_path / "source", senses.embodiment)
    assert main(["dataset", "trim", str(tmp_path / "source"), "--out", str(tmp_path / "out")]) == 0
    before, after = open_dataset(tmp_path / "source"), open_dataset(tmp_path / "out")
    for name, values in before.arrays.items():
        start = find_ends(before, IDLE_EDGE_S)[0].start
        np.testing.assert_array_equal(after.arrays[name], values[start : start + after.length])
    report = json.loads((tmp_path / "out/meta/hpt/report.json").read_text())
    assert report["episodes"][0]["spans"][0]["ticks"] == after.length
    convert([bags / "bag1"], tmp_path / "out", senses.embodiment, Options(append=True))
    assert len(open_dataset(tmp_path / "out").episodes) == 2
