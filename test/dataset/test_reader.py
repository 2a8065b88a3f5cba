# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.refused import refused
from support.tiny_dataset import EMBODIMENT, LENGTHS, episode_arrays

from hpt_ros.dataset import Dataset, DatasetError, open_dataset
from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.errors import Code
from hpt_ros.learning.cache import open_cache


def edit_info(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def test_reads_what_was_written(dataset: Dataset) -> None:
    assert [episode.length for episode in dataset.episodes] == list(LENGTHS)
    for episode in dataset.episodes:
        _, state, action = episode_arrays(episode.index, episode.length)
        assert np.array_equal(dataset.state[episode.start : episode.stop], state)
        assert np.array_equal(dataset.action[episode.start : episode.stop], action)
    assert {episode.task for episode in dataset.episodes} == {"reach the square"}


def test_the_info_files_templates_are_followed(own_folder: Path) -> None:
    (own_folder / "videos").rename(own_folder / "videos")
    edit_info(own_folder, lambda info: info.update(video_path=info["video_path"].replace("videos", "videos")))
    dataset = open_dataset(own_folder)
    assert dataset.episodes[0].videos[0].path.is_relative_to(own_folder / "videos")


def test_when_the_folder_is_absent_expect_its_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'.*nowhere' does not exist"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no LeRobot dataset"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda info: info.update(codebase_version="v2.1"),
            r"codebase_version 'v2.1'.*make a dataset of it with `hpt import`",
        ),
        (lambda info: info.update(fps=30), "fps 30.*tick_hz 10"),
        (lambda info: info.update(total_frames=61), "total_frames 61.*hold 60"),
        (lambda info: info["features"].pop("action"), "lacks the feature 'action'"),
        (lambda info: info["features"]["action"].update(shape=[2]), r"'action'.*shape \[2\].*\[3\]"),
        (
            lambda info: info["features"]["action"].update(names=["j1", "j3", "j2"]),
            "names .*'j3', 'j2'.*order counts",
        ),
        (lambda info: info["features"]["observation.images.front"].update(dtype="image"), "'image'.*'video'"),
        (lambda info: info.update(video_path="../{video_key}.mp4"), "outside its own folder"),
        (lambda info: info.update(video_path="{wrong}.mp4"), "cannot be filled in"),
        (lambda info: info.update(data_path=3), "data_path = 3"),
    ],
)
def test_when_the_info_file_does_not_fit_expect_one_sentence(
    own_folder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit_info(own_folder, change)
    with pytest.raises(DatasetError, match=message):
        open_dataset(own_folder)


def test_when_the_info_file_is_no_json_expect_its_name(own_folder: Path) -> None:
    (own_folder / "meta/info.json").write_text("{")
    with pytest.raises(DatasetError, match=r"info\.json' cannot be read as JSON"):
        open_dataset(own_folder)


@pytest.mark.parametrize(
    "name", ["data/chunk-000/file-001.parquet", "meta/episodes/chunk-000/file-000.parquet"]
)
def test_when_a_parquet_file_is_truncated_expect_its_name(own_folder: Path, name: str) -> None:
    path = own_folder / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"\.parquet' cannot be read as parquet.*truncated"):
        open_dataset(own_folder)


def test_when_a_data_file_is_missing_expect_the_counts(own_folder: Path) -> None:
    (own_folder / "data/chunk-000/file-001.parquet").unlink()
    with pytest.raises(DatasetError, match="total_frames 60.*hold 46 rows"):
        open_dataset(own_folder)


def test_when_a_video_is_missing_expect_its_name(own_folder: Path) -> None:
    (own_folder / "videos/observation.images.wrist/chunk-000/file-001.mp4").unlink()
    with pytest.raises(
        DatasetError, match=r"lacks the video 'videos/observation.images.wrist/chunk-000/file-001.mp4'"
    ):
        open_dataset(own_folder)


def test_when_a_value_is_not_finite_expect_the_episode(own_folder: Path) -> None:
    path = own_folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[20]["action"][1] = float("nan")
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    with pytest.raises(DatasetError, match="episode 1, row 20 has nan in column 'action' at 1"):
        open_dataset(own_folder)


def test_when_rows_are_out_of_order_expect_the_row(own_folder: Path) -> None:
    path = own_folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0, *range(2, table.num_rows)]), path)
    with pytest.raises(DatasetError, match="index 1 of episode 0 in row 0"):
        open_dataset(own_folder)


def test_when_a_video_is_truncated_expect_its_name(own_folder: Path, tmp_path: Path) -> None:
    path = own_folder / "videos/observation.images.front/chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DatasetError, match=r"file-000.mp4' (cannot be decoded|holds \d+ frames)"):
        open_cache(open_dataset(own_folder), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())  # nothing half written


def test_when_a_video_is_too_short_expect_both_counts(own_folder: Path, tmp_path: Path) -> None:
    folder = own_folder / "videos/observation.images.front/chunk-000"
    (folder / "file-000.mp4").write_bytes((folder / "file-001.mp4").read_bytes())
    with pytest.raises(DatasetError, match="ends before frame 14, expected 46 frames"):
        open_cache(open_dataset(own_folder), tmp_path / "cache")


def test_when_the_embodiment_is_missing_expect_it_may_be_given(own_folder: Path) -> None:
    (own_folder / "meta/hpt/embodiment.yaml").unlink()
    with pytest.raises(
        DatasetError,
        match="no 'meta/hpt/embodiment.yaml', so it was made elsewhere, .* or name the robot with --embodiment",
    ):
        open_dataset(own_folder)
    assert open_dataset(own_folder, Embodiment.loads(EMBODIMENT)).length == sum(LENGTHS)


def test_when_another_embodiment_is_given_expect_both_values(dataset_folder: Path) -> None:
    other = Embodiment.loads(EMBODIMENT.replace("topic: /commands", "topic: /orders"))
    with refused(
        EmbodimentError,
        Code.MISMATCH,
        problem="action.topic is /orders in the first and /commands in the second",
    ):
        open_dataset(dataset_folder, other)


def test_when_the_given_embodiment_has_another_horizon_expect_it_used(dataset_folder: Path) -> None:
    other = Embodiment.loads(EMBODIMENT.replace("observation_horizon: 2", "observation_horizon: 3"))
    assert open_dataset(dataset_folder, other).embodiment.observation_horizon == 3
