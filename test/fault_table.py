# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Injects each fault into the real node while the robot moves, and writes what came of it into docs/safety.md.

``.venv/bin/python test/fault_table.py``

Node and robot talk over the middleware, with the node's default parameters. Times are of the machine that this runs
on; they are measured, not asserted (test/nodes/test_faults.py asserts what must hold on every machine).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import process_faults
from cable import Cable, CableError
from far_sides import Side
from policy_rig import COMMANDS, HOME, NS, PERIOD_S, ROBOT, Rig, nan_checkpoint, policy_rig, wait_for
from rclpy.node import Node
from rclpy.parameter import Parameter
from second_publishers import SecondStates, SimulatedClock
from support.document import rewrite, table
from support.domain import own_domain
from support.told import Sent, peaks
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.control import State

HEADS = (
    "fault, while moving", "brakes after, s", "still after, s", "commands until then",
    "most of a limit used: position / velocity / acceleration", "why it stands (latched until cleared)",
)  # fmt: skip
TWICE = [*ROBOT.action.names[:-1], ROBOT.action.names[0]]
# Where a failing policy is to be noticed at once, it is asked at every tick.
EAGER: dict[str, Any] = {"queue__request_fraction": 1.0, "safety__max_refused": 3}


@dataclass(frozen=True)
class Fault:
    """What is done to the rig while it moves, and with which parameters the node runs."""

    name: str
    inject: Callable[[Rig], object]
    values: dict[str, Any] = field(default_factory=dict)


def _set(who: str, **values: Any) -> Callable[[Rig], None]:
    def inject(rig: Rig) -> None:
        for name, value in values.items():
            setattr(getattr(rig, who), name, value)

    return inject


def _hang_decoding(rig: Rig) -> None:
    assert rig.node is not None
    assert rig.node.runtime is not None
    never, observations = threading.Event(), rig.node.runtime.observations
    observations._decode = lambda *_: never.wait(20.0)


def _raise_in_node(rig: Rig) -> None:
    assert rig.node is not None
    assert rig.node.runtime is not None
    rig.node.runtime.observations.window.push = None


def _second_commander(rig: Rig) -> None:
    other = rig.composition.add(Node("other", context=rig.composition.context))
    other.create_publisher(JointTrajectory, COMMANDS, 10)


def _controller_ends(rig: Rig) -> None:
    # A recorder goes on listening, which moves nothing; so the table has what was sent.
    recorder = rig.composition.add(Node("recorder_node", context=rig.composition.context))
    gone = threading.Event()
    recorder.create_subscription(
        JointTrajectory,
        COMMANDS,
        lambda message: rig.robot._on_command(message) if gone.is_set() else None,
        1000,
    )
    time.sleep(0.3)
    gone.set()
    rig.robot.destroy_subscription(rig.robot.controller)


def _second_states(rig: Rig) -> None:
    rig.composition.add(SecondStates(rig.composition.context, HOME + 1.0))


FAULTS = (
    Fault("a camera dies", _set("robot", camera_on=False)),
    Fault("a camera repeats its picture", _set("robot", same_picture=True)),
    Fault("joint states stop", _set("robot", joints_on=False)),
    Fault("joint states are NaN", _set("robot", spoil=True)),
    Fault(
        "a joint is twice in every joint state",
        _set("robot", names=[*ROBOT.action.names[:-1], ROBOT.action.names[0]]),
    ),
    Fault("a second node publishes other joint states", _second_states),
    Fault("pictures of an unknown encoding", _set("robot", encoding="8UC9")),
    Fault("the robot's clock jumps back 30 s", _set("robot", clock_off_s=-30.0)),
    Fault("the robot's clock jumps ahead 30 s", _set("robot", clock_off_s=30.0)),
    Fault("the policy raises", _set("policy", raises=True), EAGER),
    Fault("the policy hangs", lambda rig: rig.policy.released.clear()),
    Fault("the policy gives NaN", _set("policy", value=float("nan")), EAGER),
    Fault("the policy gives a wrong size", _set("policy", shape=(16, 6)), EAGER),
    Fault("decoding hangs", _hang_decoding),
    Fault("the node's own code raises", _raise_in_node),
    Fault("the robot is blocked", _set("robot", follows=False)),
    Fault("somebody else commands it too", _second_commander),
    Fault("its controller ends", _controller_ends),
    Fault("an operator stops it", lambda rig: rig.node and rig.node.stop("an operator stopped it")),
)


def used(sent: list[Sent]) -> str:
    """The largest parts of the limits that commands used: of position, velocity and acceleration."""
    path = np.array([command.position for command in sent])
    middle, half = (ROBOT.upper + ROBOT.lower) / 2, (ROBOT.upper - ROBOT.lower) / 2
    velocity, acceleration = peaks(sent, PERIOD_S)
    parts = (
        np.abs(path - middle) / half, velocity / ROBOT.max_velocity, acceleration / ROBOT.max_acceleration
    )  # fmt: skip
    return " / ".join(f"{part.max():.0%}" for part in parts)


def line(name: str, sent: list[Sent], injected_ns: int, reason: str) -> str:
    """A line of the table about a fault that stopped the robot."""
    still = next(k for k, c in enumerate(sent) if c.due_ns > injected_ns and not c.velocity.any())
    braked = still
    while braked and np.abs(sent[braked - 1].velocity).max() > np.abs(sent[braked].velocity).max():
        braked -= 1
    noticed_s, still_s = ((sent[at].due_ns - injected_ns) / NS for at in (braked, still))
    count = sum(injected_ns < c.due_ns <= sent[still].due_ns for c in sent)
    return f"| {name} | {noticed_s:.2f} | {still_s:.2f} | {count} | {used(sent)} | {_short(reason)} |"


def row(fault: Fault) -> str:
    """The line of a fault in one process; the robot lags behind its commands."""
    with policy_rig() as rig:
        node = rig.start(**fault.values)
        rig.until_moving()
        injected_ns = node.now_ns
        fault.inject(rig)
        rig.until(State.FAULT)
        wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
        time.sleep(0.2)
        sent = list(rig.robot.commands)
        rig.check_limits(sent)
        assert node.runtime is not None
        reason = str(node.runtime.controller.latched)
        rig.policy.released.set()
    return line(fault.name, sent, injected_ns, reason)


def slow_subscriber() -> str:
    """The line of somebody who takes 0.2 s for each command."""
    with policy_rig() as rig:
        slow = rig.composition.add(Node("slow", context=rig.composition.context))
        slow.create_subscription(JointTrajectory, ROBOT.action.topic, lambda _: time.sleep(0.2), 10)
        node = rig.start()
        rig.until_moving()
        time.sleep(1.5)
        sent = list(rig.robot.commands)
        rig.check_limits(sent)
        given = node.counters()["commands_sent"]
        assert node.state is State.RUNNING
    words = f"it does not stop: the robot got {len(sent)} of {given} commands sent meanwhile"
    return f"| a subscriber of the commands is slow | - | - | {len(sent)} | {used(sent)} | {words} |"


def two_clocks() -> str:
    """The line of two nodes that publish simulated time, between which no command's due time says how long it took."""
    with policy_rig() as rig:
        rig.robot.set_parameters([Parameter("use_sim_time", value=True)])
        rig.composition.add(SimulatedClock(rig.composition.context))
        node = rig.start(use_sim_time=True)
        rig.until_moving()
        rig.composition.add(SimulatedClock(rig.composition.context, "bag_replay"))
        rig.until(State.FAULT)
        wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
        assert node.runtime is not None
        reason = str(node.runtime.controller.latched)
    return f"| two nodes publish /clock | - | - | - | - | {_short(reason)} |"


def nan_weights() -> str:
    """The line of a checkpoint whose weights are NaN: there is no motion that could be stopped."""
    with policy_rig() as rig, TemporaryDirectory() as folder:
        node = rig.start(loaded=nan_checkpoint(Path(folder)), safety__max_refused=3)
        rig.until(State.FAULT)
        assert rig.robot.commands == []
        assert node.runtime is not None
        reason = str(node.runtime.controller.latched)
    return f"| weights are NaN | - | - | 0 | nothing is sent | {_short(reason)} |"


def cut_link() -> str:
    """The line of a policy on another machine when the cable between is pulled out."""
    name = "the link to the policy's machine is cut"
    try:
        with Cable() as cable:
            policy, robot = Side(cable.ends[1], "policy"), Side(cable.ends[0], "robot")
            robot.until(
                lambda now: now["state"] == "RUNNING" and now["moving"] and now["commands"] > 30, "motion"
            )
            cable.pulled = True
            injected_ns = robot.ask()["now_ns"]
            fault = robot.until(lambda now: now["state"] == "FAULT" and now["still"], "a fault")
            sent = [Sent(c[0], c[1], np.array(c[2]), np.array(c[3])) for c in robot.ask("path")["path"]]
            for side in (robot, policy):
                side.end()
    except CableError as error:
        return f"| {name} | - | - | - | - | not measured: {_short(str(error))} |"
    return line(name, sent, injected_ns, fault["latched"])


def _short(reason: str) -> str:
    first = reason.replace("|", "/").splitlines()[0]
    return first if len(first) < 200 else first[:197] + "..."


def rows() -> Iterator[str]:
    """All lines, one fault after the other."""
    yield from map(row, FAULTS)
    for special in (cut_link, two_clocks, nan_weights, slow_subscriber, *process_faults.rows(used)):
        yield special()


def main() -> int:
    """Run all and rewrite the table."""
    own_domain()
    rewrite("faults", "test/fault_table.py", table(HEADS, rows()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
