# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the policy node offers to operators: the task, the stop and the clearing of faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from hpt_msgs.srv import ClearFault, SetTask

if TYPE_CHECKING:
    from hpt_ros.nodes.policy.policy_node import PolicyNode


def create_operator_services(node: PolicyNode) -> None:
    """Make the services ~/set_task, ~/clear_fault and ~/stop and the topic ~/stop; they live as long as the node."""

    def set_task(request: Any, response: Any) -> Any:
        refused = node.set_task(request.task)
        response.success, response.message = not refused, str(refused or f"the task is {request.task!r}")
        return response

    def clear_fault(request: Any, response: Any) -> Any:
        response.success, response.message = node.clear_fault()
        return response

    def stop(request: Any, response: Any) -> Any:
        response.success, response.message = True, node.stop("an operator called ~/stop")
        return response

    def stop_message(message: Any) -> None:
        node.stop("an operator published on ~/stop")

    node.create_service(SetTask, "~/set_task", set_task)
    node.create_service(ClearFault, "~/clear_fault", clear_fault)
    node.create_service(Trigger, "~/stop", stop)
    # A reliable subscription never hears a publisher that is best effort, and a best-effort one may miss a message of a
    # publisher that is reliable; to stop twice changes nothing.
    for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT):
        node.create_subscription(Empty, "~/stop", stop_message, QoSProfile(depth=10, reliability=reliability))
