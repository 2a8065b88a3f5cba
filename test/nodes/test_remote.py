# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy in another process of the graph: what crosses, what is refused, and what a failing one does to the robot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from lifecycle_msgs.msg import Transition
from policy_rig import FILE, ROBOT, Ramp, Rig, policy_rig, wait_for
from std_msgs.msg import String, UInt8MultiArray

from hpt_ros.control import State
from hpt_ros.errors import HptError
from hpt_ros.nodes.inference import remote
from hpt_ros.nodes.inference.inference_node import InferenceNode
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.serialization import pack, unpack

REMOTE: dict[str, Any] = {"load": False, "policy": "remote", "embodiment": FILE}


class Counting(Ramp):  # type: ignore[misc]
    """A ramp that counts its episodes."""

    resets = 0

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        made.policy = Counting()
        yield made
        made.policy.released.set()


def offer(rig: Rig, robot: Any = ROBOT, **facts: Any) -> InferenceNode:
    loaded = LoadedPolicy(rig.policy, robot, facts.pop("checkpoint", ""), robot.observation_horizon, **facts)
    node: InferenceNode = rig.composition.add(
        InferenceNode(load=lambda: loaded, context=rig.composition.context)
    )
    return node


_arrays = st.sampled_from([np.uint8, np.float32, np.float64, np.int64, np.uint16, np.bool_]).flatmap(
    lambda kind: arrays(kind, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)
_facts = st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers()), max_size=3)


@given(st.dictionaries(st.text(min_size=1, max_size=8), _arrays, max_size=3), _facts, st.lists(st.text()))
def test_what_is_packed_comes_out_again_bit_for_bit(values, facts, texts):
    told, learned = unpack(pack({**values, "a task": np.array(texts, dtype=np.str_)}, facts))
    assert learned == facts
    # NumPy strips trailing NULs of its texts, before and after alike.
    assert told.pop("a task").tolist() == np.array(texts, dtype=np.str_).tolist()
    values.pop("a task", None)
    assert told.keys() == values.keys()
    for name, value in values.items():
        assert told[name].dtype == value.dtype
        np.testing.assert_array_equal(told[name], value)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: pack({}, {})[:-3] + tail))
def test_whatever_the_bytes_expect_arrays_or_one_sentence(data):
    try:
        unpack(data)
    except HptError as error:
        assert "bytes is none of hpt_ros's" in str(error)


def test_a_remote_policy_sees_what_a_local_one_would_and_moves_the_robot(rig):
    offer(rig, checkpoint="runs/7", tasks=("feed the dog", "rest"))
    node = rig.start(**REMOTE, task="rest")
    rig.until_moving()
    rig.check_limits()
    seen = rig.policy.seen[-1]
    assert seen.inputs["image"].shape == (1, ROBOT.observation_horizon, 2, 96, 128, 3)
    assert seen.inputs["image"].dtype == np.uint8
    assert seen.inputs["state"].shape == (1, ROBOT.observation_horizon, 7)
    assert seen.task == "rest"
    assert len(seen.keys) == ROBOT.observation_horizon
    assert node.runtime.loaded.checkpoint == "runs/7 on /inference_node"
    assert "sing" in str(node.runtime.task.refusal("sing"))
    before = rig.policy.resets
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    rig.until(State.RUNNING)
    assert rig.policy.resets == before + 1


def test_when_the_remote_policy_raises_expect_its_words_and_a_fault_and_motion_when_cleared(rig):
    offer(rig)
    node = rig.start(**REMOTE, queue__request_fraction=1.0, safety__max_refused=3, watchdog__timeout_s=1.5)
    rig.until_moving()
    rig.policy.raises = True
    rig.until(State.FAULT)
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    rig.check_limits()
    assert "its policy raised RuntimeError: out of cheese" in str(node.runtime.controller.latched)
    rig.policy.raises = False
    assert node.clear_fault()[0]
    rig.until_moving()


def test_when_no_answer_comes_expect_rest_within_limits_and_a_late_answer_unused(rig):
    offer(rig)
    node = rig.start(**REMOTE, remote__timeout_s=0.2, watchdog__timeout_s=1.5)
    rig.until_moving()
    rig.policy.released.clear()
    rig.until(State.FAULT)
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    rig.check_limits()
    assert node.counters()["inference_errors"] > 0
    sent = len(rig.robot.commands)
    rig.policy.released.set()
    time.sleep(0.3)
    assert (rig.state(), len(rig.robot.commands)) == (State.FAULT, sent)
    assert node.clear_fault()[0]
    rig.until_moving()


def test_when_messages_are_garbled_expect_failed_inferences_and_nothing_commanded(rig):
    node = rig.robot
    liar = node.create_publisher(String, "/inference_node/card", remote.KEPT)
    liar.publish(remote.PolicyInfo(ROBOT.to_yaml(), "", ROBOT.observation_horizon, [], []).to_message())
    answers = node.create_publisher(UInt8MultiArray, "/inference_node/answer", remote.NEWEST)
    node.create_timer(0.02, lambda: answers.publish(UInt8MultiArray(data=b"\x07" * 50)))
    started = rig.start(**REMOTE, safety__max_refused=3)
    rig.until(State.FAULT)
    assert "a message of 50 bytes is none of hpt_ros's" in str(started.runtime.controller.latched)
    assert rig.robot.commands == []


def test_when_there_is_no_inference_node_expect_configure_refused_with_the_remedy(rig, monkeypatch):
    monkeypatch.setattr(remote, "CARD_TIMEOUT_S", 0.2)
    node = rig.start(active=False, **REMOTE, remote__node="/gpu/inference")
    assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert "is '/gpu/inference', but no inference node of that name was found within 0.2 s" in str(
        node.refusal
    )


@pytest.mark.parametrize("data", ["[]", "{}", '{"embodiment": 1}', "no JSON"])
def test_when_a_card_cannot_be_read_expect_a_sentence(data):
    with pytest.raises(HptError, match="/it says of itself what this version of hpt_ros cannot read"):
        remote.PolicyInfo.of_message(String(data=data), "/it")


def test_when_the_inference_node_is_for_another_robot_expect_the_field_and_both_values(rig):
    offer(rig, replace(ROBOT, tick_hz=20.0))
    node = rig.start(active=False, **REMOTE)
    assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert "inference node '/inference_node'" in str(node.refusal)
    assert "tick_hz" in str(node.refusal)
    assert "20" in str(node.refusal)


def test_when_the_robots_side_has_no_embodiment_file_expect_configure_refused(rig):
    node = rig.start(active=False, load=False, policy="remote")
    assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert "the parameter embodiment is empty, but policy is 'remote'" in str(node.refusal)


def test_when_the_inference_node_starts_later_expect_waiting_and_then_the_robots_side_ready() -> None:
    environment = os.environ | {"RCUTILS_LOGGING_USE_STDOUT": "1", "PYTHONUNBUFFERED": "1"}

    def started(module: str, **values: str) -> subprocess.Popen[str]:
        settings = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        return subprocess.Popen(
            [sys.executable, "-m", f"hpt_ros.nodes.{module}", "--ros-args", *settings],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def until(process: subprocess.Popen[str], words: str) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if words in line:
                return
        pytest.fail(f"{words!r} was never said")

    with started("policy.policy_node", policy="remote", embodiment="feed_dog", autostart="true") as robot:
        try:
            until(robot, "no inference node of that name was found")
            until(robot, "waits for it, and tries again")
            with started("inference.inference_node", policy="hold", embodiment="feed_dog") as policy:
                try:
                    until(robot, "configured for feed_dog")
                finally:
                    policy.send_signal(signal.SIGINT)
        finally:
            robot.send_signal(signal.SIGINT)
    assert (robot.returncode, policy.returncode) == (0, 0)
