# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every modality through the node: the converter's arrays, streams that may go, tasks, and the actions before."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from policy_rig import HOME, Ramp, Rig, policy_rig, wait_for
from rclpy.parameter import Parameter
from recorded import ACTION, RECORDED, START, Watching, converted, require_inputs, write_bag
from scipy.interpolate import CubicHermiteSpline
from sensing_rig import SENSING, TASKS, SensingRobot

from hpt_msgs.action import RunPolicy
from hpt_msgs.srv import SetTask
from hpt_ros.control import ControlConfig, State
from hpt_ros.observation import TickGrid, decode_command
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.runtime.policy_runtime import PolicyRuntime
from rosbag_tools.reading.reader import Bag

# --- a bag, converted and replayed ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bag") / "all")


def replayed(bag: Path, loaded: LoadedPolicy, *, every: int) -> PolicyRuntime:
    """Put the bag's messages through the node's path; the control loop comes round every so many messages."""
    runtime = PolicyRuntime(loaded, ControlConfig())
    runtime.activate(enabled=True)
    topics = {stream.topic: stream for stream in RECORDED.streams}
    with Bag.open(bag) as opened:
        messages = [*opened.messages([*topics, ACTION.topic])]
    for number, message in enumerate(messages):
        if message.topic == ACTION.topic:
            time_ns, position = decode_command(ACTION.parts[0], message.content, message.log_ns)
            runtime.observations.note_command(time_ns, message.log_ns, position, np.zeros_like(position))
        else:
            assert not runtime.streams.message(topics[message.topic], message.content, message.log_ns)
        if number % every == 0:
            step = runtime.step(message.log_ns)
            assert not step.internal
            assert step.command is None
            assert runtime.observations.flush()
            wait_for(lambda: runtime.worker.busy_s() == 0.0, "the policy")
    assert runtime.close()
    return runtime


@pytest.mark.parametrize("every", [1, 7])
def test_a_replayed_bag_gives_the_policy_the_converters_arrays_of_every_modality(bag, every):
    optional = frozenset({"tactile"})
    policy = Watching()
    loaded = LoadedPolicy(policy, SENSING, "", SENSING.observation_horizon, optional)
    runtime = replayed(bag, loaded, every=every)
    rows = converted(bag, optional)
    grid = TickGrid(SENSING.tick_hz)
    compared = 0
    for stamp_ns, observation in policy.seen.items():
        before, now = (grid.time_ns(index) for index in observation.keys)
        assert now == stamp_ns
        ticks = [rows[before].tick, rows[now].tick]
        inputs = observation.inputs
        require_inputs(inputs, ticks)
        for index in range(len(ticks)):
            row = rows.get(grid.time_ns(observation.keys[index] - 1))
            if row is not None and row.action is not None and row.tick.valid:
                np.testing.assert_array_equal(inputs["actions"][0, index], row.action.astype(np.float32))
                compared += 1
        assert inputs["task"].tolist() == [ticks[-1].task]
    assert compared > 15
    assert {"tactile" in observation.inputs for observation in policy.seen.values()} == {True, False}
    valid = [row.tick for row in rows.values() if row.tick.valid]
    losses = sum(bool(now.absent) and not before.absent for before, now in itertools.pairwise(valid))
    assert runtime.counters["inputs_lost"] == losses + bool(valid[0].absent) > 0
    assert all(len(keys) == 1 for keys in policy.ahead)


def test_when_a_modality_is_not_optional_expect_no_observation_without_it(bag):
    policy = Watching()
    replayed(bag, LoadedPolicy(policy, SENSING, "", SENSING.observation_horizon), every=5)
    rows = converted(bag, frozenset())
    assert policy.seen
    for stamp_ns in policy.seen:
        assert rows[stamp_ns].tick.valid
    assert [row.tick for row in rows.values() if "skin" in row.tick.missing]


# --- the node itself -----------------------------------------------------------------------------------------------


# A loaded machine must not make the skin absent.
PATIENT = replace(
    SENSING,
    streams=tuple(replace(s, tolerance_s=2.0) if s.name == "skin" else s for s in SENSING.streams),
)


class Chooser(Ramp):  # type: ignore[misc]
    """A ramp that knows its tasks."""

    def loaded(self, *optional: str) -> LoadedPolicy:
        return LoadedPolicy(self, PATIENT, "", PATIENT.observation_horizon, frozenset(optional), TASKS)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig(SensingRobot) as made:
        made.policy = Chooser(made.policy.rad_s)
        yield made


def newest(rig: Rig) -> Observation:
    return rig.policy.seen[-1]


def test_when_an_optional_stream_dies_expect_motion_without_it_counted_and_said_once(rig, capfd):
    node = rig.start(
        loaded=rig.policy.loaded("tactile"),
        task=TASKS[0],
        queue__request_fraction=1.0,
        watchdog__timeout_s=10.0,
    )
    rig.until_moving()
    inputs = newest(rig).inputs
    assert {name: value.shape[2:] for name, value in inputs.items() if name != "task"} == {
        "image": (2, 96, 128, 3), "depth": (1, 8, 12), "state": (7,), "wrench": (6,), "tactile": (1, 4),
        "pointcloud": (1, 5, 3), "actions": (7,),
    }  # fmt: skip
    rig.robot.off.add("skin")
    wait_for(lambda: "tactile" not in newest(rig).inputs, "an observation without the skin")
    rig.policy.seen.clear()
    wait_for(lambda: len(rig.policy.seen) > 3, "more of them")
    assert node.counters()["inputs_lost"] == 1
    assert node.counters()["stale_stops"] == 0
    wait_for(
        lambda: (
            "inputs_lost" in rig.robot.statuses[-1].counter_names
            and dict(
                zip(rig.robot.statuses[-1].counter_names, rig.robot.statuses[-1].counter_values, strict=True)
            )["inputs_lost"]
        ),
        "the loss in the status",
    )
    said = "stream 'skin' is absent"
    assert capfd.readouterr().err.count(said) == 1
    rig.robot.off.clear()
    wait_for(lambda: "tactile" in newest(rig).inputs, "the skin again")
    rig.robot.off.add("skin")
    wait_for(lambda: node.counters()["inputs_lost"] == 2, "the second loss")


def test_when_a_needed_stream_dies_expect_rest_within_limits_and_a_fault(rig):
    node = rig.start(loaded=rig.policy.loaded("tactile"), task=TASKS[0])
    rig.until_moving()
    rig.robot.off.add("wrist_force")
    rig.until(State.FAULT)
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    rig.check_limits()
    assert "stream 'wrist_force' is" in str(node.runtime.controller.latched)


def test_tasks_that_the_checkpoint_does_not_know_are_refused_by_name(rig):
    node = rig.start(loaded=rig.policy.loaded(), task=TASKS[0])
    answer = rig.robot.call(SetTask, "set_task", SetTask.Request(task="feed the dgo"))
    assert not answer.success
    assert (
        "the checkpoint knows: 'feed the dog', 'water the cat'; did you mean 'feed the dog'" in answer.message
    )
    assert rig.robot.call(SetTask, "set_task", SetTask.Request(task=TASKS[1])).success
    (refused,) = node.set_parameters([Parameter("task", value="sing")])
    assert "the task is 'sing', expected one that the checkpoint knows" in refused.reason
    client = rig.robot.run_client
    assert client.wait_for_server(timeout_sec=20.0)
    for task in ("sing", TASKS[0]):
        sent = client.send_goal_async(RunPolicy.Goal(task=task, timeout_s=60.0))
        goal = wait_for(lambda sent=sent: sent.done() and sent.result(), "the goal's answer")
        if task == "sing":
            outcome = goal.get_result_async()
            result = wait_for(
                lambda outcome=outcome: outcome.done() and outcome.result(), "the refusal"
            ).result
            assert result.outcome == RunPolicy.Result.REFUSED
            assert "the task is 'sing', expected one that the checkpoint knows" in result.message
    assert node.runtime.task.text == TASKS[0]


def test_the_language_stream_sets_the_task_and_cannot_name_an_unknown_one(rig):
    node = rig.start(loaded=rig.policy.loaded(), task=TASKS[0], queue__request_fraction=1.0)
    rig.until_moving()
    wait_for(lambda: rig.robot.say("sing") or node.counters()["invalid_messages"], "the refusal")
    assert node.runtime.task.text == TASKS[0]
    wait_for(lambda: rig.robot.say(TASKS[1]) or newest(rig).task == TASKS[1], "the task at the policy")
    assert rig.state() is State.RUNNING


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"task": "sing"}, "the task is 'sing', expected one that the checkpoint knows: 'feed the dog'"),
        ({}, f"the task is {SENSING.task!r}, expected one that the checkpoint knows"),
    ],
)
def test_when_the_first_task_is_unknown_expect_configure_refused_with_those_known(rig, values, sentence):
    node = rig.start(active=False, loaded=rig.policy.loaded(), **values)
    node.trigger_configure()
    assert sentence in str(node.refusal)
    assert str(node.refusal).endswith("the parameter task says what the robot begins with")
    assert rig.state() is State.UNCONFIGURED


def test_previous_actions_are_the_commands_that_were_sent(rig):
    rig.start(loaded=rig.policy.loaded(), task=TASKS[0], queue__request_fraction=1.0)
    rig.until_moving()
    grid = TickGrid(SENSING.tick_hz)
    rig.policy.seen.clear()
    wait_for(lambda: len(rig.policy.seen) > 5, "observations while it moves")
    time.sleep(0.1)  # what was sent arrives
    due, first = np.unique([sent.due_ns - START for sent in rig.robot.commands], return_index=True)
    path = np.array([rig.robot.commands[index].position for index in first])
    velocity = np.array([rig.robot.commands[index].velocity for index in first])
    told = CubicHermiteSpline(
        due / 1e9, path, velocity
    )  # between two moments of it the curve is no straight line
    # Between two commands, at most two periods apart, the observation takes the straight line.
    chord = SENSING.max_acceleration.max() * (2.0 / SENSING.action.rate_hz) ** 2 / 8.0
    compared = 0
    for observation in rig.policy.seen:
        for index, key in enumerate(observation.keys):
            at = float(grid.time_ns(key - 1) - START)
            if at < due[0]:
                continue  # nothing was commanded yet
            compared += 1
            np.testing.assert_allclose(observation.inputs["actions"][0, index], told(at / 1e9), atol=chord)
    assert compared > 5
    assert np.abs(path[-1] - HOME).max() > 0.05
