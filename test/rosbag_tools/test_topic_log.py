# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags written without ROS: objects as messages; what a simulated policy saw is what conversion makes of its bag."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.planned_policy import load_planned

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.streams import in_namespace
from hpt_ros.evaluation.expert import REST_TICKS, ExpertRollout
from hpt_ros.evaluation.rollout import Rollout, RolloutConfig
from hpt_ros.resources import config_file
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment
from hpt_ros.sim.transport import Transport
from rosbag_tools.bag_schema import KEY_OUTCOME, KEY_TASK
from rosbag_tools.converting.resample import Resampler
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag
from rosbag_tools.recording.definitions import load_installed_types
from rosbag_tools.recording.message_objects import serialize
from rosbag_tools.recording.topic_log import TopicLog

TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
TYPES = load_installed_types(
    [TRAJECTORY, "sensor_msgs/msg/Image", "std_msgs/msg/String", "sensor_msgs/msg/Imu"]
)


def read(data: bytes, type_: str):
    return TYPES.deserialize_cdr(data, type_)


@given(
    st.lists(st.floats(allow_nan=False), max_size=5),
    st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8), max_size=3),
    st.integers(0, 2**31 - 1),
)
def test_what_is_written_is_read_and_what_is_missing_is_as_in_a_new_message(positions, names, sec):
    point = SimpleNamespace(positions=positions, time_from_start=SimpleNamespace(sec=sec, nanosec=7))
    message = SimpleNamespace(joint_names=names, points=[point, SimpleNamespace()])
    found = read(serialize(message, TRAJECTORY, TYPES), TRAJECTORY)
    assert list(found.joint_names) == names
    assert found.points[0].positions.tolist() == positions
    assert (found.points[0].time_from_start.sec, found.points[0].time_from_start.nanosec) == (sec, 7)
    assert found.points[1].effort.size == 0
    assert (found.header.stamp.sec, found.header.frame_id) == (0, "")


def test_arrays_of_a_fixed_length_are_filled():
    found = read(serialize(SimpleNamespace(), "sensor_msgs/msg/Imu", TYPES), "sensor_msgs/msg/Imu")
    assert found.orientation_covariance.tolist() == [0.0] * 9


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        ("sensor_msgs/msg/Image", {"height": -1}),
        ("sensor_msgs/msg/Image", {"height": "tall"}),
        ("sensor_msgs/msg/Image", {"width": 2**40}),
        (TRAJECTORY, {"points": 3}),
        (TRAJECTORY, {"points": [SimpleNamespace(positions=["a"])]}),
    ],
)
def test_what_a_type_cannot_hold_is_one_sentence(type_, fields):
    with pytest.raises(BagError, match=type_):
        serialize(SimpleNamespace(**fields), type_, TYPES)


class Watched:
    """A policy that keeps what it is shown."""

    def __init__(self, policy):
        self.policy, self.seen = policy, {}

    def predict(self, observation):
        self.seen[observation.stamp_ns] = {name: array.copy() for name, array in observation.inputs.items()}
        return self.policy.predict(observation)

    def reset(self):
        self.policy.reset()


def converted(log, robot, folder):
    """Rows by their ticks' stamps, as conversion makes them of the log's bag."""
    path = log.write(folder, "episode", {KEY_TASK: "scoop", KEY_OUTCOME: "failure"})
    resampler = Resampler(robot.with_topics(in_namespace))
    with Bag.open(path) as bag:
        assert bag.custom[KEY_TASK] == "scoop"
        rows = [
            row
            for message in bag.messages(resampler.topics)
            for row in resampler.push(message.topic, message.content, message.log_ns)
        ]
    return {row.tick.stamp_ns: row for row in [*rows, *resampler.finish()]}


@pytest.mark.parametrize(
    "images", [Transport(), Transport(delay_s=0.03, jitter_s=0.01, lost=0.1)], ids=["at once", "network"]
)
def test_a_policy_saw_what_conversion_makes_of_its_bag(tmp_path, images):
    environment = FeedDogEnvironment(images=images)
    try:
        loaded = load_planned(environment)
        watched = Watched(loaded.policy)
        log = TopicLog(environment.embodiment)
        rollout = Rollout(replace(loaded, policy=watched), environment, RolloutConfig(time_limit_s=5.0))
        rollout.episode(3, tap=log)
    finally:
        environment.close()
    ticks = converted(log, environment.embodiment, tmp_path)
    assert len(watched.seen) > 3
    for stamp_ns, inputs in watched.seen.items():
        tick = ticks[stamp_ns].tick
        for view, stream in enumerate(environment.embodiment.image_streams):
            np.testing.assert_array_equal(inputs["image"][0, 0, view], tick.arrays[stream.name])
        np.testing.assert_array_equal(inputs["state"][0, 0], tick.state.astype(np.float32))
    commands = [row.action for row in ticks.values() if row.action is not None]
    assert len(commands) > 20
    assert math.isfinite(float(np.max(commands)))


def test_an_experts_actions_are_what_conversion_makes_of_its_bag(tmp_path):
    asked = {}

    class Watching(FeedDogEnvironment):
        """Notes what its expert is asked and answers."""

        def expert(self):
            plan = super().expert()

            def noted(since_s):
                action = asked[plan.start_ns + round(since_s * 1e9)] = plan.plan(since_s)
                return action

            return replace(plan, plan=noted)

    environment = Watching()
    try:
        log = TopicLog(environment.embodiment)
        ExpertRollout(environment, RolloutConfig(time_limit_s=2.0)).episode(3, tap=log)
    finally:
        environment.close()
    ticks = converted(log, environment.embodiment, tmp_path)
    acted = [stamp_ns for stamp_ns, row in ticks.items() if row.action is not None]
    compared = [stamp_ns for stamp_ns in acted if stamp_ns >= min(asked)]  # it rests before
    assert 0 < len(acted) - len(compared) <= REST_TICKS
    assert len(compared) > 15
    for stamp_ns in compared:
        np.testing.assert_allclose(ticks[stamp_ns].action, asked[stamp_ns], atol=1e-6)


def test_a_bag_that_cannot_be_finished_is_removed(tmp_path):
    robot = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
    log = TopicLog(robot)
    log.command(robot.action.topic, SimpleNamespace(points=3), 1)
    with pytest.raises(BagError):
        log.write(tmp_path, "episode", {})
    assert list(tmp_path.iterdir()) == []
