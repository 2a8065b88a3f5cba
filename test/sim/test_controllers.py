# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Models of controllers: sampling, replacement, refusals, timeouts and tolerances, as documented for each release."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.arm import Arm, ArmModel
from support.controlled_arm import ControlledArm
from support.forward_controller import ForwardController
from support.one_controller import JOINTS, MS, NOW, S, active, point, run, trajectory
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.controllers import (
    HUMBLE,
    JAZZY,
    RELEASES,
    ROLLING,
    TrajectoryController,
)
from hpt_ros.sim.jtc_config import JtcConfig
from hpt_ros.sim.trajectory import (
    JointState,
    JointTrajectory,
    TrajectoryPoint,
)

# --- stamps and refusals ---------------------------------------------------------------------------------------------


def test_a_zero_stamp_starts_at_the_cycle_that_takes_it():
    controller = active()
    run(controller, 50)
    assert controller.receive(trajectory(point(100, [1.0, 0.0]), stamp_ns=0), NOW + 50 * MS) is None
    told = run(controller, 160, start_ms=52)
    assert told[-1, 0] == 1.0
    assert told[45, 0] < 1.0


def test_points_that_are_past_are_dropped_and_a_trajectory_that_ended_is_refused():
    controller = active()
    run(controller, 50)
    message = trajectory(point(10, [9.0, 9.0]), point(100, [1.0, 1.0]))
    assert controller.receive(message, NOW + 50 * MS) is None
    assert run(controller, 90, start_ms=52).max() < 9.0
    refused = controller.receive(trajectory(point(10, [9.0, 9.0])), NOW + 11 * MS)
    assert refused is not None
    assert refused.code is Code.TIMEOUT
    assert controller.receive(trajectory(point(10, [0.0, 0.0])), NOW + 10 * MS) is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (trajectory(point(1, [0.0]), names=("a",)), "the trajectory has 1 joints, but the controller has 2"),
        (trajectory(), "the trajectory has no points"),
        (trajectory(point(1, [0.0, 0.0]), names=("a", "c")), "joint 'c' is none of the controller's"),
        (
            trajectory(point(1, [0.0, 0.0]), point(1, [0.0, 0.0])),
            "the times of points 0 and 1 do not increase",
        ),
        (trajectory(point(1, [0.0, 0.0, 0.0])), "the trajectory has 3 positions for 2 joints at point 0"),
        (trajectory(point(1, [0.0, 0.0], [0.1, 0.0])), "velocity 0.1 of a at the last point is not zero"),
    ],
)
def test_when_a_message_is_malformed_expect_a_refusal(message, reason):
    controller = active(JtcConfig(JOINTS))
    assert str(controller.receive(message, NOW)).startswith(reason)
    np.testing.assert_array_equal(run(controller, 20), np.zeros((11, 2)))


def test_inactive_it_takes_nothing():
    controller = active()
    controller.deactivate()
    refused = controller.receive(trajectory(point(1, [0.0, 0.0])), NOW)
    assert refused is not None
    assert refused.code is Code.NOT_READY


@given(st.permutations(range(3)))
def test_the_order_of_joints_does_not_matter(order):
    config = JtcConfig(("a", "b", "c"))
    controller = TrajectoryController(config)
    controller.activate(np.zeros(3))
    goal = np.array([0.1, 0.2, 0.3])
    names = tuple(config.joints[index] for index in order)
    controller.receive(JointTrajectory(NOW, names, (TrajectoryPoint(0, JointState(goal[list(order)])),)), NOW)
    np.testing.assert_array_equal(controller.update(NOW, np.zeros(3)), goal)


def test_an_omitted_joint_keeps_its_command_if_partial_goals_are_allowed():
    controller = active(JtcConfig(JOINTS, allow_partial_joints_goal=True), position=(0.2, 0.3))
    run(controller, 0, measured=(0.2, 0.3))
    assert controller.receive(trajectory(point(10, [1.0]), names=("b",)), NOW) is None
    np.testing.assert_allclose(run(controller, 40, measured=(0.25, 0.3), start_ms=2)[-1], [0.2, 1.0])


# --- replacement -----------------------------------------------------------------------------------------------------


def steady(release, *, from_desired: bool, first: int, lag_s: float = 0.02, **config) -> ControlledArm:
    """A robot that is commanded a steady 1 rad/s at 100 Hz, by messages of points from `first` periods after now on."""
    robot = ControlledArm(
        TrajectoryController(
            JtcConfig(
                ("a",), interpolate_from_desired_state=from_desired,
                allow_nonzero_velocity_at_trajectory_end=True, **config,
            ),
            release,
        ),
        Arm(ArmModel(lag_s), np.zeros(1), NOW),
        NOW,
    )  # fmt: skip
    period = 10 * MS
    for number in range(60):
        robot.advance(NOW + number * period)
        sent_ns = NOW + number * period
        stamp_ns = sent_ns + min(first, 0) * period
        points = tuple(
            TrajectoryPoint(
                sent_ns + index * period - stamp_ns,
                JointState(np.array([0.01 * (number + index)]), np.ones(1)),
            )
            for index in range(first, 6)
        )
        # From one message to the next, the transport takes one cycle more or less.
        robot.send(JointTrajectory(stamp_ns, ("a",), points), sent_ns + (1_500_000, 3_500_000)[number % 2])
    robot.advance(NOW + 600 * MS)
    return robot


@pytest.mark.parametrize("release", [HUMBLE, JAZZY], ids=["humble", "jazzy"])
@pytest.mark.parametrize("from_desired", [True, False])
def test_messages_that_overlap_what_was_sent_are_followed_exactly(release, from_desired):
    """The point before a trajectory is used only until its first point: with one in the past, never."""
    motion = steady(release, from_desired=from_desired, first=-2).motion(skip=30)
    assert motion.acceleration[0] < 1e-3
    assert motion.reversals == 0


def test_from_the_measured_state_a_lagging_arm_is_sent_back_at_each_message():
    motion = steady(JAZZY, from_desired=False, first=1).motion(skip=30)
    assert motion.reversals > 50
    assert motion.acceleration[0] > 1000.0


def test_each_release_makes_its_own_of_the_last_command():
    """Speed of the cycle after a message, of a motion at 1 rad/s: Humble repeats a command, Jazzy goes too far."""
    fastest = {}
    for name, release in RELEASES.items():
        told = np.array(steady(release, from_desired=True, first=1).told[30:])[:, 0]
        speed = np.diff(told) / 0.002
        fastest[name] = (round(float(speed.min()), 1), round(float(speed.max()), 1))
    assert fastest["humble"][0] < 0.3  # repeats
    assert fastest["jazzy"][1] > 1.4  # two cycles' way, less what the spline then takes back
    assert fastest["kilted"] == fastest["jazzy"]
    assert fastest["rolling"][0] < 0.3  # blends, and repeats


def test_blending_shifts_a_message_with_a_past_stamp_unless_replacement_is_off():
    shifted = steady(ROLLING, from_desired=True, first=-2).motion(skip=30)
    assert shifted.acceleration[0] > 100.0
    exact = steady(ROLLING, from_desired=True, first=-2, allow_trajectory_replacement=False).motion(skip=30)
    assert exact.acceleration[0] < 1e-3


def test_blending_keeps_joints_that_the_new_message_omits_on_their_old_trajectory():
    controller = active(
        JtcConfig(JOINTS, interpolate_from_desired_state=True, allow_partial_joints_goal=True),
        release=ROLLING,
    )
    controller.receive(trajectory(point(100, [0.5, 0.5]), point(200, [1.0, 1.0])), NOW)
    run(controller, 50)
    controller.receive(trajectory(point(50, [0.0]), stamp_ns=0, names=("a",)), NOW + 51 * MS)
    told = run(controller, 260, start_ms=52)
    assert told[-1, 0] == 0.0
    assert told[-1, 1] == 1.0
    assert np.diff(told[:, 1]).min() >= 0.0


# --- giving up -------------------------------------------------------------------------------------------------------


def test_after_the_timeout_it_holds_the_measured_pose():
    config = JtcConfig(JOINTS, cmd_timeout_s=0.1, allow_nonzero_velocity_at_trajectory_end=True)
    controller = active(config)
    controller.receive(trajectory(point(10, [0.1, 0.1], [1.0, 1.0])), NOW)
    told = run(controller, 300, measured=(0.05, 0.05))
    assert [what for _, what in controller.events] == ["cmd_timeout"]
    assert (controller.events[0][0] - NOW) / MS == pytest.approx(112, abs=2)
    np.testing.assert_allclose(told[-1], 0.05)


def test_a_timeout_not_longer_than_the_goal_time_is_ignored():
    assert JtcConfig(JOINTS, cmd_timeout_s=0.1, goal_time_s=0.1).active_cmd_timeout_s == 0.0
    assert JtcConfig(JOINTS, cmd_timeout_s=0.2, goal_time_s=0.1).active_cmd_timeout_s == 0.2


def test_off_the_path_it_gives_up_and_holds_where_the_arm_is():
    controller = active(JtcConfig(JOINTS, path_tolerance=0.2, interpolate_from_desired_state=True))
    controller.receive(trajectory(point(1000, [1.0, 0.0])), NOW)
    told = run(controller, 400, measured=(0.0, 0.0))
    assert [what for _, what in controller.events] == ["path tolerance"]
    np.testing.assert_array_equal(told[-1], [0.0, 0.0])


def test_a_goal_that_is_not_reached_in_time_is_given_up():
    controller = active(
        JtcConfig(JOINTS, goal_tolerance=0.05, goal_time_s=0.1, interpolate_from_desired_state=True)
    )
    controller.receive(trajectory(point(10, [0.1, 0.0])), NOW)
    run(controller, 300, measured=(0.0, 0.0))
    assert [what for _, what in controller.events] == ["goal_time"]


def test_with_a_deceleration_it_brakes_where_it_would_stop_at_once():
    """Constant deceleration from the measured state, as decelerate_on_cancel.rst has it."""
    config = JtcConfig(
        JOINTS, cmd_timeout_s=0.05, max_deceleration=2.0, allow_nonzero_velocity_at_trajectory_end=True
    )
    controller = active(config)
    controller.receive(trajectory(point(10, [0.01, 0.0], [1.0, 0.0])), NOW)
    told = []
    for cycle in range(400):
        told.append(controller.update(NOW + cycle * 2 * MS, np.array([0.01, 0.0]), np.array([1.0, 0.0])))
    assert told[-1][0] == pytest.approx(0.01 + 1.0 / (2 * 2.0))
    assert np.diff(np.array(told)[:, 0]).max() < 1.1 * 0.002 + 0.01
    bare = active(config)
    bare.receive(trajectory(point(0, [0.0, 0.0])), NOW)
    bare.update(NOW, np.zeros(2))
    with refused(
        HptError, Code.EMPTY, subject="decelerate_on_cancel", problem="d velocit", remedy="add velocity"
    ):
        bare.update(NOW + 100 * MS, np.zeros(2))


def test_speed_scaling_stretches_time():
    half, whole = active(), active()
    half.speed_scaling = 0.5
    for controller in (half, whole):
        controller.receive(trajectory(point(200, [1.0, 1.0])), NOW)
    told, fast = run(half, 200), run(whole, 200)
    assert told[-1, 0] == pytest.approx(0.5, abs=0.02)
    assert fast[-1, 0] == pytest.approx(1.0, abs=0.02)


def test_activated_again_it_holds_its_last_command_not_the_measured_pose():
    controller = active()
    controller.receive(trajectory(point(10, [0.1, 0.1])), NOW)
    run(controller, 50, measured=(0.08, 0.08))
    controller.deactivate()
    controller.activate(np.array([0.08, 0.08]), np.zeros(2))
    np.testing.assert_allclose(run(controller, 60, measured=(0.08, 0.08), start_ms=52), 0.1)


def test_a_forward_controller_holds_its_last_command_for_ever_and_drops_what_is_not_finite():
    controller = ForwardController(2)
    controller.activate(np.zeros(2))
    np.testing.assert_array_equal(controller.update(NOW, np.array([0.3, 0.4])), [0.3, 0.4])
    assert controller.receive(np.array([1.0, 2.0])) is None
    for late_s in (0, 1, 1000):
        np.testing.assert_array_equal(controller.update(NOW + late_s * S, np.zeros(2)), [1.0, 2.0])
    for wrong, code in ((np.array([np.nan, 0.0]), Code.NOT_FINITE), (np.zeros(3), Code.WRONG_SHAPE)):
        refused = controller.receive(wrong)
        assert refused is not None
        assert refused.code is code
    np.testing.assert_array_equal(controller.update(NOW, np.zeros(2)), [1.0, 2.0])


# --- the file --------------------------------------------------------------------------------------------------------


def test_when_a_parameter_is_misspelt_expect_a_refusal_with_the_right_name():
    good = {"joints": ["a"], "command_interfaces": ["position"]}
    JtcConfig.from_parameters(good, "here")
    for bad, words in (
        ({"cmd_timout": 0.2}, "did you mean 'cmd_timeout'"),
        ({"constraints": {"goal_tim": 0.1}}, "did you mean 'goal_time'"),
        ({"constraints": {"a": {"trajectry": 0.1}}}, "did you mean 'trajectory'"),
        ({"command_interfaces": ["velocity"]}, "position alone"),
        ({"joints": []}, "has no joints"),
    ):
        with pytest.raises(HptError, match=words):
            JtcConfig.from_parameters({**good, **bad}, "here")


# --- the arm ---------------------------------------------------------------------------------------------------------


def test_an_arm_lags_sags_and_waits_out_its_dead_time():
    arm = Arm(ArmModel(lag_s=0.1, dead_time_s=0.05, sag=-0.02), np.zeros(1), NOW)
    for ms in range(1, 51):
        arm.advance(NOW + ms * MS, np.ones(1))
    assert arm.position[0] == 0.0
    for ms in range(51, 151):
        arm.advance(NOW + ms * MS, np.ones(1))
    assert arm.position[0] == pytest.approx(0.98 * (1 - np.exp(-1.0)), abs=0.01)
    arm.advance(NOW + 10 * S, np.ones(1))
    assert arm.position[0] == pytest.approx(0.98, abs=1e-9)


def test_a_held_object_stops_a_closing_gripper_and_not_an_opening_one():
    arm = Arm(ArmModel(held={0: 0.5}), np.zeros(1), NOW)
    arm.advance(NOW + MS, np.array([0.8]))
    assert arm.position[0] == 0.5
    arm.advance(NOW + 2 * MS, np.array([0.2]))
    assert arm.position[0] == 0.2


def test_encoders_have_noise_and_steps():
    arm = Arm(ArmModel(noise=0.001, step=0.01), np.full(100, 0.123), NOW)
    got = arm.measured()
    np.testing.assert_allclose(got / 0.01, np.round(got / 0.01), atol=1e-9)
    assert np.abs(got - 0.123).max() < 0.011
    assert np.std(Arm(ArmModel(noise=0.001), np.zeros(1000), NOW).measured()) == pytest.approx(0.001, rel=0.2)
