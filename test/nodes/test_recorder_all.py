# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Recording every topic on real DDS: nothing needs to be known of the robot, and nothing in the graph is in the way."""

from __future__ import annotations

import pytest
from rclpy.parameter import Parameter
from rclpy.service_introspection import ServiceIntrospectionState
from recording_rig import TEXT, Robot, until
from std_msgs.msg import Float64, String
from std_srvs.srv import Trigger

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag


@pytest.fixture
def graph(tmp_path):
    with Composition() as composition:

        def add(embodiment=None):
            robot = composition.add(Robot(composition.context))
            # What ros2 service introspection leaves in a graph: a topic whose messages are of a service.
            service = robot.create_service(Trigger, "~/trigger", lambda request, response: response)
            service.configure_introspection(
                robot.get_clock(), robot.notes.qos_profile, ServiceIntrospectionState.CONTENTS
            )
            recorder = composition.add(
                RecorderNode(
                    embodiment,
                    tmp_path / "bags",
                    context=composition.context,
                    parameter_overrides=[Parameter("all_topics", value=True)],
                )
            )
            until(lambda: {"/eye", "/joint_states", "/command", "/notes"} <= recorder.topics.known.keys())
            until(lambda: robot.joints.get_subscription_count() and robot.notes.get_subscription_count())
            return robot, recorder

        yield add


@pytest.mark.parametrize("text", ["", TEXT], ids=["no embodiment", "beside the embodiment's"])
def test_when_every_topic_is_recorded_expect_those_that_appear_during_an_episode_too(graph, text):
    robot, recorder = graph(Embodiment.loads(text) if text else None)
    recorder.start_episode("look around")
    robot.notes.publish(String(data="during"))
    late = robot.create_publisher(Float64, "/late", 10)
    until(lambda: "/late" in recorder._recording.counts and late.get_subscription_count())
    late.publish(Float64(data=3.5))
    until(lambda: recorder._recording.counts["/late"] == 1 and recorder._recording.counts["/notes"] == 1)
    path, counts, _ = recorder.stop_episode(0)
    assert not any("_service_event" in topic or "/_" in topic for topic in counts)
    with Bag.open(path) as bag:
        (message,) = bag.messages(["/late"])
        assert message.content.data == 3.5
        assert bag.topics["/notes"].count == 1
        assert bool(bag.embodiment_text()) == bool(text)
        assert not any(entry.unreadable for entry in inspect(bag).topics.values())


def test_when_neither_an_embodiment_nor_every_topic_is_asked_for_expect_both_named(tmp_path):
    with (
        Composition() as composition,
        pytest.raises(HptError, match="embodiment.*or all_topics to record every topic"),
    ):
        RecorderNode(None, tmp_path, context=composition.context)
