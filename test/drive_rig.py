# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real policy node over real DDS with any robot's node: bases, jogged joints, grippers by actions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from policy_rig import wait_for
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter

from hpt_ros.embodiment import Embodiment
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.policies.loading import LoadedPolicy


class Changing(Node):
    """A node that changes the policy node's lifecycle state."""

    def __init__(self, name: str, context: Any) -> None:
        super().__init__(name, context=context)
        self._change = self.create_client(ChangeState, "/policy_node/change_state")

    def change(self, transition: int) -> bool:
        assert self._change.wait_for_service(timeout_sec=20.0)
        done = threading.Event()
        future = self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))
        future.add_done_callback(lambda _: done.set())
        assert done.wait(20.0)
        return bool(future.result().success)

    def deactivate(self) -> bool:
        return self.change(Transition.TRANSITION_DEACTIVATE)

    def activate(self) -> bool:
        return self.change(Transition.TRANSITION_ACTIVATE)


def sent_by_another(rival: Any, action: Any, name: str, goal: Any) -> None:
    """Send a goal as a node beside ours does; it is accepted."""
    client: Any = ActionClient(rival, action, name)
    assert client.wait_for_server(timeout_sec=20.0)
    future = client.send_goal_async(goal)
    wait_for(future.done, "the answer to another's goal")
    assert future.result().accepted


Machine = TypeVar("Machine", bound=Changing)
# All nodes share this process, and maybe the machine with others: what is late is no matter of these tests.
PATIENT = {"safety__hold_timeout_s": 10.0, "tracking__duration_s": 5.0, "watchdog__timeout_s": 1.5}


@contextmanager
def active(
    make: Callable[[Any], Machine], robot: Embodiment, policy: Any, **values: Any
) -> Iterator[tuple[Machine, PolicyNode]]:
    """A robot's node and an active policy node."""
    overrides = [
        Parameter(name.replace("__", "."), value=value) for name, value in {**PATIENT, **values}.items()
    ]
    with Composition() as composition:
        machine = composition.add(make(composition.context))
        node = PolicyNode(
            load=lambda: LoadedPolicy(policy, robot, "", 1),
            context=composition.context, parameter_overrides=overrides,
        )  # fmt: skip
        composition.add(node)
        assert machine.change(Transition.TRANSITION_CONFIGURE), node.refusal
        assert machine.activate(), node.refusal
        yield machine, node
