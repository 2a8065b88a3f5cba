# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A deployment file on the nodes: a recorder and a policy node of a cell whose names are not the embodiment's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter
from recording_rig import TEXT, Robot, connected, until
from sensor_msgs.msg import CompressedImage

from hpt_msgs.srv import StartEpisode, StopEpisode
from hpt_ros.cli.main import main
from hpt_ros.embodiment import Deployment, Embodiment
from hpt_ros.errors import HptError
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from hpt_ros.policies.factory import load_policy
from rosbag_tools.converting.convert import convert
from rosbag_tools.converting.topic_names import with_names_of
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag

FEED_DOG = Path(__file__).parents[2] / "config" / "embodiments" / "feed_dog.yaml"
# What the robot was called where its policy was made; in this cell it is as `recording_rig.Robot` publishes.
TRAINED = (
    TEXT.replace("topic: /", "topic: /elsewhere/")
    .replace("[a]", "[joint]")
    .replace("name: a,", "name: joint,")
)
CELL = """
format: hpt_ros/deployment/1
embodiment: tiny
joints: {joint: a}
streams: {eye: {topic: /eye}, joints: {topic: /joint_states}}
outputs: {action: {topic: /command}}
limits: {joint: {velocity: 0.5}}
"""
# The same, where the camera compresses and the driver of the joints stamps with a clock of its own.
COMPRESSED = CELL.replace(
    "eye: {topic: /eye}", "eye: {topic: /eye/compressed, type: sensor_msgs/msg/CompressedImage}"
).replace("/joint_states}", "/joint_states, time: arrival}")
LEFT = """
format: hpt_ros/deployment/1
joint_prefix: left_
streams: {joints: {topic: /left/joint_states}}
outputs: {action: {topic: /left/command, latency_s: 0.02}}
limits: {panda_joint1: {acceleration: 10.0}}
"""


@pytest.fixture
def left(tmp_path: Path) -> str:
    path = tmp_path / "left.yaml"
    path.write_text(LEFT)
    return str(path)


def recorded(folder: Path, robot_type: Any, cell: str, stop_s: float) -> Path:
    """A bag that the recorder made of a robot in a cell, from 1.2 s to `stop_s`."""
    with Composition() as composition:
        robot = composition.add(robot_type(composition.context))
        recorder = composition.add(
            RecorderNode(
                Embodiment.loads(TRAINED),
                folder,
                context=composition.context,
                parameter_overrides=[Parameter("use_sim_time", value=True)],
                deployment=Deployment.loads(cell),
            )
        )
        until(lambda: len(recorder.topics.known) >= 3)
        connected(robot.eye, robot.joints, robot.command)
        robot.play(recorder, 1.0, 1.2)
        assert robot.call(StartEpisode).success
        robot.play(recorder, 1.2, stop_s)
        return Path(robot.call(StopEpisode).bag_path)


def test_when_the_recorder_has_a_deployment_expect_its_bag_to_convert_by_the_trained_names(tmp_path):
    path = recorded(tmp_path / "bags", Robot, CELL, stop_s=3.0)
    with Bag.open(path) as bag:
        assert Embodiment.loads(bag.embodiment_text() or "") == Embodiment.loads(TRAINED)
        assert Deployment.loads(bag.custom["hpt_ros.deployment"]) == Deployment.loads(CELL)
        assert not inspect(bag, with_names_of(bag, Embodiment.loads(TRAINED))).lacks
    convert([path], tmp_path / "dataset")
    info = (tmp_path / "dataset" / "meta" / "info.json").read_text()
    assert '"joint.position"' in info
    assert '"a.position"' not in info


class Compressing(Robot):  # type: ignore[misc]
    """Publishes its images compressed, and stamps its joint states a day off."""

    def __init__(self, context: Any) -> None:
        super().__init__(context, with_camera=False)
        compressed = self.create_publisher(CompressedImage, "/eye/compressed", 10)
        publish, states = compressed.publish, self.joints.publish

        def compress(image: Any) -> None:
            data = cv2.imencode(".png", np.full((16, 24, 3), image.data[0], np.uint8))[1].tobytes()
            publish(CompressedImage(header=image.header, format="png", data=data))

        def off(state: Any) -> None:
            state.header.stamp.sec += 86400
            states(state)

        compressed.publish, self.joints.publish = compress, off
        self.eye: Any = compressed


def test_when_the_cell_compresses_and_stamps_otherwise_expect_its_recording_to_convert(tmp_path):
    path = recorded(tmp_path / "bags", Compressing, COMPRESSED, stop_s=3.5)
    with Bag.open(path) as bag:
        assert bag.topics["/eye/compressed"].type == "sensor_msgs/msg/CompressedImage"
    assert convert([path], tmp_path / "dataset").kept >= 15


def test_when_a_baseline_has_a_deployment_expect_the_robot_of_the_cell(left):
    loaded = load_policy("hold", checkpoint="", embodiment_file=str(FEED_DOG), deployment_file=left)
    robot = loaded.embodiment
    assert robot.action.topic == "/left/command"
    assert robot.action.names[0] == "left_panda_joint1"
    assert robot.max_acceleration[0] == 10.0
    assert "action.limits.panda_joint1.acceleration: 15.0 -> 10.0" in loaded.deployed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("topic: joint_states", "topic: /robot2/joint_states"),
        ("panda_joint", "left_panda_joint"),
        ("acceleration: 15.0", "acceleration: 10.0"),
        ("rate_hz: 50.0", "rate_hz: 50.0\n  latency_s: 0.02"),
    ],
)
def test_when_the_embodiment_file_states_the_cell_expect_the_checkpoint_driven_so(tmp_path, old, new):
    path = tmp_path / "cell.yaml"
    path.write_text(FEED_DOG.read_text().replace(old, new))
    loaded = load_policy("checkpoint", checkpoint="feed_dog", embodiment_file=str(path))
    try:
        assert loaded.embodiment.streams == Embodiment.load(path).streams
        assert loaded.embodiment.action == Embodiment.load(path).action
        assert loaded.deployed
    finally:
        loaded.close()


def test_when_a_limit_is_wider_than_the_checkpoints_expect_both_values(tmp_path):
    path = tmp_path / "wider.yaml"
    path.write_text(FEED_DOG.read_text().replace("acceleration: 15.0", "acceleration: 16.0"))
    with pytest.raises(
        HptError, match=r"acceleration limit 16 of 'panda_joint1'.* wider than the embodiment's 15"
    ):
        load_policy("checkpoint", checkpoint="feed_dog", embodiment_file=str(path))


def test_when_the_node_is_configured_expect_the_topics_of_the_cell(left):
    with Composition() as composition:
        node = composition.add(
            PolicyNode(
                context=composition.context,
                parameter_overrides=[
                    Parameter("policy", value="hold"),
                    Parameter("embodiment", value=str(FEED_DOG)),
                    Parameter("deployment", value=left),
                ],
            )
        )
        node.trigger_configure()
        assert not node.refusal
        assert node.count_publishers("/left/command") == 1
        assert node.count_publishers("/arm_controller/joint_trajectory") == 0
        assert node.count_subscribers("/left/joint_states") == 1


def test_when_a_file_is_checked_with_a_deployment_expect_what_it_changes(left, capsys):
    assert main(["embodiment", "check", str(FEED_DOG), "--deployment", left]) == 0
    told = capsys.readouterr().out
    assert "/left/command" in told
    assert "10 rad/s^2" in told
    assert "streams.joints.topic: joint_states -> /left/joint_states" in told
