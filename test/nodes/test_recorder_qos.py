# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The recorder subscribes as publishers offer, and writes their bytes as they are."""

from __future__ import annotations

import math

import pytest
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from recording_rig import TEXT, connected, on_its_thread, until
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_msgs.msg import EpisodeEvent
from hpt_ros.embodiment import Embodiment
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from hpt_ros.nodes.recorder.topics import LEAST_DEPTH, MOST_DEPTH, as_offered, queue_depth

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
LATCHED, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE


def qos(reliability, durability):
    return QoSProfile(depth=10, reliability=reliability, durability=durability)


@pytest.mark.parametrize(
    ("offered", "reliable", "latched"),
    [
        ([(RELIABLE, VOLATILE)], True, False),
        ([(BEST_EFFORT, VOLATILE)], False, False),
        ([(RELIABLE, LATCHED)], True, True),
        ([(RELIABLE, LATCHED), (RELIABLE, VOLATILE)], True, False),
        ([(RELIABLE, VOLATILE), (BEST_EFFORT, VOLATILE)], False, False),
    ],
)
def test_the_subscription_asks_for_what_all_publishers_offer(offered, reliable, latched):
    topic = as_offered("std_msgs/msg/String", [qos(*one) for one in offered])
    assert (topic.reliable, topic.latched) == (reliable, latched)


def test_the_queue_holds_two_seconds_of_a_topic_within_its_bounds():
    assert [queue_depth(rate_hz) for rate_hz in (1.0, 30.0, 100.0)] == [LEAST_DEPTH, 60, 200]
    assert queue_depth(10_000.0) == queue_depth(math.inf) == MOST_DEPTH


@pytest.fixture
def graph(tmp_path):
    with Composition() as composition:
        robot = composition.add(Node("robot", context=composition.context))
        recorder = composition.add(
            RecorderNode(
                Embodiment.loads(TEXT), tmp_path, extra_topics=["/notes"], context=composition.context
            )
        )
        yield composition, robot, recorder


def stored(path, topic):
    """Bytes of a topic's messages as they lie in the bag."""
    with Reader(path) as reader:
        return [bytes(data) for connection, _, data in reader.messages() if connection.topic == topic]


@pytest.mark.parametrize("camera", [RELIABLE, BEST_EFFORT])
def test_bytes_are_those_that_were_published_whatever_the_quality_of_service(graph, camera):
    _, robot, recorder = graph
    eye = robot.create_publisher(Image, "/eye", qos(camera, VOLATILE))
    joints = robot.create_publisher(JointState, "/joint_states", qos(RELIABLE, VOLATILE))
    command = robot.create_publisher(JointTrajectory, "/command", qos(BEST_EFFORT, VOLATILE))
    notes = robot.create_publisher(String, "/notes", qos(RELIABLE, LATCHED))
    connected(eye, joints, command, notes)
    until(lambda: {"/eye", "/joint_states", "/command", "/notes"} <= recorder.topics.known.keys())
    assert recorder.topics.known["/eye"].reliable == (camera == RELIABLE)
    assert not recorder.topics.known["/command"].reliable
    assert recorder.topics.known["/notes"].latched
    on_its_thread(recorder, recorder.start_episode)
    sent = {
        "/eye": (eye, Image(height=2, width=2, step=7, encoding="rgb8", data=bytes(range(14)))),
        "/joint_states": (joints, JointState(name=["ä", ""], position=[math.nan, -0.0], effort=[math.inf])),
        "/command": (command, JointTrajectory(points=[JointTrajectoryPoint(positions=[1e-320])])),
        "/notes": (notes, String(data="x" * 70_000)),
    }
    # Published as bytes: those between the fields are whatever the publisher left there, and must come through too.
    data = {topic: serialize_message(message) for topic, (_, message) in sent.items()}
    for topic, (publisher, _) in sent.items():
        publisher.publish(data[topic])
        until(lambda topic=topic: recorder._recording.counts[topic] == 1)
    path, counts, _ = on_its_thread(recorder, recorder.stop_episode, EpisodeEvent.OUTCOME_SUCCESS)
    assert {topic: counts[topic] for topic in sent} == dict.fromkeys(sent, 1)
    assert {topic: stored(path, topic) for topic in sent} == {topic: [one] for topic, one in data.items()}
    with Reader(path) as reader:
        offered = {item.topic: item.ext.offered_qos_profiles[0] for item in reader.connections}
    assert offered["/eye"].reliability.name == camera.name
    assert offered["/notes"].durability.name == "TRANSIENT_LOCAL"


def test_when_a_publisher_comes_back_with_less_expect_the_subscription_to_follow(graph):
    """A driver that is restarted with other settings in mid-episode is recorded on."""
    _, robot, recorder = graph
    eye = robot.create_publisher(Image, "/eye", qos(RELIABLE, VOLATILE))
    joints = robot.create_publisher(JointState, "/joint_states", 10)
    command = robot.create_publisher(JointTrajectory, "/command", 10)
    connected(eye, joints, command)
    on_its_thread(recorder, recorder.start_episode)
    pictures = [serialize_message(Image(encoding=encoding)) for encoding in ("before", "after")]
    eye.publish(pictures[0])
    until(lambda: recorder._recording.counts["/eye"] == 1)
    robot.destroy_publisher(eye)
    eye = robot.create_publisher(Image, "/eye", qos(BEST_EFFORT, VOLATILE))
    connected(eye)
    eye.publish(pictures[1])
    until(lambda: recorder._recording.counts["/eye"] == 2)
    assert not recorder.topics.known["/eye"].reliable
    path, _, _ = on_its_thread(recorder, recorder.stop_episode, EpisodeEvent.OUTCOME_SUCCESS)
    assert stored(path, "/eye") == pictures


def test_a_latched_message_of_before_is_in_every_episode(graph):
    """A task or a static transform is said once, but each bag must hold it."""
    composition, robot, recorder = graph
    notes = robot.create_publisher(String, "/notes", qos(RELIABLE, LATCHED))
    late = composition.add(Node("late", context=composition.context))
    notes.publish(String(data="said long ago"))
    others = [
        late.create_publisher(kind, topic, 10)
        for kind, topic in ((Image, "/eye"), (JointState, "/joint_states"), (JointTrajectory, "/command"))
    ]
    connected(notes, *others)
    for _ in range(2):
        on_its_thread(recorder, recorder.start_episode)
        until(lambda: recorder._recording.counts["/notes"] == 1)
        path, _, _ = on_its_thread(recorder, recorder.stop_episode, EpisodeEvent.OUTCOME_UNKNOWN)
        assert [data[8:-1] for data in stored(path, "/notes")] == [b"said long ago"]
