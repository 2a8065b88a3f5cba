# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The predicted way of a link, against the node's own chunks and a plain computation of the robot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Path
from policy_rig import COMMANDS, NS, ROBOT, Rig, policy_rig, wait_for
from scipy.spatial.transform import Rotation
from tool_rig import POSES, Script, running

from hpt_ros.control import State
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.runtime.kinematics import read_urdf, root_link

LINKS = "".join(
    f'<link name="l{number + 1}"/><joint name="{limit.name}" type="revolute"><parent link="l{number}"/>'
    f'<child link="l{number + 1}"/><origin xyz="0.1 0 0.1"/><axis xyz="0 1 0"/>'
    '<limit lower="-9" upper="9" velocity="9" effort="1"/></joint>'
    for number, limit in enumerate(ROBOT.action.limits)
)
URDF = f'<robot name="arm"><link name="l0"/>{LINKS}</robot>'


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def paths_of(rig: Rig) -> list[Any]:
    paths: list[Any] = []
    rig.robot.create_subscription(Path, "/policy_node/predicted_path", paths.append, 10)
    return paths


def stamp_ns(stamp: Any) -> int:
    return int(stamp.sec) * NS + int(stamp.nanosec)


@pytest.mark.parametrize(("link", "frame"), [("", ""), ("l3", "arm_base")])
def test_the_path_is_where_the_chunk_takes_the_link_and_when(rig, link, frame):
    paths = paths_of(rig)
    rig.start(robot_description=URDF, prediction__link=link, prediction__frame=frame)
    rig.until(State.RUNNING)
    wait_for(lambda: len(paths) > 2 and len(rig.robot.chunks) > 2, "paths")
    kinematics = read_urdf(URDF, ROBOT.action.names).kinematics
    index = kinematics.links.index(link or f"l{len(ROBOT.action.limits)}")
    chunks = {stamp_ns(chunk.observation_stamp): chunk for chunk in rig.robot.chunks}
    compared = 0
    for path in paths:
        chunk = chunks.get(stamp_ns(path.poses[0].header.stamp))
        if chunk is None:
            continue
        compared += 1
        assert path.header.frame_id == (frame or "l0")
        times = [stamp_ns(pose.header.stamp) for pose in path.poses]
        assert np.diff(times).tolist() == [round(chunk.dt_s * NS)] * (chunk.horizon - 1)
        values = np.reshape(chunk.values, (chunk.horizon, chunk.dim))
        expected = [kinematics.origins(action)[index] for action in values]
        drawn = [[getattr(pose.pose.position, axis) for axis in "xyz"] for pose in path.poses]
        np.testing.assert_allclose(drawn, expected, atol=1e-12)
    assert compared > 0


def test_without_a_urdf_nothing_is_drawn_and_the_log_says_so(rig, capfd):
    node = rig.start()
    rig.until(State.RUNNING)
    topics = {name for name, _ in node.get_publisher_names_and_types_by_node("policy_node", "/")}
    assert "/policy_node/predicted_path" not in topics
    assert "robot_description is empty: ~/predicted_path is not drawn" in capfd.readouterr().err


def test_when_the_link_is_unknown_expect_configure_refused_and_then_nothing_left_behind(rig):
    node = rig.start(active=False, robot_description=URDF, prediction__link="l33")
    assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert "prediction.link is 'l33', expected one of the moving links of robot_description: l1, l2" in str(
        node.refusal
    )
    topics = {name for name, _ in node.get_publisher_names_and_types_by_node("policy_node", "/")}
    assert COMMANDS not in topics


def test_the_root_link_is_the_one_on_no_joint():
    assert root_link(URDF) == "l0"


def test_of_a_cartesian_command_the_path_is_its_poses_in_its_frame_without_a_urdf():
    policy = Script(POSES, {0: 0.05, 2: 0.1}, {})
    with running(POSES, policy) as (machine, node):
        paths: list[Any] = []
        machine.create_subscription(Path, "/policy_node/predicted_path", paths.append, 10)
        wait_for(lambda: node.state is State.RUNNING, "motion")
        drawn = len(paths)
        wait_for(lambda: len(paths) > drawn + 2, "paths")
    path = paths[-1]
    assert path.header.frame_id == "base"
    assert len(path.poses) == POSES.action.horizon
    places = np.array([[getattr(pose.pose.position, axis) for axis in "xyz"] for pose in path.poses])
    np.testing.assert_allclose(
        np.diff(places, axis=0) * POSES.tick_hz, np.tile([0.05, 0.0, 0.1], (len(places) - 1, 1)), atol=1e-6
    )
    for pose in path.poses:
        turn = pose.pose.orientation
        away = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]) * machine.turn.inv()
        assert away.magnitude() < 5e-3  # the tool is measured with noise


def test_when_an_output_to_be_drawn_is_unknown_expect_configure_refused_with_the_names():
    with policy_rig() as rig:
        loaded = LoadedPolicy(Script(POSES, {}, {}), POSES, "", 1)
        node = rig.start(active=False, loaded=loaded, prediction__link="tol")
        assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
        assert (
            "'tol', expected one of the Cartesian outputs of the embodiment file: tool; did you mean"
            in str(node.refusal)
        )
