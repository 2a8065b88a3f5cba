# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The recorder on real DDS: what was published is in the bag, and the services tell the truth."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rclpy.parameter import Parameter
from recording_rig import BEST_EFFORT, TEXT, Robot, until
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String

from hpt_msgs.msg import EpisodeEvent
from hpt_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from rosbag_tools.converting.convert import convert
from rosbag_tools.reading.episodes import find_episodes
from rosbag_tools.reading.reader import Bag


@pytest.fixture
def graph(tmp_path):
    with Composition() as composition:

        def add(*, with_camera=True, sim_time=True, extra=(), extra_parameters=()):
            robot = composition.add(Robot(composition.context, with_camera=with_camera))
            recorder = composition.add(
                RecorderNode(
                    Embodiment.loads(TEXT),
                    tmp_path / "bags",
                    extra_topics=extra,
                    context=composition.context,
                    parameter_overrides=[
                        Parameter(name, value=value)
                        for name, value in {"use_sim_time": sim_time, **dict(extra_parameters)}.items()
                    ],
                )
            )
            if with_camera:
                until(lambda: len(recorder.topics.known) >= 3)
                # Only when both ends are matched does the first message count.
                until(
                    lambda: all(p.get_subscription_count() for p in (robot.eye, robot.joints, robot.command))
                )
            if sim_time:
                until(lambda: robot.tell_time(10**9) or recorder._now_ns() == 10**9)
            return robot, recorder

        yield add


def test_an_episode_is_recorded_as_it_was_published(graph, tmp_path):
    robot, recorder = graph(extra=["/notes"])
    robot.notes.publish(String(data="before"))  # latched, so it holds in the episode too
    robot.play(recorder, 1.0, 1.2)
    started = robot.call(StartEpisode, task="pour", operator_name="ann")
    assert started.success, started.message
    until(lambda: recorder._recording.counts["/notes"] == 1)
    robot.notes.publish(String(data="during"))
    robot.play(recorder, 1.2, 3.6)
    until(lambda: recorder._recording.counts["/eye"] == 24)
    until(lambda: recorder._recording.counts["/joint_states"] == 120)
    until(lambda: recorder._recording.counts["/command"] == 120)
    until(lambda: recorder._recording.counts["/notes"] == 2)
    stopped = robot.call(StopEpisode, outcome=EpisodeEvent.OUTCOME_SUCCESS, note="nice")
    assert stopped.success, stopped.message
    assert stopped.bag_path == started.bag_path
    assert "/joint_states 120" in stopped.message
    until(lambda: len(robot.events) == 2)
    assert [event.event for event in robot.events] == [EpisodeEvent.STARTED, EpisodeEvent.STOPPED]

    with Bag.open(stopped.bag_path) as bag:
        assert sum(topic.count for topic in bag.topics.values()) == stopped.messages
        (episode,) = find_episodes(bag)
        assert (episode.task, episode.operator, episode.outcome, episode.note) == (
            "pour",
            "ann",
            "success",
            "nice",
        )
        assert episode.episode_id == started.episode_id
        assert Embodiment.loads(bag.embodiment_text() or "") == Embodiment.loads(TEXT)
        messages = list(bag.messages(["/joint_states", "/notes"]))
    joints = [item for item in messages if item.topic == "/joint_states"]
    np.testing.assert_allclose([item.content.position[0] for item in joints], np.arange(60, 180) / 50)
    # Log time is simulated time: each message was taken while the clock showed its stamp, or the next one's.
    assert all(
        0
        <= item.log_ns - item.content.header.stamp.sec * 10**9 - item.content.header.stamp.nanosec
        <= 40_000_000
        for item in joints
    )
    assert [item.content.data for item in messages if item.topic == "/notes"] == ["before", "during"]

    report = convert([stopped.bag_path], tmp_path / "dataset")
    assert report.episodes[0].task == "pour"
    assert report.kept >= 20


def test_when_a_stream_has_no_publisher_expect_refusal_naming_it(graph, tmp_path):
    robot, recorder = graph(with_camera=False)
    until(lambda: len(recorder.topics.known) >= 2)
    answer = robot.call(StartEpisode, task="pour")
    assert not answer.success
    assert "no publisher on /eye; start their nodes" in answer.message
    assert list((tmp_path / "bags").iterdir()) == []


def test_when_told_by_topic_and_joystick_expect_episodes_with_their_outcomes(graph, tmp_path):
    robot, recorder = graph(
        extra_parameters={"operator": "bob", "joy.start": 4, "joy.success": 4, "joy.discard": 1}
    )
    command = robot.create_publisher(String, "/recorder_node/command", 10)
    joy = robot.create_publisher(Joy, "/joy", BEST_EFFORT)
    until(lambda: command.get_subscription_count() and joy.get_subscription_count())

    def tell(text, recording):
        until(lambda: command.publish(String(data=text)) or recorder.recording == recording)

    def press(button, recording):
        for value in (0, 1, 0):
            joy.publish(Joy(buttons=[value * (index == button) for index in range(6)]))
            time.sleep(0.05)
        until(lambda: recorder.recording == recording)

    command.publish(String(data="dance"))  # unknown: said, and nothing happens
    tell("start wipe the table", True)
    robot.play(recorder, 1.0, 1.2)
    tell("failure", False)
    press(4, True)
    robot.play(recorder, 1.2, 1.4)
    press(4, False)
    press(4, True)
    press(1, False)  # discarded
    found = []
    for path in sorted((tmp_path / "bags").iterdir()):
        with Bag.open(path) as bag:
            found += [(episode.task, episode.operator, episode.outcome) for episode in find_episodes(bag)]
    assert sorted(found) == [("push the button", "bob", "success"), ("wipe the table", "bob", "failure")]


def test_a_discarded_episode_leaves_no_bag(graph, tmp_path):
    robot, recorder = graph()
    assert robot.call(StartEpisode).success
    robot.play(recorder, 1.0, 1.4)
    assert robot.call(DiscardEpisode).success
    assert not recorder.recording
    assert list((tmp_path / "bags").iterdir()) == []
    until(lambda: len(robot.events) == 2)
    assert robot.events[1].event == EpisodeEvent.DISCARDED
    assert robot.events[0].task == "push the button"  # the embodiment's own, as none was given


def test_calls_at_the_wrong_moment_are_refused(graph):
    robot, _ = graph()
    for kind in (StopEpisode, DiscardEpisode):
        answer = robot.call(kind)
        assert (answer.success, answer.message) == (False, "no episode is being recorded; start one first")
    assert robot.call(StartEpisode).success
    again = robot.call(StartEpisode)
    assert not again.success
    assert "is being recorded; stop or discard it first" in again.message
    wrong = robot.call(StopEpisode, outcome=7)
    assert (wrong.success, wrong.message) == (False, "the outcome is 7, expected 0 to 2; correct it")
    quiet = robot.call(StopEpisode)
    assert quiet.success
    assert "NOTHING came on /eye, /joint_states, /command" in quiet.message


def test_when_a_topic_has_another_type_expect_refusal_with_both(graph):
    robot, recorder = graph(with_camera=False)
    robot.create_publisher(String, "/eye", 10)
    until(lambda: recorder.get_publishers_info_by_topic("/eye"))
    answer = robot.call(StartEpisode)
    assert not answer.success
    assert (
        "/eye is published as std_msgs/msg/String, but the embodiment file says sensor_msgs/msg/Image; "
        in answer.message
    )


def test_when_the_simulated_clock_has_not_begun_expect_refusal(tmp_path):
    with Composition() as composition:
        robot = composition.add(Robot(composition.context))
        recorder = RecorderNode(
            Embodiment.loads(TEXT),
            tmp_path,
            context=composition.context,
            parameter_overrides=[Parameter("use_sim_time", value=True)],
        )
        composition.add(recorder)
        answer = robot.call(StartEpisode)
    assert "nothing on /clock" in answer.message


def test_when_the_clock_goes_back_expect_the_episode_to_end_there(graph):
    robot, recorder = graph()
    started = robot.call(StartEpisode)
    robot.play(recorder, 2.0, 2.4)
    until(lambda: robot.tell_time(10**9) or recorder._now_ns() == 10**9)
    robot.joints.publish(JointState(name=["a"], position=[0.0]))
    until(lambda: not recorder.recording)
    with Bag.open(started.bag_path) as bag:
        (episode,) = find_episodes(bag)
        assert episode.note == "the clock went back"
        assert bag.start_ns <= 2 * 10**9 < bag.end_ns < 3 * 10**9


def test_when_the_recorder_is_closed_while_recording_expect_a_whole_bag(tmp_path):
    with Composition() as composition:
        robot = composition.add(Robot(composition.context))
        recorder = RecorderNode(Embodiment.loads(TEXT), tmp_path, context=composition.context)
        composition.add(recorder)
        until(lambda: len(recorder.topics.known) >= 3)
        started = robot.call(StartEpisode)
        assert started.success, started.message
        composition.remove(recorder)
    with Bag.open(started.bag_path) as bag:
        (episode,) = find_episodes(bag)
    assert (episode.outcome, episode.note) == ("unknown", "the recorder was stopped")


def test_when_parameters_are_missing_expect_them_named(tmp_path):
    with Composition() as composition:
        with pytest.raises(HptError, match="parameter 'embodiment' is empty"):
            RecorderNode(context=composition.context)
        with pytest.raises(HptError, match="parameter 'out_dir' is empty"):
            RecorderNode(Embodiment.loads(TEXT), context=composition.context)
        (tmp_path / "file").write_text("x")
        with pytest.raises(HptError, match="cannot be made"):
            RecorderNode(Embodiment.loads(TEXT), tmp_path / "file" / "x", context=composition.context)
