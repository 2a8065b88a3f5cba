# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What comes over the topics that a policy node listens to, handed to its runtime under the node's lock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hpt_ros.embodiment import Stream
from hpt_ros.nodes.policy.kinds import Kind

if TYPE_CHECKING:
    from hpt_ros.nodes.policy.policy_node import PolicyNode


class TopicCallbacks:
    """Callbacks of one node's subscriptions and action clients."""

    def __init__(self, node: PolicyNode) -> None:
        """Serve this node."""
        self._node = node

    def message(self, stream: Stream, message: Any) -> None:
        """Take a message of a stream."""
        began_s, node = time.monotonic(), self._node
        with node.lock:
            runtime = node.runtime
            if runtime is None or not (runtime.controller.state.active or stream.holds):
                return
            now_ns = node.time().ros_ns
            if now_ns == 0:  # simulated time has not begun
                return
            if not runtime.controller.state.active:
                runtime.streams.keep(stream, message, now_ns)
                return
            if (warning := node.watched().saw(stream, message, now_ns)) is not None:
                node.state_log.warn(Kind.UNSTAMPED, stream.name, str(warning))
            if (changed := node.watched().changed(stream, message)) is not None:
                before = runtime.controller.state
                runtime.controller.fail(changed)
                node.state_log.state(before, runtime)
            problem = runtime.streams.message(stream, message, now_ns)
            runtime.metrics.add("message_s", time.monotonic() - began_s)
            if problem is not None:
                node.unusable(Kind.UNUSABLE, stream.name, problem)

    def deadman(self, message: Any) -> None:
        """Take the state of the enabling switch."""
        with self._node.lock:
            if self._node.runtime is not None:
                self._node.runtime.controller.note_deadman(message.data, self._node.time().control_ns)

    def goal(self, output: str, problem: str) -> None:
        """Log what became of an output's goal."""
        with self._node.lock:
            self._node.state_log.warn(Kind.GOAL, output, problem)

    def speed(self, message: Any) -> None:
        """Take the robot's speed scaling."""
        with self._node.lock:
            if self._node.runtime is not None:
                self._node.runtime.controller.note_speed_scaling(message.data)
