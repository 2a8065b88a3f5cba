# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The clocks of a real node, read by a process that the machine makes wait."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from rclpy.node import Node

from hpt_ros.nodes.common.clocks import TRIES, NodeClock
from hpt_ros.nodes.common.composition import Composition


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
    assert jumps == [""] * 20
