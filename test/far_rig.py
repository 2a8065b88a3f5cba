# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The two sides of test_two_machines, a process each: ``far_rig.py robot`` and ``far_rig.py policy``.

The robot's side is the robot of policy_rig with the policy node. It reads one word a line, does it, and answers with a
line of JSON about how things stand; it ends with its standard input.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import numpy as np
from policy_rig import FILE, NS, ROBOT, Ramp, Rig, policy_rig

from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.inference.inference_node import InferenceNode
from hpt_ros.policies.loading import LoadedPolicy


def stamp_ns(time: Any) -> int:
    """Nanoseconds of builtin_interfaces/Time."""
    return int(time.sec) * NS + int(time.nanosec)


def report(rig: Rig) -> dict[str, Any]:
    """How the robot stands; raises if a command was ever beyond a limit."""
    sent = list(rig.robot.commands)
    if sent:
        rig.check_limits(sent)
    assert rig.node is not None
    runtime = rig.node.runtime
    assert runtime is not None
    chunk = rig.robot.chunks[-1] if rig.robot.chunks else None
    end_ns = (
        0 if chunk is None else stamp_ns(chunk.observation_stamp) + round(ROBOT.dt_s * chunk.horizon * NS)
    )
    after = [np.abs(command.velocity) for command in sent if command.due_ns > end_ns]
    return {
        "only_braked_after_chunk": all((now <= then + 1e-9).all() for then, now in itertools.pairwise(after)),
        "commands_after_chunk": sum(bool(velocity.any()) for velocity in after),
        "state": rig.node.state.name,
        "latched": str(runtime.controller.latched or ""),
        "now_ns": rig.node.now_ns,
        "moving": bool(sent and np.abs(sent[-1].velocity).max() > 0.0 and rig.node.state.name != "FAULT"),
        "commands": len(sent),
        "last_moving_ns": max((c.stamp_ns for c in sent if np.abs(c.velocity).max() > 0.0), default=0),
        "still": bool(sent and not sent[-1].velocity.any()),
        "counters": rig.node.counters(),
        "inference_s": runtime.metrics.newest("inference_s"),
    }


def robot_side() -> None:
    """The robot, and its policy node with a remote policy."""
    with policy_rig() as rig:
        # A busy machine may hold any thread for a while; it is the link that is to stop the robot.
        node = rig.start(active=False, load=False, policy="remote", embodiment=FILE, watchdog__timeout_s=5.0)
        node.trigger_configure()
        node.trigger_activate()
        for line in sys.stdin:
            if line.strip() == "clear":
                node.clear_fault()
            said = report(rig) if node.runtime else {"refusal": node.refusal}
            if line.strip() == "path":
                said["path"] = [
                    (c.stamp_ns, c.due_ns, c.position.tolist(), c.velocity.tolist())
                    for c in list(rig.robot.commands)
                ]
            print(json.dumps(said), flush=True)


def policy_side() -> None:
    """An inference node whose policy moves every joint there and back."""
    policy = Swing()
    with Composition() as composition:
        loaded = LoadedPolicy(policy, ROBOT, "", ROBOT.observation_horizon)
        composition.add(InferenceNode(load=lambda: loaded, context=composition.context))
        sys.stdin.read()


class Swing(Ramp):  # type: ignore[misc]
    """Turns round after every chunk that led away from the middle, so that it never arrives at a limit."""

    def predict(self, observation: Any) -> np.ndarray:
        self.seen.clear()
        pose = observation.inputs["state"][0, -1]
        if np.abs(pose - (ROBOT.lower + ROBOT.upper) / 2).max() > 0.25:
            away = float(np.sign((pose - (ROBOT.lower + ROBOT.upper) / 2).sum()))
            self.rad_s = -away * 0.4
        return np.asarray(super().predict(observation))


if __name__ == "__main__":
    {"robot": robot_side, "policy": policy_side}[sys.argv[1]]()
