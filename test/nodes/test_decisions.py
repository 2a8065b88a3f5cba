# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The log of decisions: everything that was sent and why, in a bag that any reader opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from policy_rig import COMMANDS, PERIOD_S, Rig, policy_rig, wait_for
from support.told import told

from hpt_ros.control import State
from rosbag_tools.reading.reader import Bag


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def decided(folder: Path) -> list[str]:
    with Bag.open(folder) as bag:
        return [message.content.msg for message in bag.messages(["/policy_node/decisions"])]


def test_each_activation_has_a_bag_of_all_commands_chunks_and_reasons(rig, tmp_path):
    rig.start(log_decisions=str(tmp_path / "logs"), watchdog__timeout_s=1.5)
    rig.until_moving()
    rig.policy.shape = (16, 6)
    rig.until(State.FAULT)
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    (first,) = (tmp_path / "logs").iterdir()
    words = decided(first)
    assert words[0] == "INACTIVE -> WAITING"
    assert "WAITING -> RUNNING" in words
    assert any(entry.endswith("was taken") for entry in words)
    assert any("was refused: a chunk's shape is (16, 6)" in entry for entry in words)
    assert "wrong_size_refused: 1" in words
    assert any(" -> FAULT: 10 failures of the policy in a row" in entry for entry in words)
    with Bag.open(first) as bag:
        commands = [message.content for message in bag.messages([COMMANDS])]
        chunks = [message.content for message in bag.messages(["/policy_node/chunk"])]
        assert bag.custom["hpt_ros_dropped"] == "0"
    wait_for(lambda: len(rig.robot.commands) == len(commands), "all commands at the robot")
    for sent, command in zip(rig.robot.commands, commands, strict=True):
        logged = told(command, PERIOD_S)
        assert logged.stamp_ns == sent.stamp_ns
        np.testing.assert_array_equal(logged.position, sent.position)
    assert {chunk.dim for chunk in chunks} == {6, 7}
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    assert len(list((tmp_path / "logs").iterdir())) == 2


def test_when_the_folder_cannot_be_made_expect_activation_refused_with_a_sentence(rig, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    node = rig.start(active=False, log_decisions=str(tmp_path / "file" / "logs"))
    assert rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert not rig.robot.change(Transition.TRANSITION_ACTIVATE)
    assert "the parameter log_decisions names the folder" in str(node.refusal)
    assert "which cannot be made" in str(node.refusal)
    assert rig.state() is State.INACTIVE
    assert rig.robot.commands == []
