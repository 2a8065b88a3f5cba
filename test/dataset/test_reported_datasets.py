# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Datasets as public reports describe them, by their number: imported, or refused for what is wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.foreign_dataset import LENGTHS, TASKS, write_v21, write_v30

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset


def change_info(source, change):
    path = source / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def change_tables(source, change, pattern="data/**/*.parquet"):
    for path in sorted(source.glob(pattern)):
        pq.write_table(change(pq.read_table(path)), path)


def imported(source, tmp_path, *options, status=0):
    assert main(["import", str(source), "--out", str(tmp_path / "out"), *options]) == status
    return open_dataset(tmp_path / "out") if not status else None


def test_lerobot_1032_columns_are_called_state_and_actions(tmp_path):
    """Also lerobot #905, #3039: what openpi's converters write."""
    source = write_v21(tmp_path / "source", images="image")
    names = {"observation.state": "state", "action": "actions", "observation.images.top": "image"}
    change_info(
        source, lambda info: info.update(features={names.get(k, k): v for k, v in info["features"].items()})
    )
    change_tables(source, lambda table: table.rename_columns([names.get(k, k) for k in table.column_names]))
    dataset = imported(source, tmp_path)
    assert (dataset.state.shape, dataset.action.shape) == ((19, 4), (19, 2))
    assert [stream.name for stream in dataset.embodiment.image_streams] == ["image", "wrist_cam"]


def test_any4lerobot_97_the_state_is_in_several_columns(tmp_path, capsys):
    """Also OpenDriveLab/AgiBot-World #124: version 3 of that dataset has no state of one column."""
    source = write_v21(tmp_path / "source")

    def parts(info):
        state = info["features"].pop("observation.state")
        for name in ("observation.states.joint.position", "observation.states.head.position"):
            info["features"][name] = {**state, "shape": [2], "names": {"motors": ["a", "b"]}}

    def split(table):
        state = np.array(table.column("observation.state").to_pylist(), np.float32)
        table = table.drop_columns(["observation.state"])
        for name, values in (("joint", state[:, :2]), ("head", state[:, 2:])):
            table = table.append_column(f"observation.states.{name}.position", pa.array(list(values)))
        return table

    change_info(source, parts)
    change_tables(source, split)
    columns = ["observation.states.joint.position", "observation.states.head.position"]
    imported(source, tmp_path, "--state", "observation.state", status=2)
    assert "observation.states.head.position (2)" in capsys.readouterr().err
    assert imported(source, tmp_path, "--state", *columns).state.shape == (19, 4)


def test_lerobot_2401_a_stale_file_index_costs_one_episode(tmp_path, capsys):
    source = write_v30(tmp_path / "source")

    def stale(table):
        place = table.column_names.index("data/file_index")
        return table.set_column(place, "data/file_index", pa.array([0, 7, 0]))

    change_tables(source, stale, "meta/episodes/**/*.parquet")
    imported(source, tmp_path, status=2)
    assert "file-007.parquet' is missing" in capsys.readouterr().err
    dataset = imported(source, tmp_path, "--skip-bad")
    assert [episode.length for episode in dataset.episodes] == [LENGTHS[0], LENGTHS[2]]


def test_lerobot_1317_a_camera_that_no_row_has(tmp_path, capsys):
    source = write_v21(tmp_path / "source", images="image")
    change_tables(source, lambda table: table.drop_columns(["observation.images.top"]))
    imported(source, tmp_path, status=2)
    assert "has no column 'observation.images.top' of images" in capsys.readouterr().err


def test_lerobot_2283_whole_numbers_with_gaps(tmp_path, capsys):
    """pandas makes doubles of them."""
    source = write_v30(tmp_path / "source")

    def gaps(table):
        for name in ("length", "data/chunk_index", "data/file_index"):
            values = [float(value) for value in table.column(name).to_pylist()]
            if name == "length":
                values[1] = float("nan")
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
        return table

    change_tables(source, gaps, "meta/episodes/**/*.parquet")
    imported(source, tmp_path, status=2)
    assert "row 1, has length = nan, expected a whole number from 0 on" in capsys.readouterr().err
    assert [episode.length for episode in imported(source, tmp_path, "--skip-bad").episodes] == [6, 4]


def test_lerobot_2652_files_of_one_version_and_the_number_of_another(tmp_path, capsys):
    source = write_v21(tmp_path / "source")
    change_info(source, lambda info: info.update(codebase_version="v3.0"))
    imported(source, tmp_path, status=2)
    assert "codebase_version 'v3.0', but the files of v2.1 (meta/episodes.jsonl)" in capsys.readouterr().err
    change_info(source, lambda info: info.update(codebase_version="v2.1"))  # as it says
    assert len(imported(source, tmp_path).episodes) == 3


@pytest.mark.parametrize("report", ["lerobot 2364", "lerobot 2627"])
def test_images_that_lie_elsewhere_in_their_video(report, tmp_path, capsys):
    source = write_v30(tmp_path / "source")
    if report == "lerobot 2364":  # a video of another rate than the rows
        change_info(source, lambda info: info.update(fps=15))
        words = "has 10 images a second, but meta/info.json states 15 rows"
    else:  # beyond the video's end, after merging

        def shift(table):
            for name in table.column_names:
                if name.endswith("from_timestamp"):
                    values = [*table.column(name).to_pylist()[:2], 460.4]
                    table = table.set_column(table.column_names.index(name), name, pa.array(values))
            return table

        change_tables(source, shift, "meta/episodes/**/*.parquet")
        words = "has 0 images of view"
    imported(source, tmp_path, status=2)
    assert words in capsys.readouterr().err


def test_unitree_lerobot_41_each_episode_begins_at_zero(tmp_path):
    source = write_v21(tmp_path / "source")
    assert [episode.task for episode in imported(source, tmp_path).episodes] == list(TASKS)


def test_gr00t_288_and_408_json_over_several_lines_or_none(tmp_path, capsys):
    source = write_v21(tmp_path / "source")
    path = source / "meta/episodes.jsonl"
    path.write_text('{\n  "episode_index": 0,\n  "length": 6\n}\n')
    imported(source, tmp_path, status=2)
    assert "episodes.jsonl' cannot be read as lines of JSON" in capsys.readouterr().err
    path.unlink()
    imported(source, tmp_path, status=2)
    assert "episodes.jsonl' cannot be read as lines of JSON" in capsys.readouterr().err


@pytest.mark.parametrize("content", ['{\n  "task_index": 0,\n  "task": "pour"\n}\n', None])
def test_gr00t_288_tasks_over_several_lines_or_none_are_those_of_the_episodes(content, tmp_path, capsys):
    source = write_v21(tmp_path / "source")
    path = source / "meta/tasks.jsonl"
    path.write_text(content) if content else path.unlink()
    assert [episode.task for episode in imported(source, tmp_path).episodes] == list(TASKS)
    assert "tasks.jsonl' cannot be read as lines of JSON" in capsys.readouterr().out


def test_lerobot_2467_rows_without_a_task_have_that_of_their_episode(tmp_path):
    source = write_v21(tmp_path / "source")
    change_tables(source, lambda table: table.drop_columns(["task_index"]))
    assert [episode.task for episode in imported(source, tmp_path).episodes] == list(TASKS)


@pytest.mark.parametrize("mark", ["info", "legacy info", "video_info", "one channel", "16 bits", "dtype"])
def test_lerobot_1144_and_3644_depth_is_no_colour_view(mark, tmp_path, capsys):
    import cv2

    source = write_v21(tmp_path / "source", images="image" if mark == "16 bits" else "video")

    def note(info):
        feature = info["features"]["observation.images.top"]
        if mark == "one channel":
            feature["shape"] = [16, 24, 1]
        elif mark == "dtype":
            feature.update(dtype="depth", shape=[16, 24])
        elif mark != "16 bits":
            key = "is_depth_map" if mark == "info" else "video.is_depth_map"
            feature["video_info" if mark == "video_info" else "info"] = {key: True}

    def deepen(table):
        data = cv2.imencode(".png", np.full((16, 24), 900, np.uint16))[1].tobytes()
        column = pa.array([{"bytes": data, "path": None}] * table.num_rows)
        return table.set_column(
            table.column_names.index("observation.images.top"), "observation.images.top", column
        )

    change_info(source, note)
    if mark == "16 bits":
        change_tables(source, deepen)
    dataset = imported(source, tmp_path)
    assert [stream.name for stream in dataset.embodiment.image_streams] == ["wrist_cam"]
    assert "observation.images.top" in capsys.readouterr().out.partition("left out: ")[2]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([["a", "b"]], ("a", "b")),
        ({"arm": ["a"], "grip": ["b"]}, ("a", "b")),
        ({"left": ["waist"], "right": ["waist"]}, ("left_waist", "right_waist")),
        ({"a": 0, "b": 1}, ("a", "b")),
        (["a"], ("action_0", "action_1")),
    ],
)
def test_names_may_be_nested_as_in_unitrees_datasets(names, expected, tmp_path):
    source = write_v21(tmp_path / "source")
    change_info(source, lambda info: info["features"]["action"].update(names=names))
    assert imported(source, tmp_path).embodiment.action.names == expected


def test_a_rate_of_ntsc_is_taken_for_the_whole_number(tmp_path, capsys):
    source = write_v21(tmp_path / "source", images="image")
    change_info(source, lambda info: info.update(fps=29.97))
    assert imported(source, tmp_path).embodiment.tick_hz == 30
    assert "note: 30 Hz was taken, meta/info.json states 29.97" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_counts_and_names_that_nobody_needs_may_lack(version, tmp_path):
    source = write_v21(tmp_path / "source") if version == "v2.1" else write_v30(tmp_path / "source")

    def lack(info):
        for key in ("total_frames", "total_episodes", "total_tasks", "splits", "robot_type"):
            info.pop(key, None)

    change_info(source, lack)
    assert [episode.task for episode in imported(source, tmp_path).episodes] == list(TASKS)


def test_a_robot_may_be_named_in_a_list(tmp_path):
    source = write_v21(tmp_path / "source")
    change_info(source, lambda info: info.update(robot_type=["so100", "leader"]))
    assert imported(source, tmp_path).embodiment.name == "so100_leader"
