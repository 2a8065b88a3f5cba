# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LeRobot itself opens, trains on and edits what is written here, and what it writes is imported.

Slow: it wants an environment of its own, of several gigabytes, and Python 3.12 or 3.13. HPT_LEROBOT_PYTHON may name a
Python that has it already.
"""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset, write_dataset
from hpt_ros.embodiment import Embodiment
from hpt_ros.learning import open_cache

from .lerobot_itself import answer, edit

# Runs in LeRobot's environment: opens the dataset and prints what it sees.
SCRIPT = """
import json, sys
import numpy as np
from torch.utils.data import DataLoader
from lerobot.datasets.lerobot_dataset import LeRobotDataset

deltas = {"observation.state": [-0.1, 0.0], "action": [0.0, 0.1, 0.2]}
dataset = LeRobotDataset("local/tiny", root=sys.argv[1], video_backend="pyav", delta_timestamps=deltas)
items = [dataset[index] for index in range(len(dataset))]
batch = next(iter(DataLoader(dataset, batch_size=4)))
print(json.dumps({
    "episodes": dataset.num_episodes,
    "fps": dataset.fps,
    "tasks": [item["task"] for item in items],
    "states": [item["observation.state"][1].tolist() for item in items],
    "before": [item["observation.state"][0].tolist() for item in items],
    "actions": [item["action"].tolist() for item in items],
    "padded": [item["action_is_pad"].tolist() for item in items],
    "left": [(255 * item["observation.images.left"]).mean().item() for item in items],
    "batch": list(batch["observation.images.right"].shape),
    "mean": dataset.meta.stats["observation.state"]["mean"].tolist(),
    **{name: np.stack([np.asarray(item[f"observation.{name}"]) for item in items]).tolist()
       for name in ("depth.near", "pointcloud.cloud", "tactile.finger", "wrench")},
    "shapes": {name: list(batch[f"observation.{name}"].shape) for name in ("depth.near", "pointcloud.cloud")},
    "depth mean": np.asarray(dataset.meta.stats["observation.depth.near"]["mean"]).tolist(),
    "selected": len(LeRobotDataset("local/tiny", root=sys.argv[1], video_backend="pyav", episodes=[1])),
}))
"""

# Trains LeRobot's own ACT, made small and without downloaded weights, and prints the losses.
TRAINING = """
import json, sys
import torch
from lerobot.configs.types import FeatureType
from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata
from lerobot.utils.feature_utils import dataset_to_policy_features
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors

torch.manual_seed(0)
meta = LeRobotDatasetMetadata("local/tiny", root=sys.argv[1])
features = dataset_to_policy_features(meta.features)
inputs = {name: item for name, item in features.items() if name == "observation.state" or "images" in name}
config = ACTConfig(
    input_features=inputs, output_features={"action": features["action"]}, chunk_size=4, n_action_steps=4,
    dim_model=32, n_heads=2, dim_feedforward=64, n_encoder_layers=1, n_vae_encoder_layers=1, latent_dim=4,
    pretrained_backbone_weights=None, device="cpu", optimizer_lr=1e-3,
)
policy = ACTPolicy(config)
before, after = make_pre_post_processors(config, dataset_stats=meta.stats)
deltas = {"action": [index / meta.fps for index in config.action_delta_indices]}
dataset = LeRobotDataset("local/tiny", root=sys.argv[1], video_backend="pyav", delta_timestamps=deltas)
batch = before(next(iter(torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True))))
optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-3)
policy.train()
losses = []
for _ in range(12):
    loss, _ = policy.forward(batch)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
policy.eval()
chunk = after(policy.predict_action_chunk(batch))
print(json.dumps({"losses": losses, "inputs": sorted(inputs), "chunk": list(chunk.shape),
                  "types": [features[name].type == FeatureType.VISUAL for name in sorted(inputs)]}))
"""


# A sense of every kind that is no picture.
STREAMS = """
  - {name: near, modality: depth, topic: /near, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 12, width: 16}}
  - {name: finger, modality: tactile, topic: /finger, type: std_msgs/msg/Float32MultiArray, rate_hz: 20.0,
     tolerance_s: 0.15, length: 5}
  - {name: cloud, modality: pointcloud, topic: /cloud, type: sensor_msgs/msg/PointCloud2, rate_hz: 10.0,
     tolerance_s: 0.15, points: 6}
  - {name: tool, modality: wrench, topic: /tool, type: geometry_msgs/msg/WrenchStamped, rate_hz: 50.0,
     tolerance_s: 0.1}
action:"""


def tiny(robot, folder):
    """A dataset of two episodes with every sense, and its episodes."""
    random = np.random.default_rng(5)
    lengths, levels = (6, 9), (40, 160)
    episodes = []
    for number, (length, level) in enumerate(zip(lengths, levels, strict=True)):
        pictures = np.stack([np.full((16, 24, 3), level + 5 * tick, np.uint8) for tick in range(length)])
        images = {
            "left": pictures,
            "right": 255 - pictures,
            "near": random.integers(0, 1 << 16, (length, 12, 16), np.uint16),
            "cloud": random.normal(size=(length, 6, 3)),
            "finger": random.normal(size=(length, 5)),
            "wrench": random.normal(size=(length, 6)),
        }
        episodes.append(
            (f"task {number}", images, random.normal(size=(length, 4)), random.normal(size=(length, 2)))
        )
    embodiment = Embodiment.loads(robot.text.replace("\naction:", STREAMS))
    return write_dataset(folder, embodiment, episodes), episodes


# Makes a dataset with LeRobot's own writer: colour and depth as videos, a reward and an end.
MADE = """
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

image = ["height", "width", "channels"]
features = {
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
    "action": {"dtype": "float32", "shape": (2,), "names": {"motors": ["a", "b"]}},
    "observation.images.top": {"dtype": "video", "shape": (32, 48, 3), "names": image},
    "observation.images.depth": {
        "dtype": "video", "shape": (32, 48, 1), "names": image, "info": {"is_depth_map": True},
    },
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "next.done": {"dtype": "bool", "shape": (1,), "names": None},
}
made = LeRobotDataset.create("local/made", 10, features, root=sys.argv[1], robot_type="so101", use_videos=True)
for episode in range(2):
    for tick in range(8 + episode):
        made.add_frame({
            "observation.state": np.array([tick, episode, 1], np.float32),
            "action": np.array([tick, -tick], np.float32),
            "observation.images.top": np.full((32, 48, 3), 30 + 10 * tick, np.uint8),
            "observation.images.depth": np.full((32, 48, 1), 500 + 10 * tick, np.uint16),
            "next.reward": np.array([tick == 7], np.float32),
            "next.done": np.array([tick == 7]),
            "task": f"task {episode}",
        })
    made.save_episode()
made.finalize()
print("null")
"""


def plain(robot, folder, count=3):
    """A dataset of images, state and action, which lerobot can edit."""
    random = np.random.default_rng(7)
    episodes = []
    for number, length in enumerate((6, 9, 7)[:count]):
        images = np.stack(
            [np.full((16, 24, 3), 40 + 60 * number + 5 * tick, np.uint8) for tick in range(length)]
        )
        vectors = random.uniform(-0.5, 0.5, (length, 6))
        episodes.append(
            (f"task {number % 2}", {"left": images, "right": 255 - images}, vectors[:, :4], vectors[:, 4:])
        )
    return write_dataset(folder, robot.embodiment, episodes), episodes


def opened(folder, robot, capsys):
    """The dataset as lerobot left it, after `hpt quality` read it."""
    (folder.parent / "robot.yaml").write_text(robot.text)
    command = ["quality", str(folder), "--out", str(folder.parent / "page.html")]
    assert main([*command, "--min", "0"]) == 2
    assert "edited by lerobot, which does not copy it" in capsys.readouterr().err
    assert main([*command, "--min", "0", "--embodiment", str(folder.parent / "robot.yaml")]) in (0, 1)
    return open_dataset(folder, robot.embodiment)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lerobot_edits_the_dataset_and_we_read_what_it_makes(robot, tmp_path, lerobot_python, capsys):
    source, episodes = plain(robot, tmp_path / "source")
    actions = [episode[3].astype(np.float32) for episode in episodes]
    common = {"repo_id": "local/source", "root": source}
    (tmp_path / "keep.json").write_text("[0, 2]")

    edit(lerobot_python, tmp_path, "delete_episodes", **common, new_repo_id="local/less", new_root=tmp_path / "less",
         operation__episode_indices="[1]")  # fmt: skip
    less = opened(tmp_path / "less", robot, capsys)
    np.testing.assert_array_equal(less.action, np.concatenate([actions[0], actions[2]]))

    keep = (tmp_path / "keep.json").read_text()
    edit(lerobot_python, tmp_path, "split", **common, new_root=tmp_path / "split",
         operation__splits=f'{{"keep": {keep}, "rest": [1]}}')  # fmt: skip
    kept = opened(tmp_path / "split/keep", robot, capsys)
    np.testing.assert_array_equal(kept.action, less.action)

    # What lerobot deleted from has videos encoded anew, which it cannot put into one file with ours.
    roots = f"['{source}', '{tmp_path / 'less'}']"
    edit(lerobot_python, tmp_path, "merge", new_repo_id="local/both", new_root=tmp_path / "both",
         operation__repo_ids="['local/source', 'local/less']", operation__roots=roots,
         operation__concatenate_videos="false")  # fmt: skip
    both = opened(tmp_path / "both", robot, capsys)
    np.testing.assert_array_equal(both.action, np.concatenate([*actions, less.action]))
    frames = open_cache(both, tmp_path / "cache").frames
    expected = np.concatenate([episodes[number][1]["left"] for number in (0, 1, 2, 0, 2)])
    np.testing.assert_allclose(frames[:, 0].mean(axis=(1, 2, 3)), expected.mean(axis=(1, 2, 3)), atol=4)

    edit(lerobot_python, tmp_path, "modify_tasks", repo_id="local/both", root=tmp_path / "both",
         operation__new_task="stack the cube")  # fmt: skip
    assert open_dataset(tmp_path / "both", robot.embodiment).tasks == ("stack the cube",)

    # Without an embodiment file it is a dataset of others.
    assert main(["import", str(tmp_path / "both"), "--out", str(tmp_path / "again")]) == 0
    np.testing.assert_array_equal(open_dataset(tmp_path / "again").action, both.action)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_lerobot_writes_is_imported(tmp_path, lerobot_python, capsys):
    answer(lerobot_python, MADE, tmp_path / "made", tmp_path)
    assert main(["import", str(tmp_path / "made"), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "labels kept: next.reward (next.reward), next.done (next.done)" in said
    dataset = open_dataset(tmp_path / "out")
    assert [(episode.task, episode.length) for episode in dataset.episodes] == [("task 0", 8), ("task 1", 9)]
    assert dataset.embodiment.action.names == ("a", "b")
    np.testing.assert_array_equal(dataset.state[:, 0], [*range(8), *range(9)])
    np.testing.assert_array_equal(np.flatnonzero(dataset.labels["next.done"]), [7, 15])
    expected = np.array([500 + 10 * tick for tick in (*range(8), *range(9))])
    depth = dataset.arrays["observation.depth.depth"]
    assert np.abs(depth.astype(int) - expected[:, None, None]).max() <= 1  # 12 bits for 10 m


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lerobot_trains_on_the_dataset(robot, tmp_path, lerobot_python):
    out, _ = tiny(robot, tmp_path / "tiny")
    seen = answer(lerobot_python, TRAINING, out, tmp_path)
    assert seen["inputs"] == ["observation.images.left", "observation.images.right", "observation.state"]
    assert seen["types"] == [True, True, False]
    assert seen["chunk"] == [8, 4, 2]
    assert all(np.isfinite(seen["losses"]))
    assert seen["losses"][-1] < 0.8 * seen["losses"][0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lerobot_opens_the_dataset(robot, tmp_path, lerobot_python):
    out, episodes = tiny(robot, tmp_path / "tiny")
    lengths, levels = (6, 9), (40, 160)
    seen = answer(lerobot_python, SCRIPT, out, tmp_path)
    assert (seen["episodes"], seen["fps"], seen["selected"]) == (2, 10, 9)
    assert seen["tasks"] == ["task 0"] * 6 + ["task 1"] * 9
    states = np.concatenate([item[2] for item in episodes]).astype(np.float32)
    np.testing.assert_array_equal(np.array(seen["states"], np.float32), states)
    np.testing.assert_array_equal(np.array(seen["before"], np.float32)[[0, 1, 6, 7]], states[[0, 0, 6, 6]])
    actions = np.concatenate([item[3] for item in episodes]).astype(np.float32)
    np.testing.assert_array_equal(
        np.array(seen["actions"], np.float32)[[0, 4]], actions[[[0, 1, 2], [4, 5, 5]]]
    )
    assert seen["padded"][4] == [False, False, True]
    expected = [
        level + 5 * tick for length, level in zip(lengths, levels, strict=True) for tick in range(length)
    ]
    np.testing.assert_allclose(seen["left"], expected, atol=2.5)
    assert seen["batch"] == [4, 3, 16, 24]
    np.testing.assert_allclose(seen["mean"], states.mean(axis=0), rtol=1e-5)
    for name, key in (
        ("near", "depth.near"),
        ("cloud", "pointcloud.cloud"),
        ("finger", "tactile.finger"),
        ("wrench", "wrench"),
    ):
        written = np.concatenate([item[1][name] for item in episodes]).astype(np.float32)
        np.testing.assert_array_equal(np.array(seen[key], np.float32), written)
    assert seen["shapes"] == {"depth.near": [4, 12, 16], "pointcloud.cloud": [4, 6, 3]}
    depth = np.concatenate([item[1]["near"] for item in episodes]).astype(float)
    # Episodes count by their frames, not by their measured pixels.
    np.testing.assert_allclose(seen["depth mean"], [[depth[depth > 0].mean()]], rtol=1e-4)
