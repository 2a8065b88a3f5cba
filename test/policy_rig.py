# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy node over real DDS, with a robot that publishes what drivers would and follows commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import ActionClient
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Empty
from support.arm import COBOT, Arm
from support.told import Sent, peaks, told
from trajectory_msgs.msg import JointTrajectory

from hpt_msgs.action import RunPolicy
from hpt_msgs.msg import ActionChunk, PolicyStatus
from hpt_msgs.srv import GetTaskResult
from hpt_ros.control import State
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.streams import in_namespace
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.resources import config_file

ROBOT = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
FILE = str(config_file("embodiments/feed_dog.yaml"))
COMMANDS = in_namespace(ROBOT.action.topic)  # where a node outside of any namespace commands
HOME = (ROBOT.lower + ROBOT.upper) / 2
PERIOD_S = 1.0 / ROBOT.action.rate_hz
NS = 1_000_000_000


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    limit = time.monotonic() + timeout_s
    while time.monotonic() < limit:
        if value := condition():
            return value
        time.sleep(0.01)
    pytest.fail(f"{what} did not happen within {timeout_s} s")


class Robot(Node):
    """Joint states at 100 Hz and two cameras at 10 Hz; lags, sags, and is measured with noise."""

    def __init__(self, context: Any, namespace: str = "") -> None:
        super().__init__("robot", context=context, namespace=namespace)
        self.place(HOME)
        self.camera_on = self.joints_on = self.follows = True
        self.same_picture, self.pictures = False, 0
        self.stamped = True  # of joint states
        self.size = (96, 128)  # of images: height and width
        self.clock_off_s = 0.0  # how far its stamps are from the node's clock
        self.encoding, self.names, self.spoil = "rgb8", list(ROBOT.action.names), False
        self.commands: list[Sent] = []
        self.statuses: list[PolicyStatus] = []
        self.chunks: list[ActionChunk] = []
        self.diagnostics: list[DiagnosticStatus] = []
        self.task_done = False
        self.last_camera_ns = 0
        self.cameras = [
            self.create_publisher(Image, stream.topic, qos_profile_sensor_data)
            for stream in ROBOT.image_streams
        ]
        self.joints = self.create_publisher(JointState, ROBOT.state_streams[0].topic, qos_profile_sensor_data)
        self.controller: Any = self.create_subscription(
            JointTrajectory, ROBOT.action.topic, self._on_command, 1000
        )
        self.create_subscription(PolicyStatus, "policy_node/status", self.statuses.append, 100)
        self.create_subscription(ActionChunk, "policy_node/chunk", self.chunks.append, 100)
        self.create_subscription(
            DiagnosticArray, "/diagnostics", lambda m: self.diagnostics.extend(m.status), 100
        )
        self.stop_topic = self.create_publisher(Empty, "policy_node/stop", 10)
        self.create_service(GetTaskResult, "sim/task_result", self._on_task_result)
        # Made here, before anybody spins: rclpy 9.1 adds an action client to its node before it has its lock, and an
        # executor that meets it then dies. Service clients are kept, so that each is discovered once.
        self.run_client: Any = ActionClient(self, RunPolicy, "policy_node/run")
        self._clients_of: dict[str, Any] = {}
        self.switch = self.create_publisher(Bool, "/deadman", 10)
        self.switch_held: bool | None = None  # None: no messages
        self.create_timer(0.02, self._publish_switch)
        self.create_timer(0.01, self._publish_joints)
        self.create_timer(0.1, self._publish_images)

    def place(self, position: np.ndarray) -> None:
        """Put it there by hand, (7,) rad."""
        self.arm = Arm(COBOT, position, time.monotonic_ns())
        self.goal = position - COBOT.sag
        self.measured = position.copy()  # as published last

    def _on_task_result(self, request: Any, response: Any) -> Any:
        response.success = self.task_done
        return response

    def _on_command(self, message: JointTrajectory) -> None:
        assert list(message.joint_names) == list(ROBOT.action.names)
        self.commands.append(told(message, PERIOD_S))
        self.goal = self.commands[-1].position

    def _publish_switch(self) -> None:
        if self.switch_held is not None:
            self.switch.publish(Bool(data=self.switch_held))

    def _now(self) -> Time:
        return (self.get_clock().now() + Duration(seconds=self.clock_off_s)).to_msg()

    def _publish_joints(self) -> None:
        # Where it does not follow it is held fast.
        self.arm.advance(time.monotonic_ns(), self.goal if self.follows else self.arm.position - COBOT.sag)
        if self.joints_on:
            self.measured = self.arm.measured()
            position = self.measured.tolist()
            if self.spoil:
                position[3] = float("nan")
            message = JointState(name=self.names, position=position)
            if self.stamped:
                message.header.stamp = self._now()
            self.joints.publish(message)

    def _publish_images(self) -> None:
        if self.camera_on:
            stamp = self._now()
            self.pictures += not self.same_picture
            for publisher in self.cameras:
                height, width = self.size
                message = Image(height=height, width=width, step=width * 3, encoding=self.encoding)
                # A real camera's noise: no picture comes twice.
                message.data = self.pictures.to_bytes(4, "little") + bytes(height * width * 3 - 4)
                message.header.stamp = stamp
                publisher.publish(message)
            self.last_camera_ns = stamp.sec * NS + stamp.nanosec

    def call(self, kind: Any, name: str, request: Any = None) -> Any:
        if name not in self._clients_of:
            self._clients_of[name] = self.create_client(kind, f"policy_node/{name}")
        client = self._clients_of[name]
        assert client.wait_for_service(timeout_sec=20.0)
        done = threading.Event()
        future = client.call_async(request or kind.Request())
        future.add_done_callback(lambda _: done.set())
        assert done.wait(20.0)
        return future.result()

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, "change_state", request).success)


class Ramp:
    """Moves every joint at a constant velocity from where it is seen; can raise, hang and send rubbish."""

    def __init__(self, rad_s: float = 0.4) -> None:
        self.rad_s, self.value, self.raises = rad_s, 0.0, False
        self.shape: tuple[int, ...] | None = None
        self.released = threading.Event()
        self.released.set()
        self.seen: list[Observation] = []

    def predict(self, observation: Observation) -> np.ndarray:
        self.seen.append(observation)
        self.released.wait(30.0)
        if self.raises:
            raise RuntimeError("out of cheese")
        if self.shape is not None:
            return np.zeros(self.shape)
        pose: np.ndarray = observation.inputs["state"][0, -1]
        return pose + self.value + self.rad_s * ROBOT.dt_s * np.arange(ROBOT.action.horizon)[:, None]

    def reset(self) -> None:
        pass


@dataclass
class Rig:
    composition: Composition
    robot: Robot
    policy: Ramp
    node: PolicyNode | None = None

    def start(
        self, *, active: bool = True, load: bool = True, loaded: LoadedPolicy | None = None, **values: Any
    ) -> PolicyNode:
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        ready = loaded or LoadedPolicy(self.policy, ROBOT, "", ROBOT.observation_horizon)
        loader = (lambda: ready) if load else None
        self.node = PolicyNode(load=loader, context=self.composition.context, parameter_overrides=overrides)
        self.composition.add(self.node)
        if active:
            assert self.robot.change(Transition.TRANSITION_CONFIGURE), self.node.refusal
            assert self.robot.change(Transition.TRANSITION_ACTIVATE), self.node.refusal
        return self.node

    def state(self) -> State:
        assert self.node is not None
        return self.node.state

    def until(self, state: State) -> None:
        wait_for(lambda: self.state() is state, f"state {state.name}")

    def until_rest(self) -> None:
        """Until the robot was commanded to rest, and got all that was sent."""
        runtime = self.node.runtime if self.node is not None else None
        wait_for(lambda: runtime is None or runtime.controller.at_rest, "rest")
        wait_for(lambda: not self.robot.commands[-1].velocity.any(), "rest at the robot")
        time.sleep(0.1)

    def until_moving(self) -> None:
        self.until(State.RUNNING)
        wait_for(
            lambda: self.robot.commands and np.abs(self.robot.commands[-1].velocity).max() > 0.3, "motion"
        )

    def check_limits(self, sent: list[Sent] | None = None) -> None:
        commands = self.robot.commands if sent is None else sent
        path = np.array([command.position for command in commands])
        assert (path >= ROBOT.lower).all()
        assert (path <= ROBOT.upper).all()
        velocity, acceleration = peaks(commands, PERIOD_S)
        assert (velocity <= ROBOT.max_velocity * (1 + 1e-6)).all()
        assert (acceleration <= ROBOT.max_acceleration * (1 + 1e-6)).all()


@contextmanager
def policy_rig(make_robot: Callable[[Any], Robot] = Robot) -> Iterator[Rig]:
    """A robot, and a policy for the node that `start` makes."""
    policy = Ramp()
    with Composition() as composition:
        robot = composition.add(make_robot(composition.context))
        yield Rig(composition, robot, policy)
        policy.released.set()


def nan_checkpoint(folder: Path) -> LoadedPolicy:
    """A trained policy, saved below `folder`, whose weights are NaN."""
    # Imported here, as torch takes seconds.
    import torch

    from hpt_ros.model import Policy, PolicyConfig, Statistics, StemConfig, TrunkConfig, save_checkpoint
    from hpt_ros.policies.hpt import CheckpointPolicy

    torch.manual_seed(0)
    config = PolicyConfig(
        embodiment=ROBOT.name, observation_horizon=1, action_horizon=ROBOT.action.horizon, action_dim=7,
        shapes={"state": (7,)},
        stems=(StemConfig(modality="state", tokens=2),), trunk=TrunkConfig(depth=1, width=32, heads=2),
    )  # fmt: skip
    policy = Policy(config).eval()
    statistics = Statistics.of(np.stack([HOME - 0.1, HOME + 0.1]).astype(np.float32))
    policy.set_statistics({"action": statistics, "state": statistics})
    saved = save_checkpoint(
        folder / "broken", policy, embodiment_yaml=ROBOT.to_yaml(), stats={}, card="# a test's"
    )
    trained = CheckpointPolicy(saved, "cpu", 1)
    with torch.no_grad():
        for weights in trained._rollout.policy.parameters():
            weights.fill_(torch.nan)
    return LoadedPolicy(trained, ROBOT, str(saved), 1)
