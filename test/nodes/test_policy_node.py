# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy node over real DDS, with a robot that publishes what drivers would and follows commands."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from policy_rig import COMMANDS, FILE, HOME, ROBOT, Rig, policy_rig, wait_for
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from hpt_msgs.msg import PolicyStatus
from hpt_msgs.srv import ClearFault, SetTask
from hpt_ros.control import State


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def test_when_active_expect_commands_status_chunks_and_diagnostics(rig):
    node = rig.start()
    assert rig.state() in (State.WAITING, State.RUNNING)
    rig.until_moving()
    wait_for(lambda: len(rig.robot.commands) > 100, "a second of commands")
    rig.check_limits()
    wait_for(lambda: rig.robot.statuses and rig.robot.statuses[-1].state == PolicyStatus.RUNNING, "status")
    status = rig.robot.statuses[-1]
    assert status.state_name == "RUNNING"
    assert status.embodiment == "feed_dog"
    assert status.task == ROBOT.task
    assert list(status.stream_names) == ["front", "wrist", "joints"]
    assert max(status.stream_ages_s) < 1.0
    counters = dict(zip(status.counter_names, status.counter_values, strict=True))
    assert counters["commands_sent"] > 0
    assert counters["invalid_messages"] == 0
    chunk = wait_for(lambda: rig.robot.chunks, "a chunk")[0]
    assert (chunk.horizon, chunk.dim, len(chunk.values)) == (16, 7, 112)
    assert chunk.dt_s == pytest.approx(0.1)
    assert chunk.observation_stamp.nanosec % 100_000_000 == 0
    entry = wait_for(
        lambda: [d for d in rig.robot.diagnostics if d.message.startswith("RUNNING")], "diagnostics"
    )[-1]
    assert {"command jitter p99 [s]", "stale_stops", "inference p95 [s]"} <= {
        value.key for value in entry.values
    }
    metrics = node.metrics()
    assert metrics["inference_s"].size >= 1
    assert metrics["image_to_command_s"].size >= 1
    assert metrics["image_to_command_steady_s"].size == metrics["image_to_command_s"].size
    assert metrics["command_jitter_s"].size > 50
    assert (metrics["image_to_command_s"] > 0).all()
    image, state = rig.policy.seen[0].inputs["image"], rig.policy.seen[0].inputs["state"]
    assert image.shape == (1, ROBOT.observation_horizon, 2, 96, 128, 3)
    assert state.shape == (1, ROBOT.observation_horizon, 7)


def test_lifecycle_by_services_from_start_to_end_and_round_again(rig):
    node = rig.start(active=False)
    wait_for(lambda: rig.robot.statuses, "status before configuration")
    assert rig.robot.statuses[-1].state == PolicyStatus.UNCONFIGURED
    for _ in range(2):
        assert not rig.robot.change(Transition.TRANSITION_ACTIVATE)
        assert rig.robot.change(Transition.TRANSITION_CONFIGURE)
        assert rig.state() is State.INACTIVE
        assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
        rig.until(State.RUNNING)
        assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
        assert rig.state() is State.INACTIVE
        assert rig.robot.change(Transition.TRANSITION_CLEANUP)
        assert rig.state() is State.UNCONFIGURED
        topics = {name for name, _ in node.get_publisher_names_and_types_by_node("policy_node", "/")}
        assert COMMANDS not in topics
    assert rig.robot.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)


def test_when_camera_dies_while_moving_expect_braking_from_its_timeout_on_within_limits(rig):
    node = rig.start()
    rig.until_moving()
    rig.robot.camera_on = False
    rig.until(State.HOLDING)
    rig.until_rest()
    rig.check_limits()
    # What is fixed by then is not changed any more: the lead, and the curve's periods.
    assert node.runtime is not None
    plan = node.runtime.controller.plan
    fixed_ns = rig.robot.last_camera_ns + 250_000_000 + plan.lead_ns + 5 * plan.period_ns
    after = [np.abs(command.velocity) for command in rig.robot.commands if command.due_ns > fixed_ns]
    assert len(after) > 3
    for before, now in itertools.pairwise(after):
        assert (now <= before + 1e-9).all()
    assert node.counters()["stale_stops"] == 1
    rig.until(State.FAULT)
    wait_for(lambda: rig.robot.statuses[-1].state == PolicyStatus.FAULT, "status FAULT")
    assert re.search("held for more than 1 s: stream 'front' is .* old", rig.robot.statuses[-1].fault)
    # One entry for the policy, and one for each stream behind it.
    of_policy = [item for item in rig.robot.diagnostics if item.name.endswith(": policy")]
    assert of_policy[0].level != DiagnosticStatus.ERROR
    wait_for(
        lambda: (
            [item for item in rig.robot.diagnostics if item.name.endswith(": policy")][-1].level
            == DiagnosticStatus.ERROR
        ),
        "the policy's entry of level ERROR",
    )


def test_when_fault_is_cleared_expect_motion_again_only_then(rig):
    rig.start(safety__hold_timeout_s=0.1)
    rig.until_moving()
    rig.robot.joints_on = False
    rig.until(State.FAULT)
    rig.until_rest()
    rig.robot.joints_on = True
    sent = len(rig.robot.commands)
    time.sleep(0.3)
    assert rig.state() is State.FAULT
    assert len(rig.robot.commands) == sent
    answer = rig.robot.call(ClearFault, "clear_fault")
    assert answer.success
    assert "joints" in answer.message
    rig.until_moving()
    rig.check_limits()
    again = rig.robot.call(ClearFault, "clear_fault")
    assert not again.success
    assert "no fault to clear" in again.message


@pytest.mark.parametrize("how", ["topic", "service"])
def test_when_an_operator_stops_expect_rest_within_limits_and_latched_over_reactivation(rig, how):
    rig.start()
    rig.until_moving()
    limit_s = time.monotonic() + 20.0
    if how == "topic":
        # As a held button: the first message may come before the node's side has met this publisher, and is lost then.
        while rig.state() is not State.FAULT and time.monotonic() < limit_s:
            rig.robot.stop_topic.publish(Empty())
            time.sleep(0.05)
    else:
        assert rig.robot.call(Trigger, "stop").success
    rig.until(State.FAULT)
    rig.until_rest()
    rig.check_limits()
    sent = len(rig.robot.commands)
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    time.sleep(0.3)
    assert rig.state() is State.FAULT
    assert len(rig.robot.commands) == sent
    assert rig.robot.call(ClearFault, "clear_fault").success
    rig.until(State.RUNNING)


def test_when_stopped_before_configuration_expect_latched_through_configure_and_cleanup(rig):
    node = rig.start(active=False)
    assert rig.robot.call(Trigger, "stop").success
    for _ in range(2):
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            assert rig.robot.change(transition), node.refusal
        assert rig.state() is State.FAULT
        for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
            assert rig.robot.change(transition), node.refusal
    assert rig.robot.commands == []
    assert rig.robot.call(ClearFault, "clear_fault").success
    assert rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    rig.until(State.RUNNING)


def test_when_deactivated_while_moving_expect_rest_and_when_activated_nothing_replayed(rig):
    node = rig.start()
    rig.until_moving()
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    rig.until_rest()
    rig.check_limits()
    time.sleep(0.1)
    sent = len(rig.robot.commands)
    rig.policy.released.clear()  # no new chunk, so anything sent would be an old one
    moved = HOME + 0.3
    rig.robot.place(moved)
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: not node.runtime.worker.idle, "the policy to be asked")
    time.sleep(0.3)
    assert rig.state() is State.WAITING
    assert len(rig.robot.commands) == sent
    rig.policy.released.set()
    wait_for(lambda: len(rig.robot.commands) > sent, "commands of the new activation")
    np.testing.assert_allclose(rig.robot.commands[sent].position, moved, atol=0.01)


def test_when_chunk_of_an_old_activation_comes_late_expect_it_thrown_away(rig):
    node = rig.start(active=False)
    rig.policy.released.clear()
    assert rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: rig.policy.seen, "the policy to be asked")
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    rig.robot.camera_on = False
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    rig.policy.released.set()
    wait_for(lambda: node.runtime.worker.idle, "the old result to be taken")
    assert node.counters()["chunks"] == 0
    assert rig.robot.commands == []


def test_when_policy_gives_nan_expect_nothing_published_and_a_fault(rig):
    rig.policy.value = float("nan")
    node = rig.start(safety__max_refused=3)
    rig.until(State.FAULT)
    assert node.counters()["nonfinite_refused"] == 3
    assert rig.robot.commands == []
    assert rig.robot.chunks == []


def test_when_policy_gives_the_wrong_size_expect_nothing_published_and_a_fault(rig):
    rig.policy.shape = (16, 6)
    node = rig.start(safety__max_refused=2)
    rig.until(State.FAULT)
    assert node.counters()["wrong_size_refused"] == 2
    assert rig.robot.commands == []


def test_when_policy_raises_while_moving_expect_rest_within_limits(rig):
    node = rig.start(queue__request_fraction=1.0, safety__max_refused=3)
    rig.until_moving()
    rig.policy.raises = True
    rig.until(State.FAULT)
    rig.until_rest()
    rig.check_limits()
    assert node.counters()["inference_errors"] == 3
    assert "raised RuntimeError: out of cheese" in str(node.runtime.controller.latched)


def test_when_policy_hangs_while_moving_expect_rest_within_limits_when_the_chunk_is_used_up(rig):
    node = rig.start()
    rig.until_moving()
    rig.policy.released.clear()
    rig.until(State.HOLDING)
    rig.until_rest()
    rig.check_limits()
    assert node.counters()["exhausted_stops"] == 1


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("names", "lacks the joint 'panda_joint1'"),
        ("encoding", "has images of encoding '8UC9'"),
        ("spoil", "has the value nan for 'panda_joint4.position'"),
    ],
)
def test_when_messages_are_bad_expect_counted_waiting_and_said_once(rig, spoil, sentence, capfd):
    bad = {"names": [f"ur5_{name}" for name in ROBOT.action.names], "encoding": "8UC9", "spoil": True}
    setattr(rig.robot, spoil, bad[spoil])
    node = rig.start()
    wait_for(lambda: node.counters()["invalid_messages"] > 5, "bad messages")
    assert rig.state() is State.WAITING
    assert rig.robot.commands == []
    said = capfd.readouterr().err
    assert said.count(sentence) == 1 + (spoil == "encoding")  # one for each of two cameras
    setattr(rig.robot, spoil, {"names": list(ROBOT.action.names), "encoding": "rgb8", "spoil": False}[spoil])
    rig.until(State.RUNNING)


@pytest.mark.parametrize(("part", "method"), [("buffer", "ticks_ready"), ("window", "inputs")])
def test_when_the_node_itself_fails_while_moving_expect_rest_within_limits_and_a_fault(rig, part, method):
    node = rig.start(queue__request_fraction=1.0)
    rig.until_moving()
    with node.lock:
        setattr(
            getattr(node.runtime.observations, part), method, None
        )  # as a programming error would leave it
    rig.until(State.FAULT)
    rig.until_rest()
    rig.check_limits()
    assert str(node.runtime.controller.latched).startswith("internal error, TypeError")


def test_when_first_target_is_far_away_expect_waiting_and_the_status_says_why(rig):
    rig.policy.value = 1.0
    rig.start()
    wait_for(
        lambda: rig.robot.statuses and "first target for" in rig.robot.statuses[-1].fault,
        "the reason in the status",
    )
    assert rig.robot.statuses[-1].state == PolicyStatus.WAITING
    assert rig.robot.commands == []


@pytest.mark.parametrize("policy", ["hold", "random"])
def test_baselines_go_through_the_same_limits(rig, policy):
    rig.start(load=False, policy=policy, embodiment=FILE)
    wait_for(lambda: len(rig.robot.commands) > 150, "commands")
    rig.check_limits()
    # The arm sags, and is measured with noise: it begins where it was seen, and does not creep from there.
    moved = np.abs(rig.robot.commands[-1].position - rig.robot.commands[75].position).max()
    assert moved < 1e-9 if policy == "hold" else moved > 1e-3


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"policy": "hold"}, "the parameter embodiment is empty, but policy is 'hold'"),
        ({}, "the parameter checkpoint is empty"),
        ({"checkpoint": "/nowhere"}, "checkpoint '/nowhere' is neither a folder nor shipped"),
        ({"policy": "hold", "embodiment": "/nowhere.yaml"}, "'/nowhere.yaml' does not exist"),
        (
            {"policy": "hold", "embodiment": FILE, "queue.step_names": ["gripper"]},
            "queue.step_names has 'gripper'",
        ),
    ],
)
def test_when_parameters_cannot_work_expect_configure_refused_with_a_sentence(rig, values, sentence):
    node = rig.start(
        active=False, load=False, **{name.replace(".", "__"): value for name, value in values.items()}
    )
    assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert sentence in str(node.refusal)
    assert rig.state() is State.UNCONFIGURED
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE


def test_parameters_are_described_ranged_and_refused_when_it_is_too_late(rig):
    node = rig.start()
    descriptor = node.describe_parameter("safety.velocity_scale")
    assert "velocity limits" in descriptor.description
    assert descriptor.floating_point_range[0].to_value == 1.0
    assert "[s]" in node.describe_parameter("watchdog.timeout_s").description
    assert node.get_parameter("queue.fade_s").value == 0.2
    (late,) = node.set_parameters([Parameter("queue.fade_s", value=0.1)])
    assert not late.successful
    assert "does not change while the robot may move; deactivate the node first" in late.reason
    (task,) = node.set_parameters([Parameter("task", value="feed the cat")])
    assert task.successful
    assert node.runtime.task.text == "feed the cat"


def test_when_parameter_is_out_of_range_expect_refused_and_the_old_kept(rig):
    node = rig.start(active=False)
    (above,) = node.set_parameters([Parameter("watchdog.timeout_s", value=0.0)])
    assert not above.successful
    assert "expected more than 0 s" in above.reason
    (choice,) = node.set_parameters([Parameter("policy", value="checkpiont")])
    assert "did you mean 'checkpoint'" in choice.reason
    assert node.get_parameter("watchdog.timeout_s").value == 0.2


def test_task_is_set_by_service_and_reaches_the_policy(rig):
    node = rig.start()
    assert not rig.robot.call(SetTask, "set_task", SetTask.Request(task=" ")).success
    assert rig.robot.call(SetTask, "set_task", SetTask.Request(task="water the dog")).success
    rig.until(State.RUNNING)
    wait_for(
        lambda: rig.policy.seen and rig.policy.seen[-1].task == "water the dog", "the task at the policy"
    )
    assert node.runtime.task.text == "water the dog"


def test_when_closed_while_moving_expect_the_robot_braked(rig):
    node = rig.start()
    rig.until_moving()
    rig.composition.remove(node)
    rig.until_rest()
    rig.check_limits()
