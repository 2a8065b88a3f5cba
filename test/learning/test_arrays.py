# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Datasets of every modality: what is written is what `gather` gives, and large arrays stay on disk."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.refused import refused
from support.tiny_dataset import EMBODIMENT

from hpt_ros.dataset import Dataset, DatasetError, open_dataset, write_dataset
from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.errors import Code
from hpt_ros.learning import Windows, gather, open_feature_cache

STREAMS = """
  - {name: depth_left, modality: depth, topic: /dl, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.1,
     image: {height: 8, width: 10}}
  - {name: depth_right, modality: depth, topic: /dr, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.1,
     image: {height: 8, width: 10}}
  - {name: finger, modality: tactile, topic: /f, type: std_msgs/msg/Float32MultiArray, rate_hz: 10.0,
     tolerance_s: 0.1, length: 5}
  - {name: thumb, modality: tactile, topic: /t, type: std_msgs/msg/Float32MultiArray, rate_hz: 10.0,
     tolerance_s: 0.1, length: 5}
  - {name: cloud, modality: pointcloud, topic: /pc, type: sensor_msgs/msg/PointCloud2, rate_hz: 10.0,
     tolerance_s: 0.1, points: 7}
  - {name: tool, modality: wrench, topic: /w, type: geometry_msgs/msg/WrenchStamped, rate_hz: 10.0, tolerance_s: 0.1}
  - {name: task, modality: language, topic: /task, type: std_msgs/msg/String, rate_hz: 1.0, tolerance_s: 60.0}
action:"""
LENGTHS = (5, 4, 6)
TASKS = ("pull", "push", "pull")
ALL = ("image", "depth", "state", "wrench", "tactile", "pointcloud", "actions", "language")


def arrays(index: int, length: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    random = np.random.default_rng(index)
    found: dict[str, np.ndarray] = {
        name: random.integers(0, 255, (length, 32, 48, 3), np.uint8) for name in ("front", "wrist")
    }
    for name in ("depth_left", "depth_right"):
        found[name] = random.integers(0, 1 << 16, (length, 8, 10), np.uint16)
    for name in ("finger", "thumb"):
        found[name] = random.normal(size=(length, 5)).astype(np.float32)
    found["cloud"] = random.normal(size=(length, 7, 3)).astype(np.float32)
    found["wrench"] = random.normal(size=(length, 6)).astype(np.float32)
    return found, random.normal(size=(length, 3)), random.normal(size=(length, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    robot = Embodiment.loads(EMBODIMENT.replace("\naction:", STREAMS))
    episodes = [(task, *arrays(i, n)) for i, (task, n) in enumerate(zip(TASKS, LENGTHS, strict=True))]
    return write_dataset(tmp_path_factory.mktemp("all") / "senses", robot, episodes)


@pytest.fixture(scope="module")
def senses(folder: Path) -> Dataset:
    return open_dataset(folder)


def joined(name: str) -> np.ndarray:
    return np.concatenate([arrays(i, n)[0][name] for i, n in enumerate(LENGTHS)])


@pytest.mark.parametrize("name", ["depth_left", "depth_right", "finger", "thumb", "cloud"])
def test_every_array_comes_back_exactly(senses: Dataset, name: str) -> None:
    modality = senses.embodiment.stream(name).modality
    found = senses.arrays[f"observation.{modality}.{name}"]
    assert found.dtype == joined(name).dtype
    assert np.array_equal(found, joined(name))
    assert isinstance(found, np.memmap) == (modality in ("depth", "pointcloud"))


def test_the_wrench_is_one_vector(senses: Dataset) -> None:
    assert np.array_equal(senses.arrays["observation.wrench"], joined("wrench"))
    assert len(senses.arrays) == len(list(senses.arrays)) == 6


def test_tasks_are_sorted_and_each_tick_has_its_own(senses: Dataset) -> None:
    assert senses.tasks == ("pull", "push")
    assert senses.task_index.tolist() == [0] * 5 + [1] * 4 + [0] * 6


def test_a_batch_has_every_modality_of_its_samples(senses: Dataset) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (15, 2, 32, 48, 3), np.uint8)
    windows = Windows.of(senses.episodes, 2, 4)
    batch = gather(senses, frames, windows, np.array([3, 5]), ALL)  # row 5 is the first of episode 1
    rows = np.array([[2, 3], [5, 5]])
    assert np.array_equal(batch.inputs["image"], frames[rows])
    depth = np.stack([joined("depth_left"), joined("depth_right")], 1)
    assert np.array_equal(batch.inputs["depth"], depth[rows])
    assert batch.inputs["depth"].dtype == np.uint16
    assert np.array_equal(batch.inputs["tactile"], np.stack([joined("finger"), joined("thumb")], 1)[rows])
    assert np.array_equal(batch.inputs["pointcloud"], joined("cloud")[rows][:, :, None])
    assert np.array_equal(batch.inputs["wrench"], joined("wrench")[rows])
    assert np.array_equal(batch.inputs["state"], senses.state[rows])
    assert batch.inputs["task"].tolist() == [0, 1]
    assert batch.inputs["task"].dtype == np.int64
    assert set(batch.inputs) == {*ALL[:-1], "task"}


def test_previous_actions_are_the_commands_before_and_holding_at_an_episodes_start(senses: Dataset) -> None:
    windows = Windows.of(senses.episodes, 3, 4)
    found = gather(senses, None, windows, np.array([2, 6]), ("actions",)).inputs["actions"]
    # The state is the positions of the commanded joints, in their order.
    assert np.array_equal(found[0], [senses.state[0], senses.action[0], senses.action[1]])
    assert np.array_equal(found[1], [senses.state[5], senses.state[5], senses.action[5]])


def test_when_previous_actions_are_wanted_but_no_position_is_observed_expect_the_joint(
    senses: Dataset,
) -> None:
    robot = senses.embodiment
    streams = tuple(replace(item, fields=("velocity",)) if item.joints else item for item in robot.streams)
    other = replace(senses, embodiment=replace(robot, streams=streams))
    with refused(EmbodimentError, Code.INVALID, subject="embodiment 'tiny'", value="j1"):
        gather(other, None, Windows.of(other.episodes, 1, 1), np.array([0]), ("actions",))


def test_features_stand_in_for_pictures(senses: Dataset) -> None:
    features: dict[str, np.ndarray] = {
        "image": np.random.default_rng(1).normal(size=(15, 2, 4, 6)).astype(np.float16),
        "depth": np.random.default_rng(2).normal(size=(15, 2, 3, 5)).astype(np.float32),
    }
    windows = Windows.of(senses.episodes, 2, 4)
    batch = gather(senses, None, windows, np.array([3]), ("image", "depth"), features=features)
    assert set(batch.inputs) == {"image_features", "depth_features"}
    for name, values in features.items():
        assert np.array_equal(batch.inputs[f"{name}_features"], values[[[2, 3]]])


@pytest.mark.parametrize("modality", ["depth", "wrench", "tactile", "pointcloud"])
def test_when_the_dataset_lacks_a_modality_expect_its_name(dataset: Dataset, modality: str) -> None:
    windows = Windows.of(dataset.episodes, 1, 1)
    with pytest.raises(
        DatasetError, match=f"nothing for the modality '{modality}'.*its features are observation"
    ):
        gather(dataset, None, windows, np.array([0]), (modality,))


def test_large_arrays_go_to_the_cache_folder_and_only_when_asked_for(folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset(folder, cache_root=tmp_path)
    assert "observation.depth.depth_left" in dataset.arrays
    assert dataset.arrays["observation.tactile.thumb"].shape == (15, 5)
    assert list(tmp_path.iterdir()) == []
    expected = np.array(dataset.arrays["observation.depth.depth_left"])
    (place,) = tmp_path.iterdir()
    modified_ns = (place / "values.bin").stat().st_mtime_ns
    again = open_dataset(folder, cache_root=tmp_path).arrays["observation.depth.depth_left"]
    assert np.array_equal(again, expected)
    assert (place / "values.bin").stat().st_mtime_ns == modified_ns  # not written twice
    first = (place / "values.bin").read_bytes()[0]
    with (place / "values.bin").open("r+b") as file:
        file.write(bytes([255 - first]))
    repaired = open_dataset(folder, cache_root=tmp_path).arrays["observation.depth.depth_left"]
    assert np.array_equal(repaired, expected)


def test_two_threads_that_ask_at_once_get_one_array(folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset(folder, cache_root=tmp_path)
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(dataset.arrays["observation.pointcloud.cloud"]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(item is found[0] for item in found)


def spoil(folder: Path, tmp_path: Path, change: str) -> Dataset:
    """A copy of the dataset whose point clouds are changed."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    name = "observation.pointcloud.cloud"
    values = table.column(name).to_pylist()
    if change == "nan":
        values[7][2][1] = float("nan")
    elif change == "short":
        values[7] = values[7][:-1]
    place = table.schema.get_field_index(name)
    if change == "dropped":
        table = table.remove_column(place)
    else:
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, path)
    return open_dataset(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nan", "not finite in column 'observation.pointcloud.cloud', row 7"),
        ("short", "312 values in 15 rows of column 'observation.pointcloud.cloud'.*expected 21 a row"),
        ("dropped", "lacks the column 'observation.pointcloud.cloud'"),
    ],
)
def test_when_a_large_column_is_damaged_expect_its_name(
    folder: Path, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        _ = spoil(folder, tmp_path, change).arrays["observation.pointcloud.cloud"]
    assert not (tmp_path / "copy.cache").exists() or not list((tmp_path / "copy.cache").iterdir())


def test_when_an_episode_has_two_tasks_expect_both(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("tasks")
    tasks = [["pull"], ["push", "wait"], ["pull"]]
    pq.write_table(table.set_column(place, "tasks", pa.array(tasks)), path)
    with pytest.raises(
        DatasetError, match="episode 1 has the tasks 'push', 'wait', expected one task an episode"
    ):
        open_dataset(copy)


class Encoder:
    """Means of quarters of a picture; counts the ticks that it was given."""

    def __init__(self, scale: float = 1.0) -> None:
        self.ticks, self.scale = 0, scale

    def __call__(self, pictures: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        self.ticks += len(pictures)
        flat = pictures.reshape(*pictures.shape[:2], 4, -1).astype(np.float32)
        return self.scale * np.stack([flat.mean(-1), flat.max(-1), flat.min(-1)], -1)


def test_features_are_computed_once_per_key_and_kept(senses: Dataset, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (15, 2, 32, 48, 3), np.uint8)
    encoder = Encoder()
    done: list[tuple[int, int]] = []
    first = open_feature_cache(
        senses, frames, encoder, "a", tmp_path, batch_size=4, progress=lambda *now: done.append(now)
    )
    assert first.shape == (15, 2, 4, 3)
    assert done == [(4, 15), (8, 15), (12, 15), (15, 15)]
    assert np.array_equal(first, Encoder()(frames))
    again = open_feature_cache(senses, frames, encoder, "a", tmp_path)
    assert encoder.ticks == 15
    assert np.array_equal(again, first)
    open_feature_cache(senses, frames, encoder, "b", tmp_path)
    assert encoder.ticks == 30
    halved = open_feature_cache(senses, frames, encoder, "a", tmp_path, dtype=np.float16)
    assert halved.dtype == np.float16
    assert np.array_equal(halved, first.astype(np.float16))


def test_features_of_depth_are_of_the_datasets_own_arrays(senses: Dataset, tmp_path: Path) -> None:
    found = open_feature_cache(senses, None, Encoder(), "d", tmp_path, modality="depth")
    assert np.array_equal(found, Encoder()(np.stack([joined("depth_left"), joined("depth_right")], 1)))


def test_when_features_do_not_fit_float16_expect_a_remedy_and_no_cache(
    senses: Dataset, tmp_path: Path
) -> None:
    frames = np.full((15, 2, 32, 48, 3), 200, np.uint8)
    with (
        np.errstate(over="ignore"),
        refused(DatasetError, Code.NOT_FINITE, value=0, problem="no finite float16", remedy="cache float32"),
    ):
        open_feature_cache(senses, frames, Encoder(1e6), "a", tmp_path, dtype=np.float16)
    assert list(tmp_path.iterdir()) == []


def test_when_features_have_another_shape_expect_it(senses: Dataset, tmp_path: Path) -> None:
    frames = np.zeros((15, 2, 32, 48, 3), np.uint8)
    with refused(DatasetError, Code.WRONG_SHAPE, value=[15, 2, 4], expected="15 ticks and 2 views"):
        open_feature_cache(senses, frames, lambda given, _: Encoder()(given)[..., 0], "a", tmp_path)


def test_when_there_is_nothing_to_encode_expect_the_modality(dataset: Dataset, tmp_path: Path) -> None:
    with refused(DatasetError, Code.MISSING, value="depth", subject=str(dataset.root)):
        open_feature_cache(dataset, None, Encoder(), "a", tmp_path, modality="depth")


@pytest.mark.parametrize(
    ("report", "source"),
    [(None, None), ("{}", None), ('{"episodes": []}', "command"), ('{"action_source": "state"}', "state")],
)
def test_the_dataset_says_what_its_actions_are(own_folder: Path, report: str | None, source: str) -> None:
    if report is not None:
        (own_folder / "meta/hpt/report.json").write_text(report)
    dataset = open_dataset(own_folder)
    assert dataset.action_source == source
    assert ("next measured positions" in dataset.summary()) == (source == "state")


@pytest.mark.parametrize(
    ("report", "match"),
    [
        ('{"action_source": "dream"}', "has action_source = 'dream', expected one of command, state, leader"),
        ("[1]", "is a list, expected a JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_when_the_report_is_not_understood_expect_a_sentence(
    own_folder: Path, report: str, match: str
) -> None:
    (own_folder / "meta/hpt/report.json").write_text(report)
    with pytest.raises(DatasetError, match=match):
        open_dataset(own_folder)
