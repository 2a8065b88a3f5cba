# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy node's regular word of itself: ~/status and /diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray

from hpt_msgs.msg import PolicyStatus
from hpt_ros.nodes.common.clocks import steady_timer
from hpt_ros.nodes.policy.status_messages import stream_statuses, to_diagnostics, to_status

if TYPE_CHECKING:
    from hpt_ros.nodes.policy.policy_node import PolicyNode

DIAGNOSTICS_PERIOD_S = 1.0  # REP 107: diagnostics at about 1 Hz


class StatusPublisher:
    """Publishes both from the node's making on, whatever its lifecycle state."""

    def __init__(self, node: PolicyNode, status_rate_hz: float) -> None:
        """Begin, with ~/status at `status_rate_hz`."""
        self._node, self._closed = node, False
        self._status = node.create_publisher(PolicyStatus, "~/status", 10)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady: status must go on when simulated time stands still.
        steady_timer(node, 1.0 / status_rate_hz, self._publish_status)
        steady_timer(node, DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    def close(self) -> None:
        """Say nothing more; the node's lock is held."""
        self._closed = True

    def _publish_status(self) -> None:
        with self._node.lock:
            if not self._closed:
                now_ns = self._node.time().ros_ns
                self._status.publish(
                    to_status(self._node.runtime, now_ns, self._node.reason(now_ns), self._node.warnings())
                )

    def _publish_diagnostics(self) -> None:
        node = self._node
        with node.lock:
            if self._closed:
                return
            # The full name: two robots of one graph have a node of the same name each.
            name, now_ns = node.get_fully_qualified_name(), node.time().ros_ns
            message = to_diagnostics(node.runtime, name, now_ns, node.reason(now_ns))
            if node.runtime is not None and node.monitor is not None:
                statuses = stream_statuses(
                    node.runtime, node.monitor, name, now_ns, node.stale_streams(now_ns)
                )
                message.status.extend(statuses)
                for item in node.warnings():
                    node.state_log.warn(item.code, item.subject, item.text)
            self._diagnostics.publish(message)
