# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot on real DDS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from support.refused import refused
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_msgs.srv import GetTaskResult, ResetScene
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.sim.sim_node import SimNode
from hpt_ros.sim.panda import JOINT_NAMES
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment
from hpt_ros.sim.tasks.feed_dog.task import START_RAD

WAIT_S = 60.0  # wall time; only a broken graph takes so long
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def nanoseconds(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class Listener(Node):
    """Keeps all that the simulator publishes, and calls it."""

    def __init__(self, context) -> None:
        super().__init__("listener", context=context)
        self.heard: dict[str, list[Any]] = {}
        for kind, topic, qos in (
            (Clock, "/clock", 10),
            (JointState, "/joint_states", 100),
            (Image, "/front_camera/image_raw", qos_profile_sensor_data),
            (Image, "/wrist_camera/image_raw", qos_profile_sensor_data),
            (CompressedImage, "/wrist_camera/image_raw/compressed", qos_profile_sensor_data),
            (DiagnosticArray, "/diagnostics", 10),
        ):
            self.create_subscription(kind, topic, self.heard.setdefault(topic, []).append, qos)
        self.commands = self.create_publisher(JointTrajectory, "/arm_controller/joint_trajectory", 10)
        self.reset_client = self.create_client(ResetScene, "/sim/reset_scene")
        self.result_client = self.create_client(GetTaskResult, "/sim/task_result")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end_s, f"waited in vain for {what}"
            time.sleep(0.005)

    def wait_sim(self, duration_s: float) -> None:
        end_ns = nanoseconds(self.last("/clock").clock) + round(duration_s * 1e9)
        self.wait(
            lambda: nanoseconds(self.last("/clock").clock) >= end_ns, f"{duration_s} s of simulated time"
        )

    def last(self, topic: str) -> Any:
        self.wait(lambda: bool(self.heard[topic]), f"a message on {topic}")
        return self.heard[topic][-1]

    def call(self, client, request) -> Any:
        assert client.wait_for_service(timeout_sec=WAIT_S)
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        assert answered.wait(WAIT_S)
        return future.result()

    def send(self, positions, names=JOINT_NAMES, reach_s: float = 0.5) -> None:
        self.wait(lambda: self.commands.get_subscription_count() > 0, "the simulator's subscription")
        message = JointTrajectory(joint_names=list(names))
        reach = Duration(sec=int(reach_s), nanosec=round(reach_s % 1 * 1e9))
        message.points = [
            JointTrajectoryPoint(positions=[float(p) for p in positions], time_from_start=reach)
        ]
        self.commands.publish(message)


@pytest.fixture(scope="module")
def graph() -> Iterator[tuple[SimNode, Listener]]:
    with Composition() as composition:
        overrides = [Parameter("real_time_factor", value=2.0)]
        sim = composition.add(SimNode(context=composition.context, parameter_overrides=overrides))
        listener = composition.add(Listener(composition.context))
        sim.start()
        yield sim, listener


@pytest.fixture
def sim(graph) -> SimNode:
    return graph[0]


@pytest.fixture
def listener(graph) -> Listener:
    """A listener on a freshly reset scene that has heard nothing yet."""
    found: Listener = graph[1]
    assert found.call(found.reset_client, ResetScene.Request(seed=0)).success
    for messages in found.heard.values():
        messages.clear()
    return found


def test_cameras_come_at_10_hz_of_simulated_time_in_the_right_size(listener):
    topics = ("/front_camera/image_raw", "/wrist_camera/image_raw")
    listener.wait(lambda: all(len(listener.heard[topic]) >= 6 for topic in topics), "6 images of each camera")
    for topic in topics:
        stamps = np.array([nanoseconds(image.header.stamp) for image in listener.heard[topic]])
        assert (stamps % 100_000_000 == 0).all()
        assert (np.diff(stamps) == 100_000_000).all()
        image = listener.heard[topic][-1]
        assert (image.height, image.width, image.encoding, image.step) == (96, 128, "rgb8", 384)
        assert np.frombuffer(image.data, np.uint8).reshape(96, 128, 3).std() > 10


def test_compressed_image_shows_what_the_raw_one_of_the_same_stamp_shows(listener):
    listener.wait(lambda: len(listener.heard["/wrist_camera/image_raw/compressed"]) >= 3, "compressed images")
    raw = {nanoseconds(i.header.stamp): i for i in list(listener.heard["/wrist_camera/image_raw"])}
    jpeg = {
        nanoseconds(i.header.stamp): i for i in list(listener.heard["/wrist_camera/image_raw/compressed"])
    }
    stamp = next(stamp for stamp in jpeg if stamp in raw)
    decoded = cv2.imdecode(np.frombuffer(jpeg[stamp].data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    pixels = np.frombuffer(raw[stamp].data, np.uint8).reshape(96, 128, 3)
    assert np.abs(decoded.astype(int) - pixels).mean() < 8


def test_joint_states_come_at_100_hz_of_simulated_time(listener):
    listener.wait(lambda: len(listener.heard["/joint_states"]) >= 50, "50 joint states")
    states = list(listener.heard["/joint_states"])
    assert set(np.diff([nanoseconds(state.header.stamp) for state in states])) == {10_000_000}
    assert tuple(states[0].name) == JOINT_NAMES
    assert len(states[0].position) == len(states[0].velocity) == len(states[0].effort) == 7
    np.testing.assert_allclose(states[0].position, START_RAD, atol=0.04)


def test_simulated_time_starts_after_10_s_and_a_reset_does_not_turn_it_back(listener):
    listener.wait_sim(0.2)
    assert listener.call(listener.reset_client, ResetScene.Request(seed=1)).success
    listener.wait_sim(0.2)
    times = np.array([nanoseconds(message.clock) for message in listener.heard["/clock"]])
    assert times[0] >= 10 * 1_000_000_000
    assert (np.diff(times) > 0).all()


def test_trajectory_is_followed_whatever_the_order_of_the_joints(sim, listener):
    goal = START_RAD + 0.15
    backwards = slice(None, None, -1)
    before = sim.counters
    listener.send(goal[backwards], JOINT_NAMES[backwards], reach_s=0.5)
    listener.wait_sim(1.5)
    np.testing.assert_allclose(listener.last("/joint_states").position, goal, atol=0.005)
    assert sim.counters["accepted"] == before["accepted"] + 1
    listener.wait_sim(0.5)  # and held when nothing comes
    np.testing.assert_allclose(listener.last("/joint_states").position, goal, atol=0.005)


@pytest.mark.parametrize(
    ("names", "positions"),
    [
        (("panda_joint0", *JOINT_NAMES[1:]), START_RAD + 0.2),
        (JOINT_NAMES[:6], START_RAD[:6] + 0.2),
        (JOINT_NAMES, START_RAD[:6] + 0.2),
        (JOINT_NAMES, [*START_RAD[:6], float("nan")]),
    ],
)
def test_when_a_trajectory_is_malformed_expect_it_refused_counted_and_no_motion(
    sim, listener, names, positions
):
    before = sim.counters
    listener.wait_sim(0.1)
    still = np.array(listener.last("/joint_states").position)
    listener.send(positions, names)
    listener.wait(lambda: sim.counters["refused"] > before["refused"], "the refusal")
    listener.wait_sim(0.5)
    assert sim.counters == {**before, "refused": before["refused"] + 1}
    np.testing.assert_allclose(listener.last("/joint_states").position, still, atol=1e-3)


def test_counters_are_told_in_diagnostics(sim, listener):
    listener.send(START_RAD + 9.0)
    listener.wait(lambda: sim.counters["position_limit"] > 0, "the command")
    listener.wait_sim(1.1)
    (status,) = listener.last("/diagnostics").status
    told = {item.key: int(item.value) for item in status.values}
    assert told == sim.counters
    assert "position_limit" in status.message


def test_when_the_seed_is_the_same_expect_the_same_scene(listener):
    images, joints = [], []
    for seed in (5, 6, 5):
        assert listener.call(listener.reset_client, ResetScene.Request(seed=seed)).success
        images.append(np.frombuffer(listener.last("/front_camera/image_raw").data, np.uint8).astype(int))
        listener.wait_sim(0.1)
        joints.append(tuple(np.round(listener.last("/joint_states").position, 6)))
    assert joints[0] == joints[2] != joints[1]
    same, other = (np.abs(images[0] - images[index]).mean() for index in (2, 1))
    assert same < 1.0 < other  # the answer came when the camera had shown the new scene


def test_when_the_seed_is_negative_expect_the_reset_refused(listener):
    answer = listener.call(listener.reset_client, ResetScene.Request(seed=-1))
    assert not answer.success
    assert "seed -1" in answer.message


def test_task_result_says_how_much_kibble_is_in_the_bowl(listener):
    answer = listener.call(listener.result_client, GetTaskResult.Request())
    assert (answer.success, answer.progress) == (False, 0.0)
    assert answer.detail.startswith("0 of")


def test_when_a_parameter_is_set_while_it_runs_expect_it_refused(sim):
    (result,) = sim.set_parameters([Parameter("disturbance_rad", value=0.01)])
    assert not result.successful
    assert (
        "disturbance_rad is read when the process starts; start it again with the new value" in result.reason
    )


@pytest.mark.parametrize(
    ("name", "value"), [("real_time_factor", -1.0), ("picture_width", 0), ("seed", "zero")]
)
def test_when_a_parameter_is_out_of_range_expect_an_error_that_names_it(name, value):
    with Composition() as composition, pytest.raises(HptError, match=f"{name} of /sim_node"):
        SimNode(context=composition.context, parameter_overrides=[Parameter(name, value=value)])


def test_another_environment_is_hosted_with_scenes_that_differ():
    overrides = {"environment": "switch_insertion_ur5e", "difficulty": "varied", "vary": ["distractors=3"]}
    with Composition() as composition:
        sim = SimNode(
            context=composition.context,
            parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
        )
        offered: list[Any] = [*sim.publishers, *sim.subscriptions]
        topics = {item.topic_name for item in offered}
        assert {f"/{topic}" for topic in sim.robot.topics} <= topics
        assert sim.robot.name == "switch_insertion_ur5e"
        sim.close()
        sim.destroy_node()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("environment", "feed_cat", "the environment is 'feed_cat'"),
        ("difficulty", "easy", "the difficulty is 'easy'"),
        ("vary", ["gravity=0"], "the variation is 'gravity'"),
        ("image_lost", 2.0, "image_lost of /sim_node"),
    ],
)
def test_when_there_is_no_such_environment_or_variation_expect_the_sentence(name, value, sentence):
    with Composition() as composition, pytest.raises(HptError, match=sentence):
        SimNode(context=composition.context, parameter_overrides=[Parameter(name, value=value)])


def test_when_the_simulator_has_been_closed_expect_the_services_to_say_so():
    with Composition() as composition:
        sim = composition.add(SimNode(context=composition.context))
        sim.start()
        sim.close()
        answer = sim._on_reset(ResetScene.Request(seed=0), ResetScene.Response())
    assert not answer.success
    assert "the simulator has stopped" in answer.message


class Blind(FeedDogEnvironment):
    def render(self, height: int, width: int) -> Any:
        raise RuntimeError("no GL")


def test_when_an_environment_cannot_render_for_whatever_reason_expect_it_from_the_start() -> None:
    with Composition() as composition:
        node = composition.add(SimNode(make=Blind, context=composition.context))
        with pytest.raises(RuntimeError, match="no GL"):
            node.start()
        with refused(HptError, Code.NOT_READY, subject="simulator"):
            node.ask(lambda: None).result(WAIT_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_what_is_asked_stops_the_simulation_expect_an_answer_all_the_same() -> None:
    with Composition() as composition:
        node = composition.add(SimNode(context=composition.context))
        asked = node.ask(lambda: 1 // 0)  # before time runs, so that nobody hears a second clock
        node.start()
        with refused(HptError, Code.NOT_READY, subject="simulator"):
            asked.result(WAIT_S)
