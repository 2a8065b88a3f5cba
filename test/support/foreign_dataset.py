# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small LeRobot datasets of others: v2.0 and v2.1 as lerobot 0.3 wrote them, v3.0 without anything of this project."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from support.embodiments import camera, embodiment, limit, stream, trajectory

from hpt_ros.dataset import write_dataset
from hpt_ros.dataset.video import SegmentWriter

HEIGHT, WIDTH, FPS = 16, 24, 10
LENGTHS, TASKS = (6, 9, 4), ("pour", "wipe", "pour")


def picture(level, view):
    return np.full((HEIGHT, WIDTH, 3), level if view == "top" else 255 - level, np.uint8)


def episodes(seed=0):
    """Task, levels, state and action of three episodes."""
    random = np.random.default_rng(seed)
    return [
        (
            task,
            [30 + 40 * number + 9 * row for row in range(length)],
            random.normal(size=(length, 4)).astype(np.float32),
            random.normal(size=(length, 2)).astype(np.float32),
        )
        for number, (task, length) in enumerate(zip(TASKS, LENGTHS, strict=True))
    ]


def write_v21(folder, *, images="video", version="v2.1"):
    """A dataset as lerobot 0.3 wrote it: a file an episode."""
    (folder / "meta").mkdir(parents=True)
    texts = list(dict.fromkeys(TASKS))
    described = {"dtype": images, "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channel"]}
    features = {
        "observation.images.top": described,
        "observation.images.Wrist-Cam": described,
        "observation.state": {"dtype": "float32", "shape": [4], "names": None},
        "observation.effort": {"dtype": "float32", "shape": [1], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["shoulder", "shoulder"]}},
        **{
            name: {"dtype": "int64", "shape": [1], "names": None} for name in ("frame_index", "episode_index")
        },
    }
    info = {
        "codebase_version": version, "robot_type": "SO-100", "fps": FPS, "chunks_size": 2, "features": features,
        "total_episodes": 3, "total_frames": sum(LENGTHS),
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }  # fmt: skip
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/tasks.jsonl").write_text(
        "".join(json.dumps({"task_index": index, "task": text}) + "\n" for index, text in enumerate(texts))
    )
    lines = []
    for number, (task, levels, state, action) in enumerate(episodes()):
        length = len(levels)
        lines.append(json.dumps({"episode_index": number, "tasks": [task], "length": length}))
        columns = {
            "observation.state": list(state),
            "observation.effort": np.zeros(length, np.float32),
            "action": list(action),
            "timestamp": (np.arange(length) / FPS).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, number),
            "index": np.arange(length),
            "task_index": np.full(length, texts.index(task)),
        }
        for view in ("top", "Wrist-Cam"):
            key = f"observation.images.{view}"
            if images == "video":
                path = folder / f"videos/chunk-{number // 2:03d}/{key}/episode_{number:06d}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                video = SegmentWriter(path, FPS, HEIGHT, WIDTH)
                for level in levels:
                    video.add(picture(level, view))
                video.close()
            else:
                data = [cv2.imencode(".png", picture(level, view))[1].tobytes() for level in levels]
                columns[key] = [{"bytes": item, "path": None} for item in data]
        path = folder / f"data/chunk-{number // 2:03d}/episode_{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)
    (folder / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_v30(folder):
    """A dataset of version 3.0 that knows nothing of this project."""
    robot = embodiment(
        "so_100",
        [
            camera("top", HEIGHT, WIDTH),
            camera("wrist_cam", HEIGHT, WIDTH, topic="/wrist"),
            stream("arm", "state", "std_msgs/msg/Float64MultiArray", 10.0, length=4),
        ],
        trajectory([limit("shoulder"), limit("elbow")], rate_hz=10.0),
    )
    data = [
        (
            task,
            {
                "top": np.stack([picture(level, "top") for level in levels]),
                "wrist_cam": np.stack([picture(level, "wrist") for level in levels]),
            },
            state,
            action,
        )
        for task, levels, state, action in episodes()
    ]
    write_dataset(folder, robot, data)
    for path in (folder / "meta/hpt").iterdir():
        path.unlink()
    (folder / "meta/hpt").rmdir()
    return folder
