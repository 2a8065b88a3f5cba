# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy and an embodiment file of two robots are distinguished by whatever differs first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.embodiments import camera, embodiment, joints, limit, stream, trajectory
from support.refused import refused
from support.sizes import policy_config

from hpt_ros.errors import Code, HptError
from hpt_ros.model import NoEncoderConfig, PolicyConfig, StemConfig
from hpt_ros.policies.compatibility import check_compatible

ROBOT = embodiment(
    "arm",
    [
        camera("front", 32, 48),
        camera("wrist", 32, 48),
        camera("far", 24, 40, modality="depth"),
        joints("ab", rate_hz=100.0, fields=["position", "velocity"], unit="rad"),
        stream("force", "wrench", "geometry_msgs/msg/WrenchStamped", 100.0),
        stream("left", "tactile", "std_msgs/msg/Float32MultiArray", 100.0, length=16),
        stream("cloud", "pointcloud", "sensor_msgs/msg/PointCloud2", 10.0, points=64),
        stream("task", "language", "std_msgs/msg/String", 1.0, 1.0),
    ],
    trajectory([limit("a", 3.0, 2.0, 9.0), limit("b", 3.0, 2.0, 9.0)], rate_hz=50.0),
    observation_horizon=2,
)
MODALITIES = ("image", "depth", "state", "wrench", "tactile", "pointcloud", "actions", "language")
CONFIG = policy_config(
    embodiment="arm",
    action_dim=2,
    action_horizon=4,
    observation_horizon=2,
    state_dim=4,
    views=2,
    image_height=32,
    image_width=48,
    depth_views=1,
    depth_height=24,
    depth_width=40,
    wrench_dim=6,
    tactile_arrays=1,
    tactile_values=16,
    clouds=1,
    cloud_points=64,
    tasks=("pour", "wipe"),
    stems=tuple(StemConfig(modality) for modality in MODALITIES),
)


def test_when_all_modalities_agree_expect_silence():
    check_compatible(CONFIG, ROBOT)


def test_when_the_policy_does_not_read_a_stream_expect_silence():
    small = PolicyConfig("arm", 2, 4, 2, {"state": (4,)}, stems=(StemConfig("state"),))
    check_compatible(small, ROBOT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embodiment": "leg"}, r"config\.yaml has name 'leg' but its embodiment\.yaml has 'arm'; the folder"),
        ({"action_dim": 3}, r"has action dimension 3 but .* has 2"),
        ({"action_horizon": 8}, r"has action horizon 8 but .* has 4"),
        ({"observation_horizon": 1}, r"has observation horizon 1 but .* has 2"),
        ({"state": (2,)}, r"has shape of 'state' \(2,\) but .* has \(4,\)"),
        ({"wrench": (3,)}, r"has shape of 'wrench' \(3,\) but .* has \(6,\)"),
        ({"image": (1, 32, 48, 3)}, r"has shape of 'image' \(1, 32, 48, 3\) but .* has \(2, 32, 48, 3\)"),
        ({"image": (2, 32, 64, 3)}, r"has shape of 'image' \(2, 32, 64, 3\) but .* has \(2, 32, 48, 3\)"),
        ({"depth": (2, 24, 40)}, r"has shape of 'depth' \(2, 24, 40\) but .* has \(1, 24, 40\)"),
        ({"tactile": (1, 8)}, r"has shape of 'tactile' \(1, 8\) but .* has \(1, 16\)"),
        ({"pointcloud": (1, 65, 3)}, r"has shape of 'pointcloud' \(1, 65, 3\) but .* has \(1, 64, 3\)"),
    ],
)  # fmt: skip
def test_when_something_differs_expect_its_name_and_both_values(changes, message):
    shapes = {name: changes.get(name, shape) for name, shape in CONFIG.shapes.items()}
    others = {name: value for name, value in changes.items() if name not in shapes}
    with pytest.raises(HptError, match=message):
        check_compatible(replace(CONFIG, shapes=shapes, **others), ROBOT)


def test_when_the_robot_has_no_such_stream_expect_that_said():
    blind = replace(ROBOT, streams=tuple(stream for stream in ROBOT.streams if stream.modality != "tactile"))
    with refused(HptError, Code.INVALID, value=(1, 16), problem="shape of 'tactile'"):
        check_compatible(CONFIG, blind)


def test_when_features_come_from_elsewhere_expect_the_pictures_size_to_be_of_no_matter():
    encoder = NoEncoderConfig(cells=49, cell_width=512)
    config = replace(CONFIG, image_encoder=encoder, shapes={**CONFIG.shapes, "image": (2, 0, 0, 3)})
    check_compatible(config, ROBOT)


def test_when_names_and_remedy_are_given_expect_them_in_the_sentence():
    with refused(
        HptError,
        Code.INVALID,
        subject="the run",
        value="leg",
        problem="but the robot has 'arm",
        remedy="take another",
    ):
        check_compatible(
            replace(CONFIG, embodiment="leg"),
            ROBOT,
            policy="the run",
            file="the robot",
            remedy="take another",
        )
