# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What becomes of an exception that leaves a callback of a node.

rclpy lets it out of the executor, which ends the process or the thread that spins, and leaves a service's client
waiting for ever. Here it is logged with its trace, the client is answered, and a node that moves a robot brakes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

from hpt_ros.errors import Code, Refusal, cause_text

REPORT = "report it with the trace in the log"


def go_on(node: Node, error: Exception) -> bool:
    """Log an exception that left a callback, and let the node brake.

    Args:
        node: its `on_internal_error`, if it has one, gets it and says whether the node may go on.
        error: what left the callback.

    Returns:
        Whether to spin on; if not, close the node.
    """
    failed = internal_error(error)
    node.get_logger().error(f"{failed}\n{''.join(traceback.format_exception(error))}")
    react: Callable[[Refusal], bool] = getattr(node, "on_internal_error", lambda _: False)
    try:
        return react(failed)
    except Exception as worse:
        node.get_logger().error(f"{internal_error(worse)}\n{''.join(traceback.format_exception(worse))}")
        return False


def internal_error(error: Exception) -> Refusal:
    """A defect of this package, not the user's mistake."""
    what = f"internal error, {type(error).__name__}:"
    return Refusal(Code.INTERNAL, what, problem=cause_text(error), remedy=REPORT)


def answer_always(node: Node) -> None:
    """Let every service that the node offers so far answer even if its callback raises.

    The answer has `success` false and the error as its `message` where its type has such fields. A lifecycle request
    that does not fit the node's state is the caller's mistake: it is refused, and the robot moves on. rclpy 9 (Kilted)
    refuses it by itself, rclpy 7 (Jazzy) raises RCLError.
    """
    for service in node.services:
        service.callback = _answering(node, service.callback)


def _answering(node: Node, callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    @wraps(callback)
    def answer(request: Any, response: Any) -> Any:
        try:
            return callback(request, response)
        except rclpy_implementation.RCLError as error:
            if not hasattr(request, "transition"):
                return _fail(error, response)
            name = request.transition.label or request.transition.id
            node.get_logger().error(f"the lifecycle transition {name} does not fit the node's state: refused")
            response.success = False
            return response
        except Exception as error:
            return _fail(error, response)

    def _fail(error: Exception, response: Any) -> Any:
        go_on(node, error)
        if hasattr(response, "success"):
            response.success = False
        if hasattr(response, "message"):
            response.message = str(internal_error(error))
        return response

    return answer
