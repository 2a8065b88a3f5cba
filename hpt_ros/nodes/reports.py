"""The policy node's regular word of itself: ~/status and /diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType

from hpt_msgs.msg import PolicyStatus
from hpt_ros.nodes.reporting import stream_statuses, to_diagnostics, to_status

if TYPE_CHECKING:
    from hpt_ros.nodes.policy_node import PolicyNode

DIAGNOSTICS_PERIOD_S = 1.0  # REP 107: diagnostics at about 1 Hz


class Reports:
    """Publishes both from the node's making on, whatever its lifecycle state."""

    def __init__(self, node: PolicyNode, status_rate_hz: float) -> None:
        """Begin, with ~/status at `status_rate_hz`."""
        self._node, self._closed = node, False
        self._status = node.create_publisher(PolicyStatus, "~/status", 10)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady: status must go on when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(1.0 / status_rate_hz, self._publish_status, clock=steady)
        node.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=steady)

    def close(self) -> None:
        """Say nothing more; the node's lock is held."""
        self._closed = True

    def _publish_status(self) -> None:
        with self._node.lock:
            if not self._closed:
                self._status.publish(to_status(self._node.pilot, self._node.now_ns))

    def _publish_diagnostics(self) -> None:
        node = self._node
        with node.lock:
            if self._closed:
                return
            message = to_diagnostics(node.pilot, node.get_name(), node.now_ns)
            if node.pilot is not None and node.monitor is not None:
                statuses = stream_statuses(node.pilot, node.monitor, node.get_name(), node.now_ns)
                message.status.extend(statuses)
            self._diagnostics.publish(message)
