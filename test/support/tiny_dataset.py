# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small dataset in the LeRobotDataset v3.0 layout, written without the code under test, and fixtures of it."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.dataset.layout import features_of, image_feature
from hpt_ros.embodiment import Embodiment

EMBODIMENT = """
format: hpt_ros/embodiment/1
name: tiny
tick_hz: 10.0
observation_horizon: 2
task: reach the square
streams:
  - {name: front, modality: image, topic: /front, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.1,
     image: {height: 32, width: 48}}
  - {name: wrist, modality: image, topic: /wrist, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.1,
     image: {height: 32, width: 48}}
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 100.0,
     tolerance_s: 0.1, joints: [j1, j2, j3], fields: [position], unit: rad}
action:
  topic: /commands
  type: trajectory_msgs/msg/JointTrajectory
  names: [j1, j2, j3]
  rate_hz: 10.0
  horizon: 4
  limits:
    - {name: j1, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 10.0}
    - {name: j2, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 10.0}
    - {name: j3, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 10.0}
"""
LENGTHS = (12, 9, 15, 10, 11, 3)
EPISODES_PER_FILE = 4  # so that files hold several episodes, and there are several files


def episode_arrays(index: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames (n, V, H, W, 3), states and actions (n, 3): a square stands where the joints must go."""
    place = 4 + 6 * index
    frames = np.full((length, 2, 32, 48, 3), 40 + 20 * index, dtype=np.uint8)
    frames[:, :, 12:20, place : place + 8] = (220, 120, 30)
    goal = np.array([place / 24 - 1, 0.5 - place / 48, 0.3])
    fraction = np.linspace(0, 1, length)[:, None]
    state = (fraction * goal).astype(np.float32)
    action = (np.minimum(fraction + 0.1, 1) * goal).astype(np.float32)
    frames[:, :, 28:, :4] = (fraction * 200).astype(np.uint8)[:, :, None, None, None]
    return frames, state, action


def write_video(path: Path, frames: np.ndarray, fps: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "g": "2"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_dataset(root: Path, lengths: tuple[int, ...] = LENGTHS) -> None:
    robot = Embodiment.loads(EMBODIMENT)
    keys = [image_feature(stream.name) for stream in robot.image_streams]
    rows: list[dict[str, object]] = []
    start = 0
    for file in range(0, len(lengths), EPISODES_PER_FILE):
        indices = range(file, min(file + EPISODES_PER_FILE, len(lengths)))
        parts = [episode_arrays(index, lengths[index]) for index in indices]
        number = file // EPISODES_PER_FILE
        for view, key in enumerate(keys):
            frames = np.concatenate([part[0][:, view] for part in parts])
            write_video(root / f"videos/{key}/chunk-000/file-{number:03d}.mp4", frames, 10)
        table: dict[str, list[object]] = {
            name: [] for name in ("index", "episode_index", "observation.state", "action")
        }
        offset = 0
        for index, (_, state, action) in zip(indices, parts, strict=True):
            length = lengths[index]
            table["index"] += range(start, start + length)
            table["episode_index"] += [index] * length
            table["observation.state"] += state.tolist()
            table["action"] += action.tolist()
            row: dict[str, object] = {
                "episode_index": index,
                "tasks": [robot.task],
                "length": length,
                "data/chunk_index": 0,
                "data/file_index": number,
                "dataset_from_index": start,
                "dataset_to_index": start + length,
            }
            for key in keys:
                row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": number}
                row[f"videos/{key}/from_timestamp"] = offset / 10
            rows.append(row)
            start, offset = start + length, offset + length
        path = root / f"data/chunk-000/file-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        vectors = pa.list_(pa.float32(), 3)
        columns = {
            name: pa.array(values, vectors if name in ("observation.state", "action") else pa.int64())
            for name, values in table.items()
        }
        pq.write_table(pa.table(columns), path)
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")
    features: dict[str, dict[str, Any]] = {
        name: {"dtype": feature.dtype, "shape": list(feature.shape), "names": None}
        for name, feature in features_of(robot).items()
    }
    features["observation.state"]["names"] = list(robot.state_names)
    features["action"]["names"] = list(robot.action.names)
    info = {
        "codebase_version": "v3.0",
        "fps": 10,
        "total_episodes": len(lengths),
        "total_frames": start,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features,
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/hpt").mkdir()
    (root / "meta/hpt/embodiment.yaml").write_text(robot.to_yaml())


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The intact dataset; tests must not write into it."""
    root = tmp_path_factory.mktemp("data") / "tiny"
    write_dataset(root)
    return root


@pytest.fixture
def own_folder(dataset_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(dataset_folder, tmp_path / "copy"))


@pytest.fixture(scope="session")
def dataset(dataset_folder: Path) -> Dataset:
    return open_dataset(dataset_folder)
