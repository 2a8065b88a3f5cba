# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from support.embodiments import embodiment, joints, limit, trajectory

from hpt_ros.dataset import DatasetError, DatasetExistsError, DatasetWriter, write_dataset
from hpt_ros.dataset.layout import VIDEO_PATH
from hpt_ros.embodiment import Embodiment


def listing(folder):
    """Names in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


def episode(robot, length, seed, task="push"):
    random = np.random.default_rng(seed)
    images = {
        name: np.stack(
            [np.full((16, 24, 3), (37 * seed + 50 * tick) % 256, np.uint8) for tick in range(length)]
        )
        for name in ("left", "right")
    }
    return task, images, random.normal(size=(length, 4)), random.normal(size=(length, 2))


def read(folder, pattern):
    paths = sorted((folder / pattern).glob("*/*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def frames(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def written(robot, tmp_path_factory):
    out = tmp_path_factory.mktemp("datasets") / "tiny"
    episodes = [episode(robot, 5, 0), episode(robot, 7, 1, "pull"), episode(robot, 4, 2)]
    write_dataset(out, robot.embodiment, episodes)
    return out, episodes


def test_state_and_action_come_back_exactly(written):
    out, episodes = written
    rows = read(out, "data")
    for key, column in ((2, "observation.state"), (3, "action")):
        expected = np.concatenate([item[key] for item in episodes]).astype(np.float32)
        np.testing.assert_array_equal(np.array([row[column] for row in rows], np.float32), expected)


def test_a_row_group_is_an_episode(written):
    """So that readers of single episodes, as LeRobot's, read no other."""
    out, episodes = written
    (path,) = (out / "data").glob("*/*.parquet")
    with pq.ParquetFile(path) as file:
        groups = [
            file.read_row_group(number).column("episode_index").to_pylist()
            for number in range(file.num_row_groups)
        ]
    assert groups == [[number] * len(item[3]) for number, item in enumerate(episodes)]


def test_counters_count(written):
    out, _ = written
    rows = read(out, "data")
    assert [row["index"] for row in rows] == list(range(16))
    assert [row["episode_index"] for row in rows] == [0] * 5 + [1] * 7 + [2] * 4
    assert [row["frame_index"] for row in rows] == [*range(5), *range(7), *range(4)]
    assert [row["task_index"] for row in rows] == [0] * 5 + [1] * 7 + [0] * 4
    assert [row["timestamp"] for row in rows] == pytest.approx([row["frame_index"] / 10 for row in rows])


def test_each_frame_is_where_its_episode_says(written):
    out, episodes = written
    for name in ("left", "right"):
        key = f"observation.images.{name}"
        found = frames(out / VIDEO_PATH.format(video_key=key, chunk_index=0, file_index=0))
        times = {round(time * 10): picture for time, picture in found}
        assert sorted(times) == list(range(16))
        for record, (_, images, _, _) in zip(read(out, "meta/episodes"), episodes, strict=True):
            start = record[f"videos/{key}/from_timestamp"]
            assert record[f"videos/{key}/to_timestamp"] == pytest.approx(start + record["length"] / 10)
            for tick, picture in enumerate(images[name]):
                decoded = times[round((start + tick / 10) * 10)]
                assert np.abs(decoded.astype(int) - picture).max() <= 3


def test_frame_times_are_exact_multiples(written):
    out, _ = written
    path = out / VIDEO_PATH.format(video_key="observation.images.left", chunk_index=0, file_index=0)
    # LeRobot refuses a frame that is more than 0.1 ms away from its timestamp.
    assert [time for time, _ in frames(path)] == pytest.approx([tick / 10 for tick in range(16)], abs=1e-5)


def test_every_episode_begins_with_a_key_frame(written):
    out, _ = written
    path = out / VIDEO_PATH.format(video_key="observation.images.left", chunk_index=0, file_index=0)
    with av.open(str(path)) as container:
        keys = [index for index, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert {0, 5, 12} <= set(keys)


def test_episode_records_have_lerobots_columns(written):
    out, _ = written
    records = read(out, "meta/episodes")
    assert [(item["dataset_from_index"], item["dataset_to_index"]) for item in records] == [
        (0, 5),
        (5, 12),
        (12, 16),
    ]
    assert [item["tasks"] for item in records] == [["push"], ["pull"], ["push"]]
    for column in (
        "data/chunk_index",
        "data/file_index",
        "meta/episodes/chunk_index",
        "meta/episodes/file_index",
    ):
        assert [item[column] for item in records] == [0, 0, 0]
    assert np.shape(records[0]["stats/observation.images.left/mean"]) == (3, 1, 1)
    assert np.shape(records[0]["stats/observation.state/q99"]) == (4,)
    assert records[1]["stats/action/count"] == [7]


def test_info_describes_the_features(written, robot):
    out, _ = written
    info = json.loads((out / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["fps"] == 10
    assert info["robot_type"] == "tiny"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 16, 2)
    assert info["splits"] == {"train": "0:3"}
    features = info["features"]
    assert features["observation.images.left"]["dtype"] == "video"
    assert features["observation.images.left"]["shape"] == [16, 24, 3]
    assert features["observation.images.left"]["info"]["video.codec"] == "h264"
    assert features["observation.state"]["names"] == ["a.position", "b.position", "a.velocity", "b.velocity"]
    assert features["action"] == {"dtype": "float32", "shape": [2], "names": ["b", "a"]}
    assert Embodiment.load(out / "meta/hpt/embodiment.yaml") == robot.embodiment


def test_tasks_are_a_pandas_table_indexed_by_text(written):
    out, _ = written
    table = pq.read_table(out / "meta/tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "__index_level_0__": ["push", "pull"]}
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]


def test_statistics_are_those_of_all_rows(written):
    out, episodes = written
    statistics = json.loads((out / "meta/stats.json").read_text())
    action = np.concatenate([item[3] for item in episodes]).astype(np.float32).astype(np.float64)
    for key in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(statistics["action"][key], getattr(action, key)(axis=0), rtol=1e-12)
    assert statistics["action"]["count"] == [16]
    pixels = np.concatenate([item[1]["left"] for item in episodes]) / 255.0
    for key in ("min", "max", "mean", "std"):
        expected = getattr(pixels, key)(axis=(0, 1, 2)).reshape(3, 1, 1)
        np.testing.assert_allclose(statistics["observation.images.left"][key], expected, rtol=1e-9)


def test_the_same_arrays_give_the_same_bytes(written, robot, tmp_path):
    out, episodes = written
    again = write_dataset(tmp_path / "again", robot.embodiment, episodes)
    paths = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert paths == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert len(paths) == 9
    for path in paths:
        assert (out / path).read_bytes() == (again / path).read_bytes(), path


def test_one_dimensional_vectors_are_plain_columns(tmp_path):
    robot = embodiment("lever", [joints("a")], trajectory([limit("a")]))
    values = np.arange(3.0)[:, None]
    out = write_dataset(tmp_path / "one", robot, [("t", {}, values, -values)])
    assert [(row["observation.state"], row["action"]) for row in read(out, "data")] == [
        (0, 0),
        (1, -1),
        (2, -2),
    ]
    info = json.loads((out / "meta/info.json").read_text())
    assert info["video_path"] is None


def test_files_roll_over_at_their_size(robot, tmp_path, monkeypatch):
    monkeypatch.setattr("hpt_ros.dataset.files.VIDEO_FILE_MB", 0)
    monkeypatch.setattr("hpt_ros.dataset.files.DATA_FILE_MB", 0)
    monkeypatch.setattr("hpt_ros.dataset.layout.FILES_PER_CHUNK", 2)
    episodes = [episode(robot, 3, seed) for seed in range(5)]
    out = write_dataset(tmp_path / "many", robot.embodiment, episodes)
    records = read(out, "meta/episodes")
    key = "videos/observation.images.right"
    places = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert [(item["data/chunk_index"], item["data/file_index"]) for item in records] == places
    assert [(item[f"{key}/chunk_index"], item[f"{key}/file_index"]) for item in records] == places
    assert [item[f"{key}/from_timestamp"] for item in records] == [0.0] * 5
    path = VIDEO_PATH.format(video_key="observation.images.right", chunk_index=2, file_index=0)
    assert np.abs(frames(out / path)[1][1].astype(int) - episodes[4][1]["right"][1]).max() <= 3


def test_when_out_exists_expect_error_and_nothing_touched(robot, tmp_path):
    out = tmp_path / "there"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(DatasetExistsError, match="there' exists already; give another --out"):
        write_dataset(out, robot.embodiment, [episode(robot, 3, 0)])
    with pytest.raises(DatasetExistsError, match="is no LeRobot dataset"):
        write_dataset(out, robot.embodiment, [episode(robot, 3, 0)], overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "precious"]


def test_overwrite_replaces_a_dataset(robot, tmp_path):
    out = write_dataset(tmp_path / "d", robot.embodiment, [episode(robot, 3, 0)])
    write_dataset(out, robot.embodiment, [episode(robot, 4, 1)], overwrite=True)
    assert len(read(out, "data")) == 4
    assert listing(tmp_path) == ["d"]


def test_an_interruption_leaves_what_was_there(robot, tmp_path):
    out = write_dataset(tmp_path / "d", robot.embodiment, [episode(robot, 3, 0)])

    def interrupted():
        yield episode(robot, 4, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(out, robot.embodiment, interrupted(), overwrite=True)
    assert len(read(out, "data")) == 3
    assert listing(tmp_path) == ["d"]


def test_when_no_episode_was_appended_expect_error(robot, tmp_path):
    with (
        pytest.raises(DatasetError, match="no episode is left"),
        DatasetWriter(tmp_path / "d", robot.embodiment) as writer,
    ):
        writer.finish()
    assert listing(tmp_path) == []


def test_when_a_shape_is_wrong_expect_the_feature_named(robot, tmp_path):
    task, images, state, action = episode(robot, 3, 0)
    for bad in [(task, images, state[:, :3], action), (task, {"left": images["left"]}, state, action)]:
        with pytest.raises(DatasetError, match="feature 'observation.*' of a tick has shape"):
            write_dataset(tmp_path / "d", robot.embodiment, [bad])


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("tick_hz: 10.0", "tick_hz: 12.5", "tick_hz 12.5, but LeRobotDataset v3.0 keeps whole frames"),
        ("height: 16, width: 24", "height: 16, width: 25", "images of 16x25, expected an even"),
    ],
)
def test_when_the_embodiment_does_not_fit_the_format_expect_error(robot, tmp_path, old, new, match):
    with pytest.raises(DatasetError, match=match):
        write_dataset(tmp_path / "d", Embodiment.loads(robot.text.replace(old, new)), [])


def test_when_the_folder_cannot_be_made_expect_error(robot, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match="cannot be made"):
        write_dataset(tmp_path / "file" / "d", robot.embodiment, [])


def test_dataset_to_arrays_to_dataset_is_exact(robot, written, tmp_path):
    """State and action to the bit, and so every byte of the rows; what is read back is written again."""
    from hpt_ros.dataset import open_dataset
    from hpt_ros.learning import open_cache

    out, _ = written
    embodiment = robot.embodiment
    dataset = open_dataset(out)
    frames = open_cache(dataset, tmp_path / "cache").frames
    views = [stream.name for stream in embodiment.image_streams]
    episodes = []
    for episode in dataset.episodes:
        rows = slice(episode.start, episode.stop)
        arrays = {name: frames[rows, view] for view, name in enumerate(views)}
        episodes.append((episode.task, arrays, dataset.state[rows], dataset.action[rows]))
    again = write_dataset(tmp_path / "again", embodiment, episodes)
    data = "data/chunk-000/file-000.parquet"
    assert (again / data).read_bytes() == (out / data).read_bytes()
    second = open_dataset(again)
    np.testing.assert_array_equal(second.state, dataset.state)
    np.testing.assert_array_equal(second.action, dataset.action)
