# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The clocks of a real node, read by a process that the machine makes wait."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from policy_rig import wait_for
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from support.refused import assert_refusal

from hpt_ros.control.refusals import Why
from hpt_ros.nodes.common.clocks import TRIES, NodeClock
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.common.conversions import to_time


@pytest.fixture
def clock() -> Iterator[NodeClock]:
    with Composition() as composition:
        yield NodeClock(composition.add(Node("clock", context=composition.context)))


@pytest.mark.parametrize("waits", [1, TRIES, 10 * TRIES])
def test_when_the_process_waits_between_two_clocks_expect_no_sleep_of_the_machine(
    clock: NodeClock, monkeypatch: pytest.MonkeyPatch, waits: int
) -> None:
    clock.now()
    read, left = time.clock_gettime_ns, [waits]

    def interrupted(which: int) -> int:
        if which == time.CLOCK_BOOTTIME and left[0]:
            left[0] -= 1
            time.sleep(0.005)
        return read(which)

    monkeypatch.setattr(time, "clock_gettime_ns", interrupted)
    jumps = [clock.now().jump for _ in range(20)]
    assert not left[0]
    assert jumps == [None] * 20


def test_when_simulated_time_goes_back_and_forward_between_two_readings_expect_a_jump_once() -> None:
    # Two nodes publish /clock at the same rate, and each reading happens to come after the same one's message.
    with Composition() as composition:
        node = composition.add(
            Node(
                "clock",
                context=composition.context,
                parameter_overrides=[Parameter("use_sim_time", value=True)],
            )
        )
        simulation = composition.add(Node("simulation", context=composition.context))
        publisher, clock = simulation.create_publisher(Clock, "/clock", 10), NodeClock(node)

        def show(ns: int) -> None:
            def shown() -> bool:
                publisher.publish(Clock(clock=to_time(ns)))
                return bool(node.get_clock().now().nanoseconds == ns)

            wait_for(shown, f"{ns} ns on the node's clock")

        show(100_000_000_000)
        clock.now()
        show(99_000_000_000)
        show(100_010_000_000)
        instant = clock.now()
        assert_refusal(instant.jump, Why.WENT_BACK, value=-1.0, problem="and forward again")
        assert instant.ros_ns == 100_010_000_000
        assert clock.now().jump is None
