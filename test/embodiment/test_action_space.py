# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Modes and the spaces of an action: inverse of each other, and never a number out of nothing."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation
from support.refused import refused

from hpt_ros.embodiment import Embodiment, EmbodimentError, require_match
from hpt_ros.embodiment.rotations import REPRESENTATIONS, angular_velocity, convert_rotations
from hpt_ros.errors import Code

JOINTS = """
format: hpt_ros/embodiment/1
name: arm_and_gripper
tick_hz: 10.0
streams:
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 100.0,
     tolerance_s: 0.1, joints: [finger, j2, j1], fields: [velocity, position]}
action:
  rate_hz: 100.0
  horizon: 5
  mode: MODE
  grippers: [finger]
  outputs:
    - {name: arm, topic: /arm, type: trajectory_msgs/msg/JointTrajectory, names: [j1, j2], latency_s: 0.05}
    - {name: gripper, topic: /gripper, type: std_msgs/msg/Float64, names: [finger], unit: m, latency_s: 0.2}
  limits:
    - {name: j1, lower: -3, upper: 3, velocity: 2, acceleration: 10}
    - {name: j2, lower: -3, upper: 3, velocity: 2, acceleration: 10}
    - {name: finger, lower: 0, upper: 0.1, velocity: 0.2, acceleration: 1}
"""
CARTESIAN = """
format: hpt_ros/embodiment/1
name: cartesian
tick_hz: 10.0
streams:
  - {name: tcp, modality: state, topic: /tcp_pose, type: geometry_msgs/msg/PoseStamped, rate_hz: 100.0,
     tolerance_s: 0.1}
  - {name: fingers, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 100.0,
     tolerance_s: 0.1, joints: [finger], fields: [position]}
action:
  rate_hz: 100.0
  horizon: 5
  mode: MODE
  grippers: [finger]
  outputs:
    - {name: arm, topic: /target, type: TYPE, kind: KIND, rotation: ROTATION, frame_id: base_link, pose: tcp,
       unit: m, rotation_limit: {velocity: 0.6, acceleration: 3.0}}
    - {name: gripper, topic: /gripper, type: std_msgs/msg/Float64MultiArray, names: [finger]}
  limits:
    - {name: arm.x, lower: -1, upper: 1, velocity: 0.25, acceleration: 1}
    - {name: arm.y, lower: -1, upper: 1, velocity: 0.25, acceleration: 1}
    - {name: arm.z, lower: 0, upper: 1, velocity: 0.25, acceleration: 1}
    - {name: finger, lower: 0, upper: 1, velocity: 2, acceleration: 10}
"""
MODES = ("absolute", "delta", "relative")
numbers = st.floats(-3, 3)
unit = st.floats(-1, 1)


def joints(mode: str = "absolute") -> Embodiment:
    return Embodiment.loads(JOINTS.replace("MODE", mode))


def cartesian(
    mode: str = "absolute", rotation: str = "rotation_6d", kind: str = "cartesian_pose"
) -> Embodiment:
    type_ = "geometry_msgs/msg/" + ("PoseStamped" if kind == "cartesian_pose" else "TwistStamped")
    text = CARTESIAN.replace("MODE", mode).replace("ROTATION", rotation).replace("KIND", kind)
    return Embodiment.loads(text.replace("TYPE", type_))


def state_of(position: np.ndarray, rotation: Rotation, finger: float) -> np.ndarray:
    """The state vector (D,) of the Cartesian robot."""
    return np.concatenate([position, rotation.as_matrix()[:, 0], rotation.as_matrix()[:, 1], [finger]])


@given(
    arrays(np.float64, (3, 5, 3), elements=numbers),
    arrays(np.float64, (3, 6), elements=numbers),
    st.sampled_from(MODES),
)
def test_when_joint_actions_go_to_a_mode_and_back_expect_the_same_actions(actions, state, mode) -> None:
    space = joints(mode).space
    np.testing.assert_allclose(space.from_mode(space.to_mode(actions, state), state), actions, atol=1e-12)


def test_when_mode_is_delta_or_relative_expect_steps_or_distances_and_the_gripper_as_it_is() -> None:
    state = np.array([[9.0, 9.0, 9.0, 0.05, -0.5, 0.25]])  # velocities, then finger, j2, j1
    actions = np.array([[[0.5, -0.5, 0.1], [0.75, 0.0, 0.0]]])
    relative = joints("relative").space.to_mode(actions, state)
    np.testing.assert_array_equal(relative, [[[0.25, 0.0, 0.1], [0.5, 0.5, 0.0]]])
    delta = joints("delta").space.to_mode(actions, state)
    np.testing.assert_array_equal(delta, [[[0.25, 0.0, 0.1], [0.25, 0.5, 0.0]]])
    assert joints().space.to_mode(actions, state) is actions


@given(
    arrays(np.float64, (5, 7), elements=unit),
    arrays(np.float64, (4,), elements=unit).filter(lambda v: np.linalg.norm(v) > 0.1),
    st.sampled_from(MODES),
    st.sampled_from(REPRESENTATIONS),
)
def test_when_poses_go_to_a_mode_and_back_expect_the_same_poses(motion, start, mode, rotation) -> None:
    robot = cartesian(mode, rotation)
    turn = Rotation.from_quat(start)
    state = state_of(start[:3], turn, 0.5)[None]
    turns = Rotation.from_rotvec(2.0 * motion[:, 3:6]) * turn
    quaternions = turns.as_quat()
    orientation = convert_rotations(quaternions, "quaternion", rotation)
    actions = np.concatenate([motion[:, :3], orientation, motion[:, 6:]], axis=1)[None]
    back = robot.space.from_mode(robot.space.to_mode(actions, state), state)[0]
    np.testing.assert_allclose(back[:, :3], motion[:, :3], atol=1e-9)
    np.testing.assert_array_equal(back[:, -1], motion[:, 6])
    again = Rotation.from_quat(convert_rotations(back[:, 3:-1], rotation, "quaternion"))
    assert (turns * again.inv()).magnitude().max() < 1e-6


def test_when_poses_are_relative_expect_the_same_numbers_wherever_the_tool_is() -> None:
    """A step of 1 cm along the tool's z and a turn about it."""
    space = cartesian("relative", "axis_angle").space
    found = []
    for turn in (
        Rotation.identity(),
        Rotation.from_rotvec([np.pi, 0, 0]),
        Rotation.from_rotvec([0.3, -2.0, 1.0]),
    ):
        origin = np.array([0.4, -0.1, 0.3])
        reached = turn * Rotation.from_rotvec([0, 0, 0.2])
        action = np.concatenate([origin + turn.apply([0, 0, 0.01]), reached.as_rotvec(), [0.7]])
        found.append(space.to_mode(action[None, None], state_of(origin, turn, 0.0)[None])[0, 0])
    for row in found:
        np.testing.assert_allclose(row, [0, 0, 0.01, 0, 0, 0.2, 0.7], atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rotation", REPRESENTATIONS)
def test_when_a_policy_gives_no_orientation_expect_nan_for_the_control_room_to_refuse(
    mode: str, rotation: str
) -> None:
    space = cartesian(mode, rotation).space
    state = state_of(np.zeros(3), Rotation.identity(), 0.0)
    good = space.states.action(state)
    chunk = np.tile(good, (4, 1))
    chunk[2, 3:-1] = np.nan if rotation == "axis_angle" else 0.0
    control = space.to_control(space.from_mode(chunk[None], state[None])[0], state)
    assert np.isnan(control[2]).any()
    assert np.isfinite(control[:2]).all()


@given(arrays(np.float64, (6, 6), elements=unit), arrays(np.float64, (3,), elements=unit))
def test_when_twists_are_integrated_expect_poses_whose_velocities_are_the_twists(twists, vector) -> None:
    space = cartesian(kind="cartesian_twist").space
    start, dt_s = Rotation.from_rotvec(vector), 0.1
    actions = np.concatenate([twists, np.full((6, 1), 0.5)], axis=1)
    control = space.to_control(actions, state_of(vector, start, 0.2))
    assert control.shape == (7, 8)
    np.testing.assert_allclose(np.diff(control[:, :3], axis=0) / dt_s, twists[:, :3], atol=1e-12)
    turns = Rotation.from_quat(control[:, 3:7])
    np.testing.assert_allclose((turns[1:] * turns[:-1].inv()).as_rotvec() / dt_s, twists[:, 3:], atol=1e-7)
    assert (control[:, 7] == 0.5).all()


@given(arrays(np.float64, (3,), elements=unit), arrays(np.float64, (3,), elements=unit), st.floats(0.5, 2.0))
def test_angular_velocity_is_the_rate_of_the_rotation_whatever_the_quaternions_length(
    vector, omega, length
) -> None:
    turn, step = Rotation.from_rotvec(vector), 1e-6
    before = (Rotation.from_rotvec(-0.5 * step * omega) * turn).as_quat()
    after = (Rotation.from_rotvec(0.5 * step * omega) * turn).as_quat()
    after = after if before @ after > 0 else -after
    rate = (after - before) / step
    quaternion = (before + after) / 2
    found = angular_velocity(length * quaternion, length * rate + 0.3 * quaternion)
    np.testing.assert_allclose(found, omega, atol=1e-8)


def test_holding_a_twist_is_zero() -> None:
    space = cartesian(kind="cartesian_twist").space
    state = state_of(np.array([0.1, 0.2, 0.3]), Rotation.identity(), 0.6)
    np.testing.assert_array_equal(space.states.action(state), [0, 0, 0, 0, 0, 0, 0.6])


def test_several_outputs_have_their_places_limits_and_latencies() -> None:
    robot = joints()
    assert robot.action.names == ("j1", "j2", "finger")
    assert robot.action.unit == "rad, m"
    assert robot.space.names == robot.action.names
    np.testing.assert_allclose(robot.space.ahead_s, [0, 0, 0.15])
    assert robot.space.states.joint_indices().tolist() == [5, 4, 3]
    poses = cartesian(rotation="axis_angle")
    assert poses.action.dim == 7
    assert poses.space.names == (
        *tuple(f"arm.{n}" for n in ("x", "y", "z", "qx", "qy", "qz", "qw")),
        "finger",
    )
    assert poses.space.turns == (3,)
    assert poses.space.limits.velocity.tolist() == [0.25] * 3 + [0.6] * 4 + [2.0]
    with refused(
        EmbodimentError,
        Code.INVALID,
        subject="embodiment 'cartesian'",
        problem="commands cartesian_pose on /target",
        expected="joint positions",
    ):
        poses.space.states.joint_indices()


@pytest.mark.parametrize("robot", [joints("delta"), cartesian("relative"), cartesian(kind="cartesian_twist")])
def test_files_with_outputs_survive_a_round_trip_without_what_follows(robot: Embodiment) -> None:
    text = robot.to_yaml()
    assert Embodiment.loads(text) == robot
    assert not {"topic", "type", "names", "kind", "unit"} & yaml.safe_load(text)["action"].keys()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("mode: MODE", "mode: absolute\n  topic: /x", "has outputs and the key 'topic'"),
        ("KIND, ", "joint_position, ", "has kind joint_position and type TYPE, expected trajectory_msgs"),
        ("frame_id: base_link", "frame_id: map", r"frame_id is 'map', which jumps .*REP 105"),
        ("pose: tcp", "pose: fingers", "pose is 'fingers', but the streams of .*PoseStamped or of transforms are tcp"),
        ("pose: tcp,", "", "which needs the key 'pose'"),
        ("name: gripper", "name: arm", "the output name 'arm' twice"),
        ("topic: /gripper", "topic: /target", "the topic '/target' twice"),
        ("grippers: [finger]", "grippers: [fingre]", "gripper is 'fingre', expected each of the joints finger once"),
        ("names: [finger]}", "names: [finger], frame_id: base}", "takes no key 'frame_id'"),
        ("name: arm.x", "name: arm.w", "has limits for"),
        ("Float64MultiArray, names: [finger]", "Float64, names: [finger, thumb]", "has 2 names, expected one"),
    ],
)  # fmt: skip
def test_when_an_output_is_wrong_expect_one_sentence_that_names_it(
    before: str, after: str, message: str
) -> None:
    assert before in CARTESIAN
    text = CARTESIAN.replace(before, after).replace("MODE", "absolute").replace("ROTATION", "quaternion")
    kind = "joint_position" if after.startswith("joint_position") else "cartesian_pose"
    type_ = "geometry_msgs/msg/PoseStamped"
    message = message.replace("TYPE", type_)
    with pytest.raises(EmbodimentError, match=message):
        Embodiment.loads(text.replace("KIND", kind).replace("TYPE", type_))


def test_when_nothing_is_relative_expect_the_mode_refused() -> None:
    with refused(
        EmbodimentError,
        Code.INVALID,
        subject="embodiment text, action, mode",
        value="delta",
        problem="but grippers and twists are absolute in every mode",
        remedy="absolute",
    ):
        cartesian("delta", kind="cartesian_twist")


def test_when_modes_differ_expect_checkpoints_refused_and_datasets_taken() -> None:
    """A dataset holds absolute actions, so the mode is chosen when a policy is trained."""
    a, b = joints("delta"), joints("relative")
    require_match(a, b, a_name="a", b_name="b", settled="dataset")
    with refused(
        EmbodimentError,
        Code.MISMATCH,
        subject="a and b",
        problem="action.mode is delta in the first and relative in the second",
    ):
        require_match(a, b, a_name="a", b_name="b")


def test_when_one_output_differs_expect_it_named() -> None:
    other = Embodiment.loads(JOINTS.replace("MODE", "absolute").replace("/gripper", "/claw"))
    with refused(
        EmbodimentError,
        Code.MISMATCH,
        subject="a and b",
        problem="action.outputs.gripper.topic is /gripper in the first and /claw",
    ):
        require_match(joints(), other, a_name="a", b_name="b", settled="bag")


def test_a_single_command_without_topic_names_the_two_ways() -> None:
    text = JOINTS.replace("MODE", "absolute")
    start, end = text.index("  grippers"), text.index("  limits")
    with refused(
        EmbodimentError,
        Code.MISSING,
        subject="embodiment text, action",
        value="topic",
        expected="a topic, a type and names",
    ):
        Embodiment.loads(text[:start] + text[end:])
