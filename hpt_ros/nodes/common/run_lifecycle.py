# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node as a process of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn

from hpt_ros.errors import HptError
from hpt_ros.nodes.common.parameter_files import require_addressed
from hpt_ros.nodes.common.run import INTERNAL_ERROR, process, spin_until

# Python hands its lock from one thread to another no sooner than this; its own 5 ms is half a command period of 100 Hz,
# which a command waits while pictures are resampled. 0.5 ms took the 99th percentile of jitter from 2.4-3.0 ms to
# 1.3-1.4 ms (docs/performance.md).
SWITCH_INTERVAL_S = 0.0005


def be_punctual() -> None:
    """Let this process's timers wait less for its other threads; for processes whose first duty is commands."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def run_lifecycle_node(name: str, make: Callable[..., Any], args: Sequence[str] | None = None) -> int:
    """Spin a lifecycle node until the process is to end, then `close` it.

    Args:
        name: in front of errors.
        make: makes the node in the default context; it has `close`, `refusal`, `may_come`, `starting` and a
            parameter `autostart`.
        args: of the command line; None takes the process's.

    Returns:
        Exit status: 0, 2 with a sentence on stderr when the node could not be made or started, or 1 when it braked
        and ended because of an internal error.
    """
    be_punctual()
    try:
        with process(args) as (context, ended):
            node = make()
            try:
                require_addressed(node, sys.argv if args is None else args)
                return _spin(node, SingleThreadedExecutor(context=context), ended)
            finally:
                node.close()
                node.destroy_node()
    except HptError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2


def _spin(node: Any, executor: SingleThreadedExecutor, ended: threading.Event) -> int:
    executor.add_node(node)
    try:
        if node.get_parameter("autostart").value:
            node.starting = True
            for transition in (node.trigger_configure, node.trigger_activate):
                while not ended.is_set() and transition() != TransitionCallbackReturn.SUCCESS:
                    if not node.may_come:
                        raise HptError.of(node.refusal)
                    node.get_logger().warning("waits for it, and tries again")
                    executor.spin_once(timeout_sec=0.1)
            node.starting = False
        return INTERNAL_ERROR * (not spin_until(ended, executor, node))
    finally:
        node.close()
        executor.shutdown()
