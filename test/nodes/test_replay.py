# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag replayed over the middleware into the node: its policy sees the arrays that the converter writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from policy_rig import wait_for
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from recorded import RECORDED, Watching, converted, require_inputs, write_bag
from rosgraph_msgs.msg import Clock
from sensing_rig import KINDS, SENSING

from hpt_ros.control import State
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.common.conversions import to_time
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.observation import TickGrid
from hpt_ros.policies.loading import LoadedPolicy
from rosbag_tools.reading.reader import Bag
from rosbag_tools.recording.definitions import load_installed_types

OPTIONAL = frozenset({"tactile"})


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bag") / "all")


def soon(condition: Callable[[], Any], what: str) -> None:
    """As wait_for, for what takes less than a millisecond."""
    for _ in range(50):
        if condition():
            return
        time.sleep(0.0003)
    wait_for(condition, what)


class Player(Node):
    """Publishes a bag's messages as rclpy's, each once the clock of the node stands at its log time."""

    def __init__(self, context: Any) -> None:
        super().__init__("player", context=context)
        self.clock = self.create_publisher(Clock, "/clock", 10)
        self.topics = {
            stream.topic: self.create_publisher(KINDS[stream.type], stream.topic, 10)
            for stream in RECORDED.streams
        }

    def play(self, bag: Path, node: PolicyNode, policy: Watching) -> None:
        store = load_installed_types(KINDS)
        kinds = {stream.topic: stream.type for stream in RECORDED.streams}
        with Bag.open(bag) as opened:
            messages = list(opened.messages([*self.topics]))
        for number, message in enumerate(messages):
            self.clock.publish(Clock(clock=to_time(message.log_ns)))
            soon(partial(self._stands, node, message.log_ns), "the clock")
            if number == 0:
                node.trigger_activate()
            type_ = kinds[message.topic]
            data = bytes(store.serialize_cdr(message.content, type_))
            self.topics[message.topic].publish(deserialize_message(data, KINDS[type_]))
            soon(partial(self._heard, node, number + 1), "the message")
            assert node.runtime is not None
            assert node.runtime.observations.flush()
            soon(lambda: node.runtime is not None and node.runtime.worker.busy_s() == 0.0, "the policy")

    @staticmethod
    def _stands(node: PolicyNode, time_ns: int) -> bool:
        return node.now_ns == time_ns

    @staticmethod
    def _heard(node: PolicyNode, count: int) -> bool:
        return node.metrics()["message_s"].size == count


def test_a_bag_replayed_over_the_middleware_gives_the_policy_the_converters_arrays(bag):
    policy = Watching()
    loaded = LoadedPolicy(policy, SENSING, "", SENSING.observation_horizon, OPTIONAL)
    with Composition() as composition:
        player = composition.add(Player(composition.context))
        node = composition.add(
            PolicyNode(
                load=lambda: loaded,
                context=composition.context,
                parameter_overrides=[Parameter("use_sim_time", value=True)],
            )
        )
        node.trigger_configure()
        publishers = (player.clock, *player.topics.values())
        wait_for(
            lambda: all(item.get_subscription_count() for item in publishers), "the node's subscriptions"
        )
        player.play(bag, node, policy)
        assert node.state is State.WAITING
        assert node.counters()["invalid_messages"] == 0
    rows = converted(bag, OPTIONAL)
    grid = TickGrid(SENSING.tick_hz)
    assert len(policy.seen) > 10
    for stamp_ns, observation in policy.seen.items():
        assert grid.time_ns(observation.keys[-1]) == stamp_ns
        ticks = [rows[grid.time_ns(key)].tick for key in observation.keys]
        inputs = observation.inputs
        require_inputs(inputs, ticks)
        assert inputs["task"].tolist() == [ticks[-1].task]
    assert {"tactile" in observation.inputs for observation in policy.seen.values()} == {True, False}
