# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy node and a robot that reports its own speed scaling."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from policy_rig import Robot, policy_rig, wait_for
from std_msgs.msg import Float64

from hpt_ros.control import State

TOPIC = "/speed_scaling_state_broadcaster/speed_scaling"


class Slid(Robot):  # type: ignore[misc]
    """Says at 50 Hz at how many per cent it moves, once it is commanded."""

    per_cent: float | None = None

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.speed = self.create_publisher(Float64, TOPIC, 10)
        self.create_timer(0.02, self._publish_speed)

    def _publish_speed(self) -> None:
        if self.per_cent is not None:
            self.speed.publish(Float64(data=self.per_cent))


@pytest.fixture
def rig():
    with policy_rig(Slid) as found:
        yield found


def speed(rig: Any) -> float:
    """Median of what was commanded in a second, rad/s."""
    before = len(rig.robot.commands)
    time.sleep(1.0)
    return float(np.median([np.abs(sent.velocity).max() for sent in rig.robot.commands[before:]]))


def test_when_the_slider_is_moved_expect_the_robot_told_so_much_slower_and_to_wait_at_zero(rig) -> None:
    node = rig.start(speed_scaling__topic=TOPIC, speed_scaling__trajectories=False, tracking__error=1.0)

    def waits(words: str) -> None:
        wait_for(lambda: node.state is State.WAITING and rig.robot.statuses, "WAITING")
        wait_for(lambda: "[speed_scaling]" in rig.robot.statuses[-1].fault, "the reason")
        assert words in rig.robot.statuses[-1].fault

    waits("was never heard")
    rig.robot.per_cent = 100.0
    rig.until(State.RUNNING)
    time.sleep(1.0)
    full = speed(rig)
    rig.robot.per_cent = 40.0
    time.sleep(1.0)
    assert node.state is State.RUNNING
    assert speed(rig) < 0.7 * full
    rig.robot.per_cent = 0.0
    waits("which is 0%")
    rig.robot.per_cent = 100.0
    rig.until(State.RUNNING)
    rig.check_limits()
