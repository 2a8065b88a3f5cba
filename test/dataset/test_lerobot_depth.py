# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LeRobot itself opens and edits depth that is stored as a video."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.dataset import open_dataset, write_dataset
from hpt_ros.embodiment import Embodiment

from .lerobot_itself import answer, edit

# Prints what LeRobot sees of depth that is stored as a video.
DEPTH_SCRIPT = """
import json, sys
import numpy as np
from torch.utils.data import DataLoader
from lerobot.datasets.lerobot_dataset import LeRobotDataset

dataset = LeRobotDataset("local/tiny", root=sys.argv[1], video_backend="pyav")
batch = next(iter(DataLoader(dataset, batch_size=4)))
print(json.dumps({
    "depth": [dataset[index]["observation.depth.near"].tolist() for index in range(len(dataset))],
    "batch": list(batch["observation.depth.near"].shape),
    "keys": list(dataset.meta.depth_keys),
    "mean": np.asarray(dataset.meta.stats["observation.depth.near"]["mean"]).tolist(),
}))
"""


NEAR = """
  - {name: near, modality: depth, topic: /near, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 18, width: 23}}
action:"""


def depth_of(folder):
    return open_dataset(folder).arrays["observation.depth.near"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lerobot_opens_and_edits_depth_that_is_stored_as_a_video(robot, tmp_path, lerobot_python):
    random = np.random.default_rng(3)
    embodiment = Embodiment.loads(robot.text.replace("\naction:", NEAR))
    episodes = []
    for number, length in enumerate((6, 9, 7)):
        pictures = np.stack([np.full((16, 24, 3), 40 + 5 * tick, np.uint8) for tick in range(length)])
        depth = random.integers(0, 11_000, (length, 18, 23), np.uint16)
        depth[:, :4] = 0
        vectors = random.uniform(-0.5, 0.5, (length, 6))
        images = {"left": pictures, "right": 255 - pictures, "near": depth}
        episodes.append((f"task {number % 2}", images, vectors[:, :4], vectors[:, 4:]))
    source = write_dataset(tmp_path / "source", embodiment, episodes, coded=True)

    seen = answer(lerobot_python, DEPTH_SCRIPT, source, tmp_path)
    ours = depth_of(source)
    assert seen["keys"] == ["observation.depth.near"]
    assert seen["batch"] == [4, 1, 18, 23]
    # LeRobot gives what was not measured the distance of the first code, 10 mm.
    np.testing.assert_allclose(np.array(seen["depth"])[:, 0], np.maximum(ours, 10), atol=1)
    np.testing.assert_allclose(seen["mean"], [[[ours[ours > 0].mean()]]], rtol=1e-3)

    common = {"repo_id": "local/source", "root": source}
    edit(lerobot_python, tmp_path, "delete_episodes", **common, new_repo_id="local/less", new_root=tmp_path / "less",
         operation__episode_indices="[1]")  # fmt: skip
    edit(lerobot_python, tmp_path, "split", **common, new_root=tmp_path / "split",
         operation__splits='{"keep": [0, 2], "rest": [1]}')  # fmt: skip
    roots = f"['{source}', '{tmp_path / 'split/rest'}']"
    edit(lerobot_python, tmp_path, "merge", new_repo_id="local/both", new_root=tmp_path / "both",
         operation__repo_ids="['local/source', 'local/rest']", operation__roots=roots,
         operation__concatenate_videos="false")  # fmt: skip
    kept, removed = np.concatenate([ours[:6], ours[15:]]), ours[6:15]
    for folder, expected in (
        ("less", kept),
        ("split/keep", kept),
        ("split/rest", removed),
        ("both", np.concatenate([ours, removed])),
    ):
        edited = open_dataset(tmp_path / folder, embodiment)
        assert edited.coded
        np.testing.assert_array_equal(edited.arrays["observation.depth.near"], expected)
