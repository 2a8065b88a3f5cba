# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What lifecycle nodes share."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from rclpy.lifecycle import TransitionCallbackReturn

from hpt_ros.errors import HptError
from hpt_ros.nodes.common.failing import internal_error

Transition = TypeVar("Transition", bound=Callable[..., Any])


class NotThereYetError(HptError):
    """Something that this node needs is not there, but may come by itself: another machine starts later."""


def log_errors(transition: Transition) -> Transition:
    """Wrap a transition's callback so that its errors are logged; rclpy alone makes them ERROR without a word.

    An `HptError` is logged as its sentence and gives FAILURE: the node stays in the state it was in. While the node is
    `starting`, whoever starts it says it, as the last word of the process. Anything else is
    an internal error: its trace is logged and the node goes through error processing. The node's `refusal` gets its
    fields, and keeps them through that; its `may_come` says whether the same may succeed later.
    """

    @wraps(transition)
    def wrapper(self: Any, state: Any) -> Any:
        if transition.__name__ != "on_error":
            self.refusal, self.may_come = None, False
        try:
            return transition(self, state)
        except HptError as error:
            self.refusal, self.may_come = error.refusal, isinstance(error, NotThereYetError)
            if self.may_come or not self.starting:
                self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.refusal = internal_error(error)
            self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR

    return cast(Transition, wrapper)
