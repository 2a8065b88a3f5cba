# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags of robots with several outputs, or a commanded tool, all the way: dataset, training in each mode, and a policy
that answers in absolute actions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.tiny_robot import START_NS

from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.rotations import to_rotation
from hpt_ros.learning import read_recipe, train
from hpt_ros.policies.hpt import CheckpointPolicy
from hpt_ros.policies.protocol import Observation
from rosbag_tools.bootstrap.first_embodiment import write_first_embodiment
from rosbag_tools.converting.convert import convert
from rosbag_tools.reading.reader import Bag

from .commanded import Commanded, arm_at, grip_at, place_at, turn_at

COMMAND_AHEAD_S = 0.01  # a command's value is of its stamp and this much


@pytest.fixture(scope="module")
def arm():
    return Commanded()


def converted(arm, tmp_path, kinds, **changes):
    """Dataset of a bag by its first embodiment file, with lines of that changed, and the ticks' times."""
    bag = arm.write(tmp_path / "bag", arm.record(*kinds, duration_s=8.0))
    with Bag.open(bag) as opened:
        text = write_first_embodiment(opened).text
    for old, new in changes.items():
        assert f"{old}: " in text
        text = text.replace(f"{old}: ", f"{new}: ", 1)
    robot = Embodiment.loads(text)
    convert([bag], tmp_path / "dataset", robot)
    report = json.loads((tmp_path / "dataset/meta/hpt/report.json").read_text())
    (span,) = report["episodes"][0]["spans"]
    return open_dataset(tmp_path / "dataset"), (span["start_ns"] - START_NS) * 1e-9 + np.arange(
        span["ticks"]
    ) / 10.0


def with_mode(dataset, mode):
    text = dataset.embodiment.to_yaml().replace("mode: absolute", f"mode: {mode}")
    return open_dataset(dataset.root, Embodiment.loads(text))


def trained(dataset, out):
    """A small policy of the state alone, trained until it knows the course by heart."""
    recipe = read_recipe(
        {
            "policy": {
                "stems": [{"modality": "state", "widths": [32], "tokens": 4, "heads": 2, "head_width": 16}],
                "trunk": {"width": 32, "depth": 2, "heads": 2},
                "head": {"kind": "mlp", "widths": [64, 64], "dropout": 0.0},
            },
            "iterations": 150,
            "batch_size": 32,
            "lr": 3e-3,
            "augment": {"brightness": 0.0, "contrast": 0.0, "colour": 0.0, "shift_px": 0},
            "validation_ratio": 0.0,
            "validation_every": 150,
            "threads": 1,
        },
        where="test recipe",
    )  # fmt: skip
    train(dataset, recipe, out)
    return CheckpointPolicy(out / "last", "cpu", 1)


def assert_absolute(policy, dataset):
    """The policy answers with the dataset's own absolute actions, not with differences."""
    horizon = dataset.embodiment.action.horizon
    steady = np.ptp(dataset.action, axis=0) > 1e-3
    errors = []
    for tick in range(0, dataset.length - horizon, 5):
        chunk = policy.predict(Observation(0, {"state": dataset.state[tick : tick + 1][None].copy()}))
        assert chunk.shape == (horizon, dataset.embodiment.action.dim)
        errors.append(np.abs(chunk - dataset.action[tick : tick + horizon]))
    error = np.mean(errors, axis=(0, 1))[steady] / np.ptp(dataset.action, axis=0)[steady]
    assert error.mean() < 0.15


def test_an_arm_and_a_gripper_that_is_sent_when_it_changes(arm, tmp_path):
    dataset, times_s = converted(arm, tmp_path, ("trajectory", "array"))
    expected = np.stack([arm_at(at_s + COMMAND_AHEAD_S) for at_s in times_s])
    np.testing.assert_allclose(dataset.action[:, :3], expected, atol=1e-3)
    # Held, not a ramp from one to the next.
    np.testing.assert_allclose(dataset.action[:, 3], [grip_at(at_s + 1e-6) for at_s in times_s], atol=1e-6)
    assert dataset.state.shape[1] == 4
    assert_absolute(trained(dataset, tmp_path / "absolute"), dataset)


@pytest.mark.parametrize("mode", ["delta", "relative"])
def test_an_arm_and_a_gripper_in_other_modes(arm, tmp_path, mode):
    dataset, _ = converted(arm, tmp_path, ("joint_commands", "number"))
    assert_absolute(trained(with_mode(dataset, mode), tmp_path / "run"), dataset)


@pytest.mark.parametrize("rotation", ["rotation_6d", "quaternion", "axis_angle"])
def test_a_commanded_pose_in_every_representation(arm, tmp_path, rotation):
    change = f"rotation: {rotation}\n      rotation_limit"
    dataset, times_s = converted(arm, tmp_path, ("pose", "array"), rotation_limit=change)
    expected = np.stack([place_at(at_s + COMMAND_AHEAD_S) for at_s in times_s])
    np.testing.assert_allclose(dataset.action[:, :3], expected, atol=1e-3)
    there, good = to_rotation(dataset.action[:, 3:-1].astype(np.float64), rotation)
    assert good.all()
    wanted = Rotation.concatenate([turn_at(at_s + COMMAND_AHEAD_S) for at_s in times_s])
    assert (there.inv() * wanted).magnitude().max() < 2e-3
    np.testing.assert_allclose(dataset.action[:, -1], [grip_at(at_s + 1e-6) for at_s in times_s], atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "rotation"),
    [("absolute", "axis_angle"), ("delta", "quaternion"), ("relative", "rotation_6d")],
)
def test_a_commanded_pose_is_trained_in_each_mode_and_answered_absolutely(arm, tmp_path, mode, rotation):
    change = f"rotation: {rotation}\n      rotation_limit"
    dataset, _ = converted(arm, tmp_path, ("pose", "array"), rotation_limit=change)
    moded = dataset if mode == "absolute" else with_mode(dataset, mode)
    assert_absolute(trained(moded, tmp_path / "run"), dataset)


def test_a_commanded_twist(arm, tmp_path):
    dataset, times_s = converted(arm, tmp_path, ("twist", "number"))
    speeds = [(place_at(at + 1e-3) - place_at(at - 1e-3)) / 2e-3 for at in times_s + COMMAND_AHEAD_S]
    np.testing.assert_allclose(dataset.action[:, :3], np.stack(speeds), atol=1e-3)
    np.testing.assert_allclose(dataset.action[:, 4], 0.4, atol=1e-6)
    assert_absolute(trained(dataset, tmp_path / "run"), dataset)
