# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag, a dataset and a checkpoint that were written before modalities and message types had registries still open.

`test/data/before_registries` was written at commit abdc260: the bag by `support.tiny_senses`, the dataset from it by
`rosbag_tools.converting.convert`, the checkpoint with a stem for every modality and random weights. `expected.json` has
what the checkpoint predicted for two rows of the dataset.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.dataset.video_reader import decode_video
from hpt_ros.learning import Windows
from hpt_ros.learning.samples import gather
from hpt_ros.model import load_checkpoint
from rosbag_tools.converting.convert import convert

OLD = Path(__file__).resolve().parent / "data/before_registries"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return open_dataset(OLD / "dataset", cache_root=tmp_path)


def test_the_bag_gives_the_same_dataset(dataset: Dataset, tmp_path: Path) -> None:
    """To the byte, but for videos: they are encoded without x264's macroblock tree now, to nearly the same images."""
    convert([OLD / "bag"], tmp_path / "again", dataset.embodiment)
    names = sorted(
        path.relative_to(OLD / "dataset") for path in (OLD / "dataset").rglob("*") if path.is_file()
    )
    report = Path("meta/hpt/report.json")  # it names the bag's folder
    assert len(names) == 9
    for name in names:
        old, new = OLD / "dataset" / name, tmp_path / "again" / name
        if name.suffix == ".mp4":
            frames = [np.stack(list(decode_video(path, dataset.embodiment.tick_hz))) for path in (new, old)]
            difference = np.abs(np.subtract(*frames, dtype=np.int16))
            assert difference.mean() < 2.0
        elif name != report:
            assert new.read_bytes() == old.read_bytes(), name


def test_the_checkpoint_predicts_what_it_did(dataset: Dataset) -> None:
    checkpoint = load_checkpoint(OLD / "checkpoint")
    assert checkpoint.embodiment_yaml == dataset.embodiment.to_yaml()
    expected = json.loads((OLD / "expected.json").read_text())
    robot = dataset.embodiment
    windows = Windows.of(dataset.episodes, robot.observation_horizon, robot.action.horizon)
    cells = (dataset.length, 2, 2, 4)
    features = {"image": (np.arange(np.prod(cells)).reshape(cells) % 7).astype(np.float32)}
    rows = np.array(expected["rows"])
    batch = gather(dataset, None, windows, rows, checkpoint.config.modalities, features=features)
    chunks = checkpoint.policy.predict(batch.inputs)
    np.testing.assert_allclose(chunks.numpy(), expected["chunks"], rtol=1e-4, atol=1e-5)
