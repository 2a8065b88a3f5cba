# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conversion with depth as a video: the codes of what rows hold, by any way that a conversion can go."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.refused import refused
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError

NEAR = "observation.depth.near"
VIDEO = Options(depth="video")


@pytest.fixture(scope="module")
def robot():
    """Depth of at least the encoder's size."""
    return Embodiment.loads(Senses().text.replace("{height: 12, width: 16}", "{height: 24, width: 32}"))


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder, senses = tmp_path_factory.mktemp("bags"), Senses()
    for index in range(2):
        senses.write(folder / f"bag{index}", senses.all_messages(1.6 + 0.3 * index))
    return folder


@pytest.fixture(scope="module")
def datasets(robot, bags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    convert([bags], folder / "rows", robot)
    convert([bags], folder / "video", robot, VIDEO)
    return folder


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_video_holds_the_codes_of_the_rows_and_all_else_is_the_same(datasets):
    """Rows are what the robot's own path sees, to the bit; a video is that, quantised."""
    rows, video = open_dataset(datasets / "rows"), open_dataset(datasets / "video")
    codes = DepthCodes()
    assert set(rows.arrays) == set(video.arrays)
    for name in rows.arrays:
        seen = rows.arrays[name]
        expected = codes.millimetres(codes.encode(seen)) if name == NEAR else seen
        np.testing.assert_array_equal(video.arrays[name], expected)
    np.testing.assert_array_equal(rows.state, video.state)
    np.testing.assert_array_equal(rows.action, video.action)


@pytest.mark.parametrize("options", [Options(depth="video", workers=2), Options(depth="video", resume=True)])
def test_workers_and_kept_bags_give_the_same_bytes(robot, bags, datasets, tmp_path, options):
    convert([bags], tmp_path / "out", robot, options)
    assert content(tmp_path / "out") == content(datasets / "video")


def test_what_is_appended_is_stored_as_the_dataset_stores_it(robot, bags, datasets, tmp_path):
    convert([bags / "bag0"], tmp_path / "out", robot, VIDEO)
    with pytest.raises(
        BagError, match="stores depth as 'video', but 'rows' was asked for; leave --depth out"
    ):
        convert([bags / "bag1"], tmp_path / "out", robot, Options(append=True, depth="rows"))
    convert([bags / "bag1"], tmp_path / "out", robot, Options(append=True))
    both, whole = open_dataset(tmp_path / "out"), open_dataset(datasets / "video")
    np.testing.assert_array_equal(both.arrays[NEAR], whole.arrays[NEAR])
    statistics = [json.loads((dataset.root / "meta/stats.json").read_text()) for dataset in (both, whole)]
    assert statistics[0] == statistics[1]


def test_the_verbs_take_it(robot, bags, tmp_path, capsys):
    (tmp_path / "robot.yaml").write_text(robot.to_yaml())
    out = tmp_path / "out"
    command = ["convert", str(bags), "--embodiment", str(tmp_path / "robot.yaml"), "--out", str(out)]
    assert main([*command, "--depth", "video"]) == 0
    assert open_dataset(out).coded
    assert main(["quality", str(out), "--out", str(tmp_path / "page.html"), "--min", "0"]) in (0, 1)
    assert main(["dataset", "trim", str(out), "--out", str(tmp_path / "trimmed")]) == 0
    assert open_dataset(tmp_path / "trimmed").coded
    capsys.readouterr()


def test_when_the_way_is_unknown_expect_those_that_there_are():
    with refused(BagError, Code.UNKNOWN, subject="depth", value="vidoe", remedy="did you mean 'video'"):
        Options(depth="vidoe")
