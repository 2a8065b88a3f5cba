# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small robot that publishes in simulated time, for tests of the recorder on real DDS."""

from __future__ import annotations

import threading
import time
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_msgs.msg import EpisodeEvent
from hpt_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode

TEXT = """
format: hpt_ros/embodiment/1
name: tiny
task: push the button
tick_hz: 10.0
streams:
  - {name: eye, modality: image, topic: /eye, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 16, width: 24}}
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 50.0,
     tolerance_s: 0.1, joints: [a], fields: [position]}
action:
  topic: /command
  type: trajectory_msgs/msg/JointTrajectory
  names: [a]
  rate_hz: 50.0
  horizon: 4
  limits: [{name: a, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 1.0}]
"""
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
WAIT_S = 60.0  # only ends a test that would wait for ever


class Robot(Node):
    """Publishes on request, in simulated time that it also publishes."""

    def __init__(self, context, *, with_camera=True):
        super().__init__("robot", context=context)
        self.clock_publisher = self.create_publisher(Clock, "/clock", 10)
        self.eye = self.create_publisher(Image, "/eye", BEST_EFFORT) if with_camera else None
        self.joints = self.create_publisher(JointState, "/joint_states", 10)
        self.command = self.create_publisher(JointTrajectory, "/command", 10)
        self.notes = self.create_publisher(String, "/notes", LATCHED)
        self.events: list[EpisodeEvent] = []
        self.create_subscription(EpisodeEvent, "/hpt/episode_events", self.events.append, 10)
        self.asked: dict[Any, Any] = {
            kind: self.create_client(kind, f"/recorder_node/{name}")
            for kind, name in (
                (StartEpisode, "start_episode"),
                (StopEpisode, "stop_episode"),
                (DiscardEpisode, "discard_episode"),
            )
        }

    def call(self, kind, **fields):
        client = self.asked[kind]
        assert client.wait_for_service(timeout_sec=WAIT_S)
        done = threading.Event()
        future = client.call_async(kind.Request(**fields))
        future.add_done_callback(lambda _: done.set())
        assert done.wait(WAIT_S), f"{kind.__name__} gave no answer"
        return future.result()

    def tell_time(self, ns):
        self.clock_publisher.publish(Clock(clock=stamp(ns)))

    def play(self, recorder, start_s, stop_s):
        """Publish the streams from start to stop in simulated time, waiting for the recorder's clock each time."""
        for index in range(round(start_s * 50), round(stop_s * 50)):
            now_ns = index * 20_000_000
            until(lambda now_ns=now_ns: self.tell_time(now_ns) or recorder._now_ns() == now_ns)
            value = index / 50
            if index % 5 == 0 and self.eye is not None:
                picture = Image(
                    height=16, width=24, step=72, encoding="rgb8", data=bytes([index % 200]) * 1152
                )
                picture.header.stamp = stamp(now_ns)
                self.eye.publish(picture)
            state = JointState(name=["a"], position=[value])
            state.header.stamp = stamp(now_ns)
            self.joints.publish(state)
            command = JointTrajectory(joint_names=["a"], points=[JointTrajectoryPoint(positions=[-value])])
            command.header.stamp = stamp(now_ns)
            self.command.publish(command)
            if recorder.recording:
                want = recorder._recording.counts["/joint_states"]
                until(
                    lambda want=want: not recorder.recording or recorder._recording.counts["/command"] >= want
                )


def connected(*publishers):
    """Wait until somebody listens to each: only then does the first message count."""
    until(lambda: all(publisher.get_subscription_count() for publisher in publishers))


def on_its_thread(node, work, *arguments):
    """Call something of a node as its own callbacks do, and return the result."""
    task = node.executor.create_task(work, *arguments)
    until(task.done)
    return task.result()


def stamp(ns):
    return Time(sec=ns // 10**9, nanosec=ns % 10**9)


def until(condition):
    """Wait until the condition holds; what it waits for is the middleware, which has its own clock."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.001)
