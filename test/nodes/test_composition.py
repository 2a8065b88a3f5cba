# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Nodes of one process: when they end, nothing of them stays on the graph."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import rclpy
from policy_rig import policy_rig, wait_for
from rclpy.node import Node


@pytest.fixture
def onlooker() -> Iterator[Node]:
    """A node of another DDS participant; the garbage collector rests, as it may at any time."""
    context = rclpy.Context()
    rclpy.init(context=context, args=[])
    node = rclpy.create_node("onlooker", context=context)
    gc.collect()
    gc.disable()
    yield node
    gc.enable()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def _endpoints(onlooker: Node) -> dict[str, int]:
    """Endpoints of all services, actions and topics that are the policy node's, by DDS topic."""
    found = {
        topic: len(onlooker.get_publishers_info_by_topic(topic, no_mangle=True))
        + len(onlooker.get_subscriptions_info_by_topic(topic, no_mangle=True))
        for topic, _ in onlooker.get_topic_names_and_types(no_demangle=True)
        if "/policy_node/" in topic
    }
    return {topic: count for topic, count in found.items() if count}


def test_when_a_composition_ends_expect_no_service_or_action_of_its_nodes_left_to_be_waited_for(onlooker):
    with policy_rig() as rig:
        rig.start(active=False)
        expected = ("change_stateRequest", "get_type_descriptionRequest", "send_goalRequest")
        wait_for(
            lambda: all(any(topic.endswith(end) for topic in _endpoints(onlooker)) for end in expected),
            "the node on the graph",
        )
    wait_for(lambda: not _endpoints(onlooker), "the node off the graph")
