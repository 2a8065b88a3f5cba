# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who else sends goals to an action that a policy node commands.

Clients alone are no rivals: MoveIt keeps one for every controller and sends nothing. The server's status topic shows
each goal that it accepted by its id, and ids of ours begin as this node's do.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import qos_profile_action_status_default
from unique_identifier_msgs.msg import UUID

from hpt_ros.nodes.common.parameter_files import matches
from hpt_ros.observation.stamps import time_ns

# A goal of another counts for this long after it came, ours: longer than the time between two looks.
RECENT_S = 1.0
# How often the graph is asked whose the goals are, while there are some: a call for each node.
LOOK_S = 0.2
_ACTIVE = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING)
_PROCESS = os.urandom(16)


class GoalRivals:
    """Looks at one action; called on the thread of the node's executor and in its control loop."""

    def __init__(self, node: Node, action: str, permitted: Sequence[str], *, lasting: bool) -> None:
        """Listen.

        Args:
            node: whose goals are ours.
            action: full name.
            permitted: full names of nodes that may send goals too, or patterns.
            lasting: a goal of another counts as long as it is carried out; else only when it comes, because a gripper's
                may be carried out for as long as it holds an object.
        """
        self._node, self._action, self._permitted, self._lasting = node, action, tuple(permitted), lasting
        own = node.get_fully_qualified_name().encode()
        self._prefix = hashlib.sha256(_PROCESS + own).digest()[:8]
        self._since_ns = node.get_clock().now().nanoseconds
        self._seen: frozenset[bytes] | None = None
        self._came_s, self._active = -np.inf, False
        self._looked_s, self._looks = -np.inf, 0
        self._names: tuple[str, ...] = ()
        self._subscription = node.create_subscription(
            GoalStatusArray, f"{action}/_action/status", self._on_status, qos_profile_action_status_default
        )

    def new_id(self) -> Any:
        """An id for a goal of ours."""
        return UUID(uuid=np.frombuffer(self._prefix + os.urandom(8), dtype=np.uint8))

    def names(self) -> tuple[str, ...]:
        """Who else's goals the robot follows now, as text; empty: nobody's who is not permitted."""
        now_s = time.monotonic()
        if not self._active and now_s - self._came_s > RECENT_S:
            self._looks, self._names = 0, ()
            return ()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s, self._looks = now_s, self._looks + 1
            clients = self._clients()
            strangers = [
                name for name in clients if not any(matches(allowed, name) for allowed in self._permitted)
            ]
            if strangers or clients:
                self._names = tuple(f"node {name}" for name in strangers)
            else:  # a node may be discovered after its goal
                self._names = ("a node without a name",) if self._looks > 1 else ()
        return self._names

    def close(self) -> None:
        """Listen no more."""
        self._node.destroy_subscription(self._subscription)

    def _on_status(self, message: Any) -> None:
        others = {
            bytes(status.goal_info.goal_id.uuid): status
            for status in message.status_list
            if bytes(status.goal_info.goal_id.uuid)[: len(self._prefix)] != self._prefix
        }
        # What the server says first may be what became of goals of long ago.
        before = self._seen
        if before is None:
            stamps = {goal: time_ns(status.goal_info.stamp) for goal, status in others.items()}
            before = frozenset(goal for goal, stamp_ns in stamps.items() if stamp_ns < self._since_ns)
        if others.keys() - before:
            self._came_s = time.monotonic()
        self._seen = frozenset(others)
        self._active = self._lasting and any(status.status in _ACTIVE for status in others.values())

    def _clients(self) -> list[str]:
        """Full names of other nodes that can send it goals."""
        service, own, found = f"{self._action}/_action/send_goal", self._node.get_fully_qualified_name(), []
        for name, namespace in self._node.get_node_names_and_namespaces():
            full = f"{namespace.rstrip('/')}/{name}"
            # It may be gone by now.
            with contextlib.suppress(NodeNameNonExistentError):
                asked = self._node.get_client_names_and_types_by_node(name, namespace)
                if full != own and any(client == service for client, _ in asked):
                    found.append(full)
        return found
