# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags with every modality: depth, touch, point clouds, wrenches and a task that changes, to a dataset and back."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tiny_robot import MS, START_NS
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.dataset import DatasetError, DatasetWriter, open_dataset, write_dataset
from hpt_ros.dataset.statistics import array_statistics, depth_statistics
from rosbag_tools.bag_schema import EVENTS_TOPIC, KEY_TASK
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError


@pytest.fixture(scope="module")
def senses():
    return Senses()


@pytest.fixture(scope="module")
def converted(senses, tmp_path_factory):
    folder = tmp_path_factory.mktemp("senses")
    bag = senses.write(folder / "bag", senses.all_messages())
    report = convert([bag], folder / "out", senses.embodiment)
    return open_dataset(folder / "out"), report


def test_every_modality_is_that_of_its_tick(converted):
    dataset, report = converted
    assert report.kept == dataset.length >= 27
    tick = np.round(dataset.state[:, 1] * 10).astype(int)  # joint b is the time
    depth = dataset.arrays["observation.depth.near"]
    assert (depth[:, 0] == 0).all()
    np.testing.assert_array_equal(depth[:, 5, 5], 1000 + tick)
    np.testing.assert_array_equal(dataset.arrays["observation.tactile.finger"][:, 3], 3 + tick)
    cloud = dataset.arrays["observation.pointcloud.cloud"]
    np.testing.assert_array_equal(
        np.sort(cloud[:, :, 0], axis=1) - 100 * tick[:, None], [[0, 3, 6, 9, 12, 15]] * len(tick)
    )
    wrench = dataset.arrays["observation.wrench"]
    assert np.abs(wrench[:, 0] - tick / 10).max() <= 0.02  # the newest of 50 a second
    np.testing.assert_allclose(wrench[:, [1, 3]], wrench[:, :1] * [[2, -1]], rtol=1e-6)
    assert (wrench[:, 5] == 1).all()
    assert dataset.tasks == ("pour",)


def test_info_and_statistics_describe_the_new_features(converted):
    dataset, _ = converted
    features = json.loads((dataset.root / "meta/info.json").read_text())["features"]
    assert features["observation.depth.near"] == {
        "dtype": "uint16",
        "shape": [12, 16],
        "names": ["height", "width"],
    }
    assert features["observation.pointcloud.cloud"]["shape"] == [6, 3]
    assert features["observation.tactile.finger"]["names"] == [f"finger.{index}" for index in range(5)]
    assert features["observation.wrench"]["names"][3] == "tool.torque.x"
    statistics = json.loads((dataset.root / "meta/stats.json").read_text())
    assert set(statistics) >= {key for key in features if not key.startswith("observation.images")}
    depth = dataset.arrays["observation.depth.near"].astype(float)
    assert statistics["observation.depth.near"]["mean"] == [[pytest.approx(depth[depth > 0].mean())]]
    assert statistics["observation.depth.near"]["count"] == [dataset.length]
    cloud = dataset.arrays["observation.pointcloud.cloud"]
    for key in ("min", "max", "mean", "std"):
        expected = getattr(cloud.astype(float), key)(axis=(0, 1))
        np.testing.assert_allclose(statistics["observation.pointcloud.cloud"][key], [expected], rtol=1e-6)


def test_depth_statistics_leave_out_what_was_not_measured():
    pictures = np.array([[[0, 5], [5, 9]], [[0, 0], [1, 0]]], np.uint16)
    found = depth_statistics(pictures)
    seen = np.array([5, 5, 9, 1])
    for key in ("min", "max", "mean", "std"):
        assert found[key] == [[pytest.approx(getattr(seen, key)())]]
    assert found["q50"] == [[5.0]]
    nothing = depth_statistics(np.zeros((2, 3, 4), np.uint16))
    assert all((nothing[key] == 0).all() for key in ("min", "max", "mean", "std", "q99"))


def test_cloud_quantiles_are_numpys_own():
    clouds = np.random.default_rng(0).normal(size=(7, 50, 3)).astype(np.float32)
    found = array_statistics(clouds)
    for key, quantile in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        expected = np.quantile(clouds.reshape(-1, 3).astype(float), quantile, axis=0)
        np.testing.assert_allclose(found[key], [expected], rtol=1e-6)


def test_any_number_of_workers_gives_the_same_bytes_of_all_modalities(senses, tmp_path):
    bags = [senses.write(tmp_path / f"bag{i}", senses.all_messages(1.6 + 0.3 * i)) for i in range(2)]
    one, two = tmp_path / "one", tmp_path / "two"
    convert(bags, one, senses.embodiment)
    convert(bags, two, senses.embodiment, Options(workers=2))
    paths = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(paths) == 9  # nothing of the waiting arrays is left
    assert paths == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    for path in paths:
        assert (one / path).read_bytes() == (two / path).read_bytes(), path


def test_where_the_task_changes_the_episode_is_split(senses, tmp_path, capsys):
    messages = senses.all_messages(4.0, ((-30, "pour"), (1510, "wipe"), (2505, "wipe")))
    bag = senses.write(tmp_path / "bag", messages)
    (tmp_path / "robot.yaml").write_text(senses.text)
    out = tmp_path / "out"
    assert main(["convert", str(bag), "--embodiment", str(tmp_path / "robot.yaml"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "split where the task changed to 'wipe' from 'pour' after 1." in said
    dataset = open_dataset(out)
    assert [episode.task for episode in dataset.episodes] == ["pour", "wipe"]
    first = dataset.episodes[1].start
    assert dataset.state[first, 1] == pytest.approx(1.6, abs=1e-4)  # the first tick after it was said
    assert dataset.state[first - 1, 1] == pytest.approx(1.5, abs=1e-4)
    report = json.loads((out / "meta/hpt/report.json").read_text())
    assert [span["task"] for span in report["episodes"][0]["spans"]] == ["pour", "wipe"]


def test_a_task_said_once_holds_for_later_episodes_of_the_bag(senses, tmp_path):
    messages = senses.all_messages(5.0, ((-30, "pour"),))
    for at_ms, kind in ((100, 1), (2000, 2), (2200, 1), (4500, 2)):
        at_ns = START_NS + at_ms * MS
        messages.append((EVENTS_TOPIC, at_ns, senses.event(kind, at_ns)))
    bag = senses.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]))
    report = convert([bag], tmp_path / "out", senses.embodiment)
    assert [span.task for entry in report.episodes for span in entry.spans] == ["pour", "pour"]
    assert all(not entry.dropped.get("said") for entry in report.episodes)


def test_ticks_before_the_first_task_are_dropped_and_said(senses, tmp_path):
    bag = senses.write(tmp_path / "bag", senses.all_messages(3.0, ((1000, "pour"),)))
    report = convert([bag], tmp_path / "out", senses.embodiment)
    assert report.episodes[0].dropped["said"].ticks in (10, 11)
    assert report.episodes[0].dropped["said"].most_frequent == "never seen"


def test_a_task_given_by_hand_stands_for_what_was_said_and_needs_no_topic(senses, tmp_path):
    said = senses.write(tmp_path / "said", senses.all_messages(3.0, ((-30, "pour"), (1510, "wipe"))))
    silent = senses.write(tmp_path / "silent", senses.all_messages(3.0, ()), custom={KEY_TASK: "recorded"})
    with pytest.raises(BagError, match="lacks the topic '/task'.*of stream 'said'"):
        convert([silent], tmp_path / "none", senses.embodiment)
    report = convert([said, silent], tmp_path / "out", senses.embodiment, Options(task="mine"))
    assert [span.task for entry in report.episodes for span in entry.spans] == ["mine", "mine"]


def arrays(senses, length):
    random = np.random.default_rng(0)
    return {
        "left": np.zeros((length, 16, 24, 3), np.uint8),
        "right": np.zeros((length, 16, 24, 3), np.uint8),
        "near": random.integers(0, 1 << 16, (length, 12, 16), np.uint16),
        "finger": random.normal(size=(length, 5)),
        "cloud": random.normal(size=(length, 6, 3)).astype(np.float32),
        "wrench": random.normal(size=(length, 6)),
    }


def test_an_episode_of_several_row_groups_reads_as_one(senses, tmp_path, monkeypatch):
    monkeypatch.setattr("hpt_ros.dataset.files._GROUP_MB", 1e-3)
    found = arrays(senses, 9)
    state = np.arange(36.0).reshape(9, 4)
    out = write_dataset(tmp_path / "d", senses.embodiment, [("t", found, state, state[:, :2])])
    file = pq.ParquetFile(out / "data/chunk-000/file-000.parquet")
    assert file.num_row_groups > 1
    dataset = open_dataset(out)
    np.testing.assert_array_equal(dataset.arrays["observation.depth.near"], found["near"])
    np.testing.assert_array_equal(dataset.arrays["observation.pointcloud.cloud"], found["cloud"])
    np.testing.assert_array_equal(dataset.state, state)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("near", lambda x: x.astype(np.float32), "'observation.depth.near'.*type float32, expected uint16"),
        ("near", lambda x: x[:, :5], r"'observation.depth.near'.*shape \(5, 16\), expected \(12, 16\)"),
        ("cloud", lambda x: x[:, :, :2], "'observation.pointcloud.cloud'.*shape"),
        ("wrench", lambda x: x[:, :3], "'observation.wrench'.*shape"),
    ],
)
def test_when_an_array_does_not_fit_expect_its_feature(senses, tmp_path, name, change, match):
    found = arrays(senses, 3)
    found[name] = change(found[name])
    state = np.zeros((3, 4))
    with pytest.raises(DatasetError, match=match):
        write_dataset(tmp_path / "d", senses.embodiment, [("t", found, state, state[:, :2])])
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_no_large_array_of_a_running_episode(senses, tmp_path):
    with DatasetWriter(tmp_path / "d", senses.embodiment) as writer:
        episode = writer.episode("t")
        found = arrays(senses, 50)
        names = {"near": "observation.depth.near", "cloud": "observation.pointcloud.cloud",
                 "finger": "observation.tactile.finger", "wrench": "observation.wrench",
                 "left": "observation.images.left", "right": "observation.images.right"}  # fmt: skip
        for tick in range(50):
            values = {names[name]: column[tick] for name, column in found.items()}
            episode.add({**values, "observation.state": np.zeros(4), "action": np.zeros(2)})
        data = episode.finish()
        assert set(data.vectors) == {
            "observation.tactile.finger", "observation.wrench", "observation.state", "action",
        }  # fmt: skip
        assert data.arrays["observation.depth.near"].stat().st_size == 50 * 12 * 16 * 2
        writer.append(data)
        writer.finish()
