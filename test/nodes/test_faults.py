# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Faults injected into the real node while it moves: what is commanded stays within limits and ends at rest."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from policy_rig import FILE, ROBOT, Rig, nan_checkpoint, policy_rig, wait_for
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.control import State
from hpt_ros.policies.loading import LoadedPolicy

# A loaded machine may hold any thread for a while; that is not the fault which a test injects.
PATIENT: dict[str, Any] = {"watchdog__timeout_s": 1.5}
# Shorter than what is left of a chunk when its observations end, so that the watchdog is first.
WATCHFUL: dict[str, Any] = {"watchdog__timeout_s": 0.5}


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def until_rest(rig: Rig) -> None:
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    if rig.state() in (State.WAITING, State.FAULT):  # HOLDING goes on telling where it holds
        wait_for(
            lambda: (
                rig.node is not None and rig.node.runtime is not None and rig.node.runtime.controller.at_rest
            ),
            "rest told to its end",
        )
        time.sleep(0.1)  # what was sent arrives
    rig.check_limits()


def latched(rig: Rig) -> str:
    assert rig.node is not None
    assert rig.node.runtime is not None
    return str(rig.node.runtime.controller.latched)


def test_when_joint_states_stop_while_moving_expect_rest_within_limits_and_a_fault(rig):
    node = rig.start(**WATCHFUL)
    rig.until_moving()
    rig.robot.joints_on = False
    rig.until(State.HOLDING)
    until_rest(rig)
    rig.until(State.FAULT)
    until_rest(rig)
    assert node.counters()["stale_stops"] == 1
    assert "stream 'joints' is" in latched(rig)


def test_when_a_camera_freezes_while_moving_expect_rest_within_limits_and_a_fault_until_it_lives(rig):
    node = rig.start(**PATIENT, safety__hold_timeout_s=0.3)
    rig.until_moving()
    rig.robot.same_picture = True
    rig.until(State.HOLDING)
    until_rest(rig)
    rig.until(State.FAULT)
    assert node.counters()["frozen_stops"] == 1
    assert "its camera is frozen" in latched(rig)
    ages_s = node.runtime.streams.stream_ages_s(node.now_ns)
    assert max(ages_s.values()) < 1.0  # its messages came all the while
    rig.robot.same_picture = False
    wait_for(lambda: not node.runtime.controller.activation.stale, "a new picture")
    assert node.clear_fault()[0]
    rig.until_moving()


def test_when_pictures_repeat_while_nothing_moves_expect_motion_all_the_same(rig):
    rig.robot.same_picture = True
    rig.policy.rad_s = 0.0
    node = rig.start(**PATIENT)
    rig.until(State.RUNNING)
    pictures = "a second and a half of the same pictures"
    wait_for(lambda: len(rig.robot.commands) > 150, pictures)
    assert rig.state() is State.RUNNING
    assert node.counters()["frozen_stops"] == 0


def test_when_the_robot_does_not_follow_expect_rest_within_limits_and_a_fault_that_names_the_joint(rig):
    node = rig.start(**PATIENT)
    rig.until_moving()
    rig.robot.follows = False
    rig.until(State.FAULT)
    until_rest(rig)
    assert node.counters()["tracking_stops"] == 1
    assert "from what it was commanded" in latched(rig)
    stuck = rig.robot.measured
    assert np.abs(rig.robot.commands[-1].position - stuck).max() < 0.5


def test_when_inference_hangs_while_moving_expect_rest_within_limits_and_a_fault_that_says_so(rig):
    node = rig.start(**PATIENT)
    rig.until_moving()
    rig.policy.released.clear()
    rig.until(State.FAULT)
    until_rest(rig)
    counters = node.counters()
    assert (counters["inferences_hung"], counters["exhausted_stops"]) == (1, 1)
    assert "not come back from an inference for more than 1 s" in latched(rig)
    assert not node.clear_fault()[1].startswith("there is no fault")
    time.sleep(0.2)
    assert rig.state() is State.WAITING  # still hung: nothing to move by
    rig.policy.released.set()
    rig.until_moving()


@pytest.mark.parametrize(
    ("name", "value", "counter", "words"),
    [
        ("raises", True, "inference_errors", "raised RuntimeError: out of cheese"),
        ("value", float("nan"), "nonfinite_refused", "has the value nan for action 0"),
        ("shape", (16, 6), "wrong_size_refused", "expected (horizon, 7)"),
    ],
)
def test_when_the_policy_fails_while_moving_expect_rest_within_limits_and_a_fault(
    rig, name, value, counter, words
):
    node = rig.start(**PATIENT, queue__request_fraction=1.0, safety__max_refused=3)
    rig.until_moving()
    setattr(rig.policy, name, value)
    rig.until(State.FAULT)
    until_rest(rig)
    assert node.counters()[counter] == 3
    assert words in latched(rig)
    assert all(np.isfinite(command.position).all() for command in rig.robot.commands)


@pytest.mark.parametrize("how", ["released", "lost"])
def test_when_the_deadmans_switch_goes_expect_rest_within_limits_and_motion_only_when_held(rig, how):
    node = rig.start(**PATIENT, deadman__topic="/deadman")
    wait_for(
        lambda: rig.robot.statuses and "enabling switch on /deadman" in rig.robot.statuses[-1].fault,
        "the reason in the status",
    )
    assert rig.robot.commands == []
    rig.robot.switch_held = True
    rig.until_moving()
    rig.robot.switch_held = False if how == "released" else None
    rig.until(State.WAITING)
    until_rest(rig)
    assert node.counters()["deadman_stops"] == 1
    sent = len(rig.robot.commands)
    time.sleep(0.3)
    assert len(rig.robot.commands) == sent
    rig.robot.switch_held = True
    rig.until(State.RUNNING)
    assert node.counters()["faults"] == 0


def test_when_decoding_hangs_while_moving_expect_commands_meanwhile_then_rest_within_limits(rig):
    node = rig.start(**PATIENT)
    rig.until_moving()
    go, decode = threading.Event(), node.runtime.observations._decode

    def hanging(*arguments: Any) -> Any:
        assert go.wait(60.0)
        return decode(*arguments)

    node.runtime.observations._decode = hanging
    sent = len(rig.robot.commands)
    rig.until(State.HOLDING)  # the chunk is used up
    until_rest(rig)
    assert len(rig.robot.commands) > sent + 10
    assert node.counters()["stale_stops"] == 0
    assert node.counters()["exhausted_stops"] == 1
    rig.until(State.FAULT)
    go.set()
    assert node.clear_fault()[0]
    rig.until_moving()


def test_when_weights_are_nan_expect_nothing_commanded_and_a_fault_that_says_so(rig, tmp_path):
    node = rig.start(**PATIENT, loaded=nan_checkpoint(tmp_path), safety__max_refused=3)
    rig.until(State.FAULT)
    assert rig.robot.commands == []
    assert node.counters()["nonfinite_refused"] == 3
    assert "has the value nan" in latched(rig)


def test_when_the_size_of_images_changes_while_moving_expect_rest_within_limits_and_a_fault(rig):
    node = rig.start(**PATIENT)
    rig.until_moving()
    rig.robot.size = (192, 256)
    rig.until(State.FAULT)
    until_rest(rig)
    assert "changed from 128x96 to 256x192 pixels" in latched(rig)
    wait_for(lambda: rig.robot.statuses[-1].reason == "input_changed", "its code in the status")
    assert node.clear_fault()[0]
    rig.until_moving()


def test_when_images_are_of_another_shape_than_the_policys_expect_a_warning(rig, capfd):
    rig.robot.size = (72, 128)
    rig.start(**PATIENT)
    rig.until_moving()
    log = ""

    def logged() -> bool:
        nonlocal log
        log += capfd.readouterr().err
        return "are 128x72 pixels and become 128x96: what they show is 33% too high" in log

    wait_for(logged, "the warning")


def test_when_images_are_of_another_size_than_in_training_expect_a_warning_in_log_and_diagnostics(rig, capfd):
    trained = {"front": ((480, 640),), "wrist": (rig.robot.size,)}
    loaded = LoadedPolicy(rig.policy, ROBOT, "", ROBOT.observation_horizon, image_sizes=trained)
    rig.start(loaded=loaded, **PATIENT)
    rig.until_moving()
    log, words = "", "stream 'front' are 128x96 pixels, but the policy was trained on 640x480"

    def logged() -> bool:
        nonlocal log
        log += capfd.readouterr().err
        return words in log and any(words in status.message for status in rig.robot.diagnostics)

    wait_for(logged, "the warning")
    status = rig.robot.statuses[-1]
    assert dict(zip(status.warning_codes, status.warnings, strict=True))["image"].startswith("the images of")
    assert "stream 'wrist' are" not in log
    assert rig.state() is State.RUNNING


@pytest.mark.parametrize("jump_s", [-30.0, 30.0])
def test_when_the_robots_clock_jumps_while_moving_expect_rest_within_limits(rig, jump_s):
    """Its stamps leave the node's clock: behind it they are stale, ahead of it they are no news of now."""
    node = rig.start(**WATCHFUL)
    rig.until_moving()
    rig.robot.clock_off_s = jump_s
    rig.until(State.HOLDING)
    until_rest(rig)
    rig.until(State.FAULT)
    assert node.counters()["stale_stops"] == 1
    rig.robot.clock_off_s = 0.0


def test_when_a_subscriber_of_the_commands_is_slow_expect_the_others_to_get_every_command(rig):
    node = rig.start(**PATIENT)
    slow = rig.composition.add(Node("slow", context=rig.composition.context))
    got: list[Any] = []

    def crawl(message: Any) -> None:
        got.append(message)
        time.sleep(0.2)

    slow.create_subscription(JointTrajectory, ROBOT.action.topic, crawl, 10)
    wait_for(lambda: got, "the slow one to hear something")
    rig.until_moving()
    sent = len(rig.robot.commands)
    wait_for(lambda: len(rig.robot.commands) > sent + 100, "more commands")
    rig.check_limits()
    assert rig.state() is State.RUNNING
    assert len(got) < 0.5 * len(rig.robot.commands)
    assert node.counters()["faults"] == 0


def test_when_its_process_is_killed_while_moving_expect_limits_up_to_the_end_and_nothing_after(rig):
    arguments = ["policy:=random", f"embodiment:={FILE}", "autostart:=true"]
    command: list[Any] = [sys.executable, "-m", "hpt_ros.nodes.policy.policy_node", "--ros-args"]
    for argument in arguments:
        command += ["-p", argument]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        wait_for(
            lambda: rig.robot.commands and np.abs(rig.robot.commands[-1].velocity).max() > 0.1, "motion", 60.0
        )
        process.kill()
        process.wait()
        time.sleep(0.2)  # what was under way arrives
        sent = len(rig.robot.commands)
        time.sleep(0.5)
        assert len(rig.robot.commands) == sent
        rig.check_limits()
    finally:
        process.kill()
        process.wait()
