# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Outputs that are actions: goals to a driver that keeps the last one, and what becomes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.node import Node

from hpt_ros.control import Command
from hpt_ros.control.goals import GoalPacer
from hpt_ros.embodiment.message_types.base import target
from hpt_ros.nodes.policy.goal_rivals import GoalRivals
from hpt_ros.nodes.policy.outputs import Sender


class GoalSender:
    """Sends one output's goals. It cancels none: a gripper keeps what it was commanded, and a trajectory ends at rest.

    Made and used on the thread of the node's executor; rclpy's action client must not be made on another.
    """

    def __init__(
        self, node: Node, sender: Sender, tell: Callable[[str, str], None], permitted: Sequence[str] = ()
    ) -> None:
        """Make the action's client.

        Args:
            node: that talks.
            sender: makes the goals.
            report: called for a goal that failed: the output's name and a sentence.
            permitted: full names of nodes that may send goals too, or patterns.
        """
        output = sender.output
        self._sender, self._tell = sender, tell
        self._client: Any = ActionClient(node, sender.kind, output.topic)
        self.name = node.resolve_topic_name(output.topic)
        goals = output.goals if output.command.own_speed else None
        self._pacer = GoalPacer(goals.resolution if goals else 0.0, goals.rate_hz if goals else math.inf)
        self.rivals = GoalRivals(node, self.name, permitted, lasting=not output.command.own_speed)
        self._number = 0  # of the newest goal
        self._closed = False

    @property
    def taken(self) -> bool:
        """Whether a server is there."""
        return bool(self._client.server_is_ready())

    def begin(self) -> None:
        """An activation begins."""
        self._pacer.begin()

    def send(self, command: Command, now_ns: int) -> None:
        """Send a goal if the target of an entire command moved, and a server is there."""
        if not self.taken:
            self._pacer.note_loss()
            return
        own = self._sender.own(command)
        if not self._pacer.due(target(own), own.curve.controls[0], now_ns):
            return
        self._number += 1
        goal = self._sender.message(command, now_ns)
        future = self._client.send_goal_async(goal, goal_uuid=self.rivals.new_id())
        future.add_done_callback(partial(self._on_answer, self._number))

    def close(self) -> None:
        """Release the client; what becomes of its goals is no longer reported."""
        self._closed = True
        self.rivals.close()
        self._client.destroy()

    def _on_answer(self, number: int, future: Any) -> None:
        if self._closed or future.cancelled():
            return
        handle = future.result()
        if handle.accepted:
            handle.get_result_async().add_done_callback(partial(self._on_end, number))
        elif number == self._number:
            self._pacer.note_rejected()
            self._say("rejected a goal; it is sent again. See the log of its driver")

    def _on_end(self, number: int, future: Any) -> None:
        # A newer goal ends the one before it, which is no failure.
        if self._closed or future.cancelled() or number != self._number:
            return
        answer = future.result()
        if answer.status == GoalStatus.STATUS_CANCELED:
            self._say("had its goal canceled by somebody else; it stays where it is until its target changes")
        elif answer.status == GoalStatus.STATUS_ABORTED and not getattr(answer.result, "stalled", False):
            # One that stalled holds an object, which many drivers call a failure.
            words = str(getattr(answer.result, "error_string", "")) or "its driver does not say why"
            self._say(f"aborted its goal ({words}); it stays where it is until its target changes")

    def _say(self, words: str) -> None:
        self._tell(self._sender.output.name, f"the action {self.name} {words}")
