# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy on another machine: two network namespaces, and a cable that is slow, loses packets and is pulled out."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from cable import Cable, CableError
from far_sides import Side
from policy_rig import PERIOD_S, ROBOT


@pytest.fixture
def cable() -> Iterator[Cable]:
    made = Cable()
    try:
        made.__enter__()
    except (CableError, OSError) as error:
        pytest.skip(f"no network namespaces with TAP devices may be made here: {error}")
    try:
        yield made
    finally:
        made.__exit__(None, None, None)


@pytest.fixture
def robot(cable: Cable) -> Iterator[Side]:
    policy, robot = Side(cable.ends[1], "policy"), Side(cable.ends[0], "robot")
    yield robot
    robot.end()
    policy.end()


def test_when_the_link_is_slow_lossy_and_then_cut_expect_rest_within_limits_until_cleared(cable, robot):
    # Every answer of the robot's side checks that all commands so far are within the limits.
    moving = lambda now: now["state"] == "RUNNING" and now["moving"]  # noqa: E731
    robot.until(moving, "motion", clearing=True)
    assert cable.carried > 0

    cable.delay_s = 0.05
    slow = robot.until(lambda now: now["inference_s"] > 0.1, "an inference there and back", clearing=True)
    before = slow["counters"]["chunks"]
    robot.until(
        lambda now: now["counters"]["chunks"] > before + 2 and moving(now), "motion over a slow link", clearing=True
    )  # fmt: skip
    cable.delay_s = 0.0

    cable.loss = 0.05
    before = robot.ask()["counters"]["chunks"]
    robot.until(lambda now: now["counters"]["chunks"] > before + 2, "chunks over a lossy link", clearing=True)
    assert cable.lost > 0
    cable.loss = 0.0
    running = robot.until(moving, "motion again", clearing=True)

    cable.pulled = True
    cut_ns = robot.ask()["now_ns"]
    fault = robot.until(lambda now: now["state"] == "FAULT" and now["still"], "a fault")
    assert (
        "the chunk is used up and no new one has come; the last failure of the policy: the inference node "
        "'/inference_node' did not answer within 0.5 s (" in fault["latched"]
    )
    assert fault["last_moving_ns"] > cut_ns > running["now_ns"]
    # What it had of the policy when the link went, and the brake: no more.
    assert fault["only_braked_after_chunk"]
    braking_s = (ROBOT.max_velocity / ROBOT.max_acceleration).max()
    assert fault["commands_after_chunk"] <= 2 + braking_s / PERIOD_S
    assert fault["counters"]["exhausted_stops"] > running["counters"]["exhausted_stops"]
    sent = fault["commands"]

    cable.pulled = False
    failed = fault["counters"]["inference_errors"]
    time.sleep(1.0)  # the link is there again, and nobody has cleared the fault
    later = robot.ask()
    assert (later["state"], later["commands"]) == ("FAULT", sent)
    assert failed > 0
    robot.ask("clear")
    robot.until(lambda now: now["commands"] > sent and moving(now), "motion once cleared", clearing=True)
