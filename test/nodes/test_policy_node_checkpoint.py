# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy node with a real, tiny checkpoint; as a process of its own; and on simulated time."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import policy_rig
import pytest
import torch
from builtin_interfaces.msg import Time
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from support.sizes import policy_config
from support.told import told
from trajectory_msgs.msg import JointTrajectory

from hpt_msgs.msg import PolicyStatus
from hpt_ros.control import State
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.model import Policy, Statistics, StemConfig, TrunkConfig, save_checkpoint
from hpt_ros.model.small_cnn import SmallCnnConfig
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.policies.factory import load_policy
from hpt_ros.policies.protocol import EncodesAhead, Observation
from hpt_ros.resources import config_file, embodiment_file

FILE = config_file("embodiments/feed_dog.yaml")
ROBOT = Embodiment.load(FILE)
HOME = (ROBOT.lower + ROBOT.upper) / 2
NS = 1_000_000_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A policy of random weights whose actions stay within 0.05 rad of HOME, saved as training saves it."""
    torch.manual_seed(0)
    config = policy_config(
        embodiment=ROBOT.name,
        observation_horizon=ROBOT.observation_horizon,
        action_horizon=ROBOT.action.horizon,
        state_dim=7,
        action_dim=7,
        views=2,
        image_height=96,
        image_width=128,
        trunk=TrunkConfig(depth=1, width=32, heads=2),
        stems=(StemConfig(modality="image", tokens=2), StemConfig(modality="state", tokens=2)),
        image_encoder=SmallCnnConfig(channels=(8, 8)),
    )
    policy = Policy(config)
    near = np.stack([HOME - 0.05, HOME + 0.05]).astype(np.float32)
    statistics = Statistics.of(near)
    policy.set_statistics({"action": statistics, "state": statistics})
    policy.eval()
    return save_checkpoint(
        tmp_path_factory.mktemp("checkpoint") / "tiny",
        policy, embodiment_yaml=FILE.read_text(encoding="utf-8"), stats={}, card="# a test's",
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["delta", "relative"])
def test_when_a_checkpoint_has_a_mode_expect_absolute_chunks_for_the_control_room(checkpoint, tmp_path, mode):
    """The same network; what it gives is taken from the pose that the observation shows."""
    folder = tmp_path / mode
    shutil.copytree(checkpoint, folder)
    robot = replace(ROBOT, action=replace(ROBOT.action, mode=mode))
    embodiment_file(folder).write_text(robot.to_yaml(), encoding="utf-8")
    pose = (HOME + 0.01).astype(np.float32)
    inputs: dict[str, np.ndarray] = {
        "image": np.zeros((1, 1, 2, 96, 128, 3), np.uint8),
        "state": pose[None, None],
    }
    given, absolute = (
        load_policy("checkpoint", checkpoint=str(path), embodiment_file="").policy.predict(
            Observation(0, inputs)
        )
        for path in (checkpoint, folder)
    )
    moved = np.cumsum(given, axis=0) if mode == "delta" else given
    np.testing.assert_allclose(absolute, pose + moved, atol=1e-5)
    with pytest.raises(HptError, match=f"action.mode is {mode} in the first and absolute in the second"):
        load_policy("checkpoint", checkpoint=str(folder), embodiment_file=str(FILE))


# A process of its own takes a while to start.
wait_for = functools.partial(policy_rig.wait_for, timeout_s=30.0)


class SimulatedRobot(Node):
    """Streams and clock on simulated time, which passes only while `run` is called."""

    def __init__(self, context: Any) -> None:
        super().__init__("robot", context=context)
        self.now_ns = 100 * NS
        self.position = HOME.copy()
        self.commands: list[JointTrajectory] = []
        self.states: list[int] = []
        self.clock = self.create_publisher(Clock, "/clock", 10)
        self.cameras = [
            self.create_publisher(Image, s.topic, qos_profile_sensor_data) for s in ROBOT.image_streams
        ]
        self.joints = self.create_publisher(JointState, ROBOT.state_streams[0].topic, qos_profile_sensor_data)
        self.create_subscription(JointTrajectory, ROBOT.action.topic, self._on_command, 1000)
        self.create_subscription(
            PolicyStatus, "/policy_node/status", lambda m: self.states.append(m.state), 10
        )

    def _on_command(self, message: JointTrajectory) -> None:
        self.commands.append(message)
        self.position = told(message, 0.02).position

    def tick(self) -> None:
        """A hundredth of a second."""
        self.now_ns += NS // 100
        stamp = Time(sec=self.now_ns // NS, nanosec=self.now_ns % NS)
        message = JointState(name=list(ROBOT.action.names), position=self.position.tolist())
        message.header.stamp = stamp
        self.joints.publish(message)
        if self.now_ns % (NS // 10) == 0:
            for publisher in self.cameras:
                image = Image(height=96, width=128, step=384, encoding="rgb8")
                # A real camera's noise: no picture comes twice.
                image.data = self.now_ns.to_bytes(8, "little") + bytes(96 * 128 * 3 - 8)
                image.header.stamp = stamp
                publisher.publish(image)
        self.clock.publish(Clock(clock=stamp))

    def run_until(self, condition: Callable[[], Any], what: str) -> None:
        def step() -> Any:
            self.tick()
            return condition()

        wait_for(step, what)


def make_node(context: Any, **values: Any) -> PolicyNode:
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    return PolicyNode(context=context, parameter_overrides=overrides)


def test_when_a_checkpoint_is_loaded_expect_its_chunks_as_commands_on_simulated_time(checkpoint):
    with Composition() as composition:
        robot = composition.add(SimulatedRobot(composition.context))
        node = composition.add(
            make_node(composition.context, checkpoint=str(checkpoint), use_sim_time=True, threads=1)
        )
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS, node.refusal
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS, node.refusal
        robot.run_until(lambda: len(robot.commands) > 30, "commands")
        assert node.state is State.RUNNING
        stamps = [c.header.stamp.sec * NS + c.header.stamp.nanosec for c in robot.commands]
        assert 100 * NS < min(stamps) <= max(stamps) <= robot.now_ns
        for command in robot.commands:
            assert np.abs(told(command, 0.02).position - HOME).max() < 0.06
        assert node.metrics()["inference_s"].size >= 1
        # Simulated time stands still: no more commands, and the status goes on.
        wait_for(lambda: not robot.states.clear(), "")
        wait_for(lambda: len(robot.states) > 3, "status while simulated time stands still")
        sent = len(robot.commands)
        wait_for(lambda: len(robot.states) > 6, "more status")
        assert len(robot.commands) == sent
        # The scene is reset and time begins again: hold, then go on without an old chunk.
        robot.now_ns = 10 * NS
        robot.run_until(lambda: node.counters()["clock_jumps"] == 1, "the clock's jump")
        robot.run_until(lambda: node.state is State.RUNNING, "motion on the new time")
        assert node.counters()["faults"] == 0


def test_when_checkpoint_is_of_another_robot_expect_configure_refused_naming_the_field(checkpoint, tmp_path):
    other = replace(ROBOT, tick_hz=5.0)
    file = tmp_path / "other.yaml"
    file.write_text(other.to_yaml(), encoding="utf-8")
    with Composition() as composition:
        node = composition.add(
            make_node(composition.context, checkpoint=str(checkpoint), embodiment=str(file))
        )
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert f"are of different embodiments: tick_hz is {ROBOT.tick_hz} in the first and 5.0" in str(
            node.refusal
        )
        assert node.state is State.UNCONFIGURED


def test_when_checkpoint_is_damaged_expect_configure_refused_with_a_sentence(checkpoint, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with Composition() as composition:
        node = composition.add(make_node(composition.context, checkpoint=str(broken)))
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert "copy the checkpoint again" in str(node.refusal)


def test_when_device_is_not_there_expect_configure_refused_with_a_sentence(checkpoint):
    with Composition() as composition:
        node = composition.add(make_node(composition.context, checkpoint=str(checkpoint), device="cuda:99"))
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert "the parameter device is 'cuda:99', but PyTorch " in str(node.refusal)


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hpt_ros.nodes.policy.policy_node", "--ros-args", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_its_process_is_interrupted_while_moving_expect_the_robot_braked_and_status_0(number):
    with Composition() as composition:
        robot = composition.add(SimulatedRobot(composition.context))
        process = start(
            "-p", "policy:=random", "-p", f"embodiment:={FILE}", "-p", "autostart:=true", "-p", "use_sim_time:=true"
        )  # fmt: skip
        try:
            moving = lambda: robot.commands and np.abs(told(robot.commands[-1], 0.02).velocity).max() > 0.1  # noqa: E731
            robot.run_until(moving, "motion")
            process.send_signal(number)
            stopper = threading.Thread(target=process.wait)
            stopper.start()
            wait_for(lambda: not told(robot.commands[-1], 0.02).velocity.any(), "rest")
            stopper.join(20.0)
            assert process.returncode == 0, process.communicate()
        finally:
            process.kill()
            process.communicate()


def test_when_autostart_cannot_configure_expect_one_sentence_and_status_2():
    process = start("-p", "checkpoint:=/nowhere", "-p", "autostart:=true")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "policy_node: error: the checkpoint '/nowhere' is neither a folder nor shipped" in errors


def test_when_parameter_file_is_wrong_expect_one_sentence_and_status_2():
    process = start("-p", "safety.velocity_scale:=2.0")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "safety.velocity_scale" in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\n  horizon: 16",
            "\n  horizon: 8",
            "has action horizon 16 but its embodiment.yaml has 8",
        ),
        (
            "observation_horizon: 1",
            "observation_horizon: 3",
            "observation horizon 1 but its embodiment.yaml has 3",
        ),
    ],
)
def test_when_the_horizons_of_a_checkpoint_disagree_expect_both(checkpoint, tmp_path, old, new, message):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "mixed"))
    text = embodiment_file(folder).read_text(encoding="utf-8")
    assert old in text
    embodiment_file(folder).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(HptError, match=message):
        load_policy("checkpoint", checkpoint=str(folder), embodiment_file="", device="cpu", threads=1, seed=0)


def test_a_tick_encoded_ahead_gives_the_same_chunk_and_its_picture_is_not_looked_at_again(tmp_path):
    torch.manual_seed(1)
    robot = replace(ROBOT, observation_horizon=2)
    config = policy_config(
        embodiment=robot.name, observation_horizon=2, action_horizon=robot.action.horizon, state_dim=7, action_dim=7,
        views=2, image_height=96, image_width=128, trunk=TrunkConfig(depth=1, width=32, heads=2),
        stems=(StemConfig(modality="image", tokens=2), StemConfig(modality="state", tokens=2)),
        image_encoder=SmallCnnConfig(channels=(8, 8)),
    )  # fmt: skip
    policy = Policy(config).eval()
    statistics = Statistics.of(np.stack([HOME - 0.05, HOME + 0.05]).astype(np.float32))
    policy.set_statistics({"action": statistics, "state": statistics})
    folder = save_checkpoint(
        tmp_path / "two", policy, embodiment_yaml=robot.to_yaml(), stats={}, card="# a test's"
    )
    loaded = load_policy("checkpoint", checkpoint=str(folder), embodiment_file="", threads=1)
    assert (loaded.horizon, loaded.tasks) == (2, ())
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (1, 2, 2, 96, 128, 3), dtype=np.uint8)
    state = (HOME + random.normal(size=(1, 2, 7)) * 0.01).astype(np.float32)
    expected = policy.predict({"image": image, "state": state})[0].numpy()
    trained = loaded.policy
    assert isinstance(trained, EncodesAhead)
    for index in range(2):
        trained.observe(Observation(0, {"image": image[:, index : index + 1]}, keys=(index,)))
    unseen = np.zeros_like(image)
    ahead = trained.predict(Observation(0, {"image": unseen, "state": state}, keys=(0, 1)))
    np.testing.assert_allclose(ahead, expected, atol=1e-5)
    trained.reset()
    fresh = trained.predict(Observation(0, {"image": unseen, "state": state}, keys=(0, 1)))
    assert np.abs(fresh - expected).max() > 1e-4
    np.testing.assert_allclose(
        trained.predict(Observation(0, {"image": image, "state": state})), expected, atol=1e-5
    )


def test_when_a_backend_cannot_be_had_expect_configure_refused_with_a_sentence(checkpoint):
    with Composition() as composition:
        node = composition.add(
            make_node(composition.context, checkpoint=str(checkpoint), backend="eager", precision="int8")
        )
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert "the backend 'eager' computes in float32, not in 'int8'" in str(node.refusal)
