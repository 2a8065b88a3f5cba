# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A gripper that is published only while it moves, by a publisher of its own: the policy node and the recorder."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from policy_rig import ROBOT, Ramp, Robot, policy_rig, wait_for
from recording_rig import TEXT, connected, until
from recording_rig import Robot as RecordedRobot
from sensor_msgs.msg import JointState

from hpt_msgs.msg import EpisodeEvent
from hpt_msgs.srv import StartEpisode, StopEpisode
from hpt_ros.control import State
from hpt_ros.embodiment import Embodiment
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from hpt_ros.policies.loading import LoadedPolicy
from rosbag_tools.reading.reader import Bag

SILENT = ROBOT.action.names[-1]
JOINTS = replace(ROBOT.state_streams[0], partial=True, holds=(SILENT,))
HOLDING = replace(
    ROBOT, streams=tuple(JOINTS if stream.name == JOINTS.name else stream for stream in ROBOT.streams)
)


class TwoPublishers(Robot):  # type: ignore[misc]
    """Its arm is published all the time, its last joint when it is commanded to be, by another publisher."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.last = self.create_publisher(JointState, ROBOT.state_streams[0].topic, 10)

    def _publish_joints(self) -> None:
        self.arm.advance(time.monotonic_ns(), self.goal)
        self.measured = self.arm.measured()
        self.joints.publish(self._message(slice(0, -1)))

    def moved(self) -> None:
        self.reported = float(self.measured[-1])
        self.last.publish(self._message(slice(-1, None)))

    def _message(self, part: slice) -> Any:
        message = JointState(name=self.names[part], position=self.measured[part].tolist())
        message.header.stamp = self._now()
        return message


class Still(Ramp):  # type: ignore[misc]
    """Moves all joints but the silent one."""

    def predict(self, observation: Any) -> np.ndarray:
        chunk = super().predict(observation)
        chunk[:, -1] = observation.inputs["state"][0, -1, -1]
        return chunk


@pytest.fixture
def rig():
    with policy_rig(TwoPublishers) as found:
        yield found


def test_when_a_joint_was_published_once_before_activation_expect_the_robot_to_run_and_again(rig) -> None:
    policy = Still(0.4)
    node = rig.start(active=False, loaded=LoadedPolicy(policy, HOLDING, "", HOLDING.observation_horizon))
    assert rig.robot.change(Transition.TRANSITION_CONFIGURE)
    wait_for(lambda: rig.robot.last.get_subscription_count() > 0, "a subscription")
    rig.robot.moved()
    wait_for(lambda: node.runtime is not None and node.runtime.streams._pose.held, "the joint")
    time.sleep(0.5)
    for _ in range(2):
        assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
        rig.until_moving()
        time.sleep(0.5)
        assert rig.state() is State.RUNNING
        assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    np.testing.assert_allclose(policy.seen[-1].inputs["state"][0, -1, -1], rig.robot.reported, atol=1e-6)


def test_when_it_was_never_published_expect_the_robot_to_wait(rig) -> None:
    node = rig.start(loaded=LoadedPolicy(Still(0.4), HOLDING, "", HOLDING.observation_horizon))
    wait_for(lambda: any(f"none had {SILENT}" in status.fault for status in rig.robot.statuses), "the reason")
    assert node.state is State.WAITING
    rig.robot.moved()
    rig.until_moving()


def test_when_the_file_does_not_say_that_it_holds_expect_that_named_as_a_remedy(rig) -> None:
    joints = replace(JOINTS, holds=())
    silent = replace(
        ROBOT, streams=tuple(joints if item.name == joints.name else item for item in ROBOT.streams)
    )
    rig.start(loaded=LoadedPolicy(Still(0.4), silent, "", silent.observation_horizon))
    words = f"none had {SILENT}", "or name it under holds there if it is published only while it moves"
    wait_for(
        lambda: any(all(word in status.fault for word in words) for status in rig.robot.statuses),
        "the reason",
    )


def test_when_an_episode_begins_expect_the_last_word_of_a_silent_joint_in_its_bag(tmp_path) -> None:
    text = TEXT.replace(
        "joints: [a], fields: [position]", "joints: [a, g], fields: [position], partial: true, holds: [g]"
    )
    with Composition() as composition:
        robot = composition.add(RecordedRobot(composition.context))
        recorder = composition.add(
            RecorderNode(Embodiment.loads(text), tmp_path, context=composition.context)
        )
        connected(robot.eye, robot.joints, robot.command)
        robot.joints.publish(JointState(name=["g"], position=[0.25]))
        robot.joints.publish(JointState(name=["a"], position=[0.5]))
        until(recorder._held.messages)
        for count in range(1, 3):
            started = robot.call(StartEpisode)
            assert started.success, started.message
            robot.joints.publish(JointState(name=["a"], position=[0.5]))
            until(lambda: recorder._recording.counts["/joint_states"] >= 2)
            stopped = robot.call(StopEpisode, outcome=EpisodeEvent.OUTCOME_SUCCESS)
            assert stopped.success, (count, stopped.message)
            with Bag.open(stopped.bag_path) as bag:
                told = [item.content for item in bag.messages(["/joint_states"])]
            assert list(told[0].name) == ["g"]
            assert told[0].position[0] == 0.25
