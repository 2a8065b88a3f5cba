# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Robots with several commands and with Cartesian ones: the real node over real DDS, from the shipped files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from policy_rig import wait_for
from scipy.spatial.transform import Rotation
from support.told import peaks, told
from tool_rig import ARM, DOWN, HOME, NS, POSES, SERVO, Script, running

from hpt_ros.control import State
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.streams import in_namespace
from hpt_ros.errors import HptError
from hpt_ros.nodes.policy.outputs import make_senders
from hpt_ros.policies.baselines import HoldPolicy, RandomPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.runtime.policy_config import OutputsConfig
from rosbag_tools.reading.reader import Bag


def spans(times_ns: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds between neighbours (n - 1, 1), and between the middles of those (n - 2, 1)."""
    between = np.diff(times_ns)[:, None] / NS
    return between, (between[1:] + between[:-1]) / 2.0


def test_when_a_robot_has_an_arm_and_a_gripper_expect_each_commanded_on_its_topic_within_limits() -> None:
    policy = Script(ARM, {0: 0.3, 3: -0.2}, {6: 0.8})
    with running(ARM, policy) as (machine, node):
        wait_for(lambda: machine.joints[0] > 0.25 and machine.joints[6] > 0.79, "motion of both")
        node.stop("enough")
        wait_for(lambda: node.runtime is not None and node.runtime.controller.at_rest, "rest")
        count = wait_for(
            lambda: len(machine.arm) == len(machine.gripper) and len(machine.arm), "the last commands"
        )
        assert node.counters()["commands_sent"] >= count
        # A closing gripper is limited by itself: it does not slow the arm, nor is it blended.
        assert node.counters()["clamped_velocity"] > 0
    velocity, acceleration = peaks([told(message, 1 / ARM.action.rate_hz) for message in machine.arm], 0.01)
    assert {tuple(message.joint_names) for message in machine.arm} == {ARM.action.names[:6]}
    assert (velocity <= ARM.max_velocity[:6] * (1 + 1e-6)).all()
    assert (acceleration <= ARM.max_acceleration[:6] * (1 + 1e-6)).all()
    fingers = np.array(machine.gripper)[:, None]
    assert (fingers >= 0.0).all()
    assert (fingers <= 0.8).all()
    # A controller without times is commanded where to be when it is commanded: the timer's jitter is in single steps.
    closing = (fingers > 0.15) & (fingers < 0.75)
    apart = np.array(machine.gripper_times_s)[:, None]
    rates = (fingers[10:] - fingers[:-10]) / (apart[10:] - apart[:-10])
    spread = np.median(rates[closing[10:] & closing[:-10]])
    assert 1.0 < spread < 1.4 * 1.2


def test_when_the_fingers_hold_an_object_expect_it_held_through_a_stop_and_motion_again() -> None:
    policy = Script(ARM, {0: 0.1}, {6: 0.8})
    with running(ARM, policy, object_at=0.5) as (machine, node):
        wait_for(
            lambda: machine.gripper and machine.gripper[-1] == 0.8 and machine.joints[6] == 0.5, "a grip"
        )
        held = len(machine.gripper)
        node.stop("a look at it")
        wait_for(lambda: node.runtime is not None and node.runtime.controller.at_rest, "rest")
        assert node.clear_fault()[0]
        count = len(machine.arm)
        wait_for(lambda: node.state is State.RUNNING and len(machine.arm) > count + 50, "motion again")
    assert set(machine.gripper[held:]) == {0.8}


def test_when_stamps_are_to_be_zero_expect_trajectories_that_begin_now_and_end_at_rest() -> None:
    with running(ARM, Script(ARM, {0: 0.3}, {}), outputs__stamp_zero=True) as (machine, _):
        wait_for(lambda: len(machine.arm) > 50, "commands")
    for message in machine.arm:
        times_ns = [
            point.time_from_start.sec * NS + point.time_from_start.nanosec for point in message.points
        ]
        assert message.header.stamp.sec == message.header.stamp.nanosec == 0
        assert times_ns[0] > 0
        assert (np.diff(times_ns) > 0).all()
        assert not np.any(message.points[-1].velocities)
    assert any(np.any(message.points[0].velocities) for message in machine.arm)


def test_when_outputs_have_latencies_expect_each_stamped_and_sent_ahead_by_its_own() -> None:
    arm, gripper = ARM.action.parts
    parts = (replace(arm, latency_s=0.05), replace(gripper, latency_s=0.3))
    robot = replace(ARM, action=replace(ARM.action, outputs=parts))
    with running(robot, Script(robot, {0: 0.3}, {6: 0.4})) as (machine, node):
        wait_for(lambda: len(machine.arm) > 50, "commands")
        np.testing.assert_allclose(robot.space.ahead_s, [0.0] * 6 + [0.25])
        assert node.runtime is not None
        assert node.runtime.controller.queue.longest_ns == 250_000_000
        lead_s = [value for value in node.metrics()["lead_s"] if np.isfinite(value)]
    # Before each period at least the arm's latency is fixed, and at most the jitter of a period more.
    assert 0.05 <= np.median(lead_s) <= 0.08


def test_when_the_tool_is_moved_by_twists_expect_them_legal_and_zero_in_the_end() -> None:
    policy = Script(SERVO, {}, {2: 0.1, 5: 0.3, 6: 0.8})
    with running(SERVO, policy) as (machine, node):
        wait_for(lambda: machine.position[2] > 0.35, "motion upwards")
        wait_for(lambda: machine.joints[6] > 0.79, "the gripper closed")
        wait_for(lambda: np.abs(machine.twists[-1][[2, 5]] - [0.1, 0.3]).max() < 0.02, "the policy's twist")
        node.stop("enough")
        wait_for(lambda: not machine.twists[-1].any(), "a zero twist")
        count = len(machine.twists)
        wait_for(lambda: node.runtime is not None and node.runtime.controller.at_rest, "rest")
    assert machine.frames == {"base"}
    twists = np.array(machine.twists)
    assert not twists[count - 1 :].any()
    limits, turn = SERVO.space.limits, SERVO.action.parts[0].rotation_limit
    assert turn is not None
    between, _ = spans(machine.twist_times_ns)
    assert (np.abs(twists[:, :3]) <= limits.velocity[:3] * (1 + 1e-6)).all()
    assert (np.abs(np.diff(twists[:, :3], axis=0)) <= limits.acceleration[:3] * between * (1 + 1e-6)).all()
    assert np.linalg.norm(twists[:, 3:], axis=1).max() <= turn.velocity * (1 + 1e-6)
    change = np.linalg.norm(np.diff(twists[:, 3:], axis=0), axis=1)
    assert (change <= turn.acceleration * between[:, 0] * (1 + 1e-5)).all()


@pytest.mark.parametrize("goal", ["a floor of the workspace", "the position limits"])
def test_when_poses_lead_out_expect_them_kept_inside_without_a_urdf(goal: str) -> None:
    """The policy goes down at 0.2 m/s for ever, and turns at 2 rad/s, which is more than permitted."""
    floor = 0.2 if goal.startswith("a floor") else -100.0
    spinning = Spinning(POSES)
    with running(POSES, spinning, workspace__floor_m=floor) as (machine, node):
        lowest = max(floor, POSES.lower[2])
        wait_for(lambda: machine.poses and machine.position[2] < lowest + 0.01, "the lowest place")
        reason = "workspace_stops" if floor > 0 else "clamped_position"
        wait_for(lambda: node.counters()[reason] > 0, f"{reason} counted")
        assert node.counters()["clamped_velocity"] > 0
    positions = np.array([position for position, _ in machine.poses])
    assert positions[:, 2].min() >= lowest - 1e-9
    limits, turn = POSES.space.limits, POSES.action.parts[0].rotation_limit
    assert turn is not None
    between, middle = spans(machine.pose_times_ns)
    speeds = np.diff(positions, axis=0) / between
    assert (np.abs(speeds) <= limits.velocity[:3] * (1 + 1e-6)).all()
    assert (np.abs(np.diff(speeds, axis=0)) <= limits.acceleration[:3] * middle * (1 + 1e-6) + 1e-9).all()
    turns = Rotation.concatenate([rotation for _, rotation in machine.poses])
    omega = (turns[1:] * turns[:-1].inv()).as_rotvec() / between
    assert np.linalg.norm(omega, axis=1).max() <= turn.velocity * (1 + 1e-6)
    assert (
        np.linalg.norm(np.diff(omega, axis=0), axis=1) <= turn.acceleration * middle[:, 0] * (1 + 1e-5)
    ).all()
    assert np.linalg.norm(omega, axis=1).max() == pytest.approx(turn.velocity, rel=1e-3)
    assert machine.frames == {"base"}


class Spinning(Script):  # type: ignore[misc]
    """Down at 0.2 m/s and round its own axis at 2 rad/s."""

    def __init__(self, robot: Embodiment) -> None:
        super().__init__(robot, {2: -0.2}, {})

    def predict(self, observation: Observation) -> np.ndarray:
        chunk = super().predict(observation)
        steps = 2.0 * self.robot.dt_s * np.arange(len(chunk))
        tool = observation.inputs["state"][0, -1][3:9]
        x_axis, y_axis = tool[:3], tool[3:]
        start = Rotation.from_matrix(np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=1))
        for row, angle in zip(chunk, steps, strict=True):
            matrix = (Rotation.from_rotvec([0, 0, angle]) * start).as_matrix()
            row[3:9] = np.concatenate([matrix[:, 0], matrix[:, 1]])
        return chunk


def test_when_the_measured_pose_is_in_another_frame_expect_no_motion_and_both_frames_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(SERVO, Script(SERVO, {}, {2: 0.1})) as (machine, node):
        machine.frame = "base_link"  # turned by half a turn about z against base, on Universal Robots' arms
        wait_for(lambda: node.counters()["invalid_messages"] > 10, "refused poses")
        wait_for(lambda: node.state is not State.RUNNING, "no motion")
        assert node.runtime is not None
        stream = node.runtime.embodiment.streams[0]
        pose = PoseStamped()
        pose.header.frame_id = "base_link"
        problem = node.runtime.streams.message(stream, pose, node.now_ns)
        assert "frame_id is 'base_link', but the command 'tool' is in 'base'" in str(problem)


@pytest.mark.parametrize("robot", [ARM, SERVO, POSES])
def test_the_baselines_hold_and_move_robots_of_every_kind(robot: Embodiment) -> None:
    state = np.concatenate([[0.1, -0.5, 0.3], DOWN.as_matrix()[:, 0], DOWN.as_matrix()[:, 1], [0.2]])
    state = HOME if robot is ARM else state
    observation = Observation(0, {"state": state[None, None].astype(np.float32)})
    hold = HoldPolicy(robot).predict(observation)
    control = robot.space.to_control(hold, state)
    np.testing.assert_allclose(
        np.abs(control), np.abs(np.tile(robot.space.states.control(state), (len(control), 1))), atol=1e-6
    )
    moved = RandomPolicy(robot, 1).predict(observation)
    assert np.isfinite(robot.space.to_control(moved, state)).all()
    assert (robot.space.speeds(moved) <= 0.2 + 1e-6).all()


def test_when_a_further_form_cannot_hold_the_command_expect_it_refused() -> None:
    with pytest.raises(HptError, match=r"outputs.joint_state is '/x', but .* commands of cartesian_twist"):
        make_senders(SERVO, OutputsConfig(joint_state="/x"))
    found = make_senders(ARM, OutputsConfig(joint_state="/x"))
    assert [sender.topic for sender in found] == [part.topic for part in ARM.action.parts] + ["/x"]
    with pytest.raises(HptError, match="also a stream's or another output's topic"):
        make_senders(ARM, OutputsConfig(joint_state=ARM.action.parts[1].topic))


@pytest.mark.parametrize("robot", [SERVO, POSES], ids=["twists", "poses"])
def test_a_remote_policy_moves_a_tool_and_a_gripper_and_the_log_has_every_command(
    robot: Embodiment, tmp_path: Path
) -> None:
    policy = Script(
        robot, {2: 0.1} if robot is POSES else {}, {2: 0.1, 6: 0.8} if robot is SERVO else {9: 0.8}
    )
    values = {"log_decisions": str(tmp_path / "logs"), "remote__timeout_s": 2.0}
    with running(robot, policy, far_file=tmp_path / "robot.yaml", **values) as (machine, node):
        wait_for(lambda: machine.position[2] > 0.32 and machine.joints[6] > 0.5, "motion of both")
        node.stop("enough")
        wait_for(lambda: node.runtime is not None and node.runtime.controller.at_rest, "rest")
        assert machine.change(Transition.TRANSITION_DEACTIVATE)
        sent = machine.twists if robot is SERVO else machine.poses
        wait_for(lambda: len(sent) == len(machine.gripper), "the last commands")
    (folder,) = (tmp_path / "logs").iterdir()
    with Bag.open(folder) as bag:
        counts = {
            part.topic: len(list(bag.messages([in_namespace(part.topic)]))) for part in robot.action.parts
        }
        words = [entry.content.msg for entry in bag.messages(["/policy_node/decisions"])]
    assert set(counts.values()) == {len(sent)}
    assert "RUNNING -> FAULT: enough" in words
