# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Appending: new bags join a dataset, what was there stays byte for byte, and nothing is half done."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.refused import refused
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.dataset import DatasetError, open_dataset
from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.errors import Code
from hpt_ros.learning import open_cache
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError


@pytest.fixture(scope="module")
def senses():
    return Senses()


@pytest.fixture(scope="module")
def bags(senses, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    for index, task in enumerate(("pour", "wipe", "pour")):
        senses.write(folder / f"bag{index}", senses.all_messages(1.6 + 0.3 * index, ((-30, task),)))
    return folder


def snapshot(folder):
    files = [path for part in ("data", "videos") for path in (folder / part).rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_bags_appended_one_by_one_are_the_dataset_of_all(senses, bags, tmp_path):
    one, all_ = tmp_path / "one", tmp_path / "all"
    convert([bags], all_, senses.embodiment)
    kept = {}
    for index in range(3):
        convert([bags / f"bag{index}"], one, senses.embodiment, Options(append=True))
        now = snapshot(one)
        assert kept.items() <= now.items()
        assert len(now) == 3 * (index + 1)  # a data file and two videos each time
        kept = now
    appended, whole = open_dataset(one), open_dataset(all_)
    np.testing.assert_array_equal(appended.state, whole.state)
    np.testing.assert_array_equal(appended.action, whole.action)
    for name in whole.arrays:
        np.testing.assert_array_equal(appended.arrays[name], whole.arrays[name])
    np.testing.assert_array_equal(open_cache(appended).frames, open_cache(whole).frames)
    assert [(e.start, e.stop, e.task) for e in appended.episodes] == [
        (e.start, e.stop, e.task) for e in whole.episodes
    ]
    assert appended.tasks == whole.tasks == ("pour", "wipe")
    for name in ("meta/stats.json", "meta/info.json", "meta/hpt/report.json", "meta/hpt/embodiment.yaml"):
        assert json_or_text(one / name) == json_or_text(all_ / name)
    assert (one / "meta/tasks.parquet").read_bytes() == (all_ / "meta/tasks.parquet").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def json_or_text(path):
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else text


def test_bags_that_are_there_already_are_passed_over(senses, bags, tmp_path):
    out = tmp_path / "out"
    convert([bags / "bag0"], out, senses.embodiment)
    report = convert([bags], out, senses.embodiment, Options(append=True))
    assert [entry.source for entry in report.episodes] == [str(bags / "bag1"), str(bags / "bag2")]
    assert len(open_dataset(out).episodes) == 3
    before = snapshot(out)
    with pytest.raises(BagError, match="all 3 bags are in the dataset"):
        convert([bags], out, senses.embodiment, Options(append=True))
    assert snapshot(out) == before


def test_when_appending_fails_expect_the_dataset_as_it_was(senses, bags, tmp_path):
    out = tmp_path / "out"
    convert([bags / "bag0"], out, senses.embodiment)
    before = snapshot(out)
    messages = senses.all_messages(1.6)
    for topic, _, message in messages:
        if topic == "/command":
            message.joint_names = ["x", "y"]
    wrong = senses.write(tmp_path / "wrong", messages)
    with pytest.raises(BagError, match="lacks the joint"):
        convert([bags / "bag1", wrong], out, senses.embodiment, Options(append=True))
    assert snapshot(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "wrong"]


def test_when_the_robot_is_another_expect_the_field(senses, bags, tmp_path):
    out = tmp_path / "out"
    convert([bags / "bag0"], out, senses.embodiment)
    other = Embodiment.loads(senses.text.replace("points: 6", "points: 5"))
    with refused(EmbodimentError, Code.MISMATCH, problem="points is 5 in the first and 6"):
        convert([bags / "bag1"], out, other, Options(append=True))
    with pytest.raises(BagError, match="actions of the source 'command', but 'state' was asked for"):
        convert([bags / "bag1"], out, senses.embodiment, Options(append=True, action_source="state"))


@pytest.mark.parametrize("damage", ["no report", "other count", "not there"])
def test_when_it_is_no_dataset_of_ours_expect_a_sentence(senses, bags, tmp_path, damage):
    out = tmp_path / "out"
    if damage == "not there":
        out.mkdir()
    else:
        convert([bags / "bag0"], out, senses.embodiment)
    if damage == "no report":
        (out / "meta/hpt/report.json").unlink()
    elif damage == "other count":
        path = out / "meta/info.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "total_frames": 3}))
    with pytest.raises(DatasetError, match="cannot be appended to"):
        convert([bags / "bag1"], out, senses.embodiment, Options(append=True))


def test_when_the_episode_table_has_no_quantiles_expect_a_remedy_that_works(senses, bags, tmp_path, capsys):
    folder = tmp_path / "dataset"
    convert([bags / "bag0"], folder, senses.embodiment)
    path = next((folder / "meta/episodes").rglob("*.parquet"))
    table = pq.read_table(path)
    lost = [name for name in table.column_names if name.rpartition("/")[2] in ("q01", "q50")]
    pq.write_table(table.drop_columns(lost), path)
    (tmp_path / "robot.yaml").write_text(senses.text)
    common = ["--embodiment", str(tmp_path / "robot.yaml"), "--out", str(folder)]
    assert main(["convert", str(bags / "bag1"), *common, "--append"]) == 2
    said = capsys.readouterr().err
    assert "row 0, has no " in said
    assert "stats/" in said
    assert "convert all bags again" in said
    assert main(["convert", str(bags), *common, "--overwrite"]) == 0
    assert len(open_dataset(folder).episodes) == 3


def test_the_command_line_appends(senses, bags, tmp_path, capsys):
    (tmp_path / "robot.yaml").write_text(senses.text)
    common = ["--embodiment", str(tmp_path / "robot.yaml"), "--out", str(tmp_path / "out")]
    for index in range(2):
        assert main(["convert", str(bags / f"bag{index}"), *common, "--append"]) == 0
    assert len(open_dataset(tmp_path / "out").episodes) == 2
    assert main(["convert", str(bags), *common, "--append", "--overwrite"]) == 2
    assert "leave --overwrite or --append out" in capsys.readouterr().err
