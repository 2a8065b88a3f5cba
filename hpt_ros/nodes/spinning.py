"""How an executable runs its one node."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from hpt_ros.errors import HptError
from hpt_ros.nodes.failing import go_on

INTERNAL_ERROR = 1  # exit status


def ended_by_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set; for `rclpy.init` without handlers of its own.

    rclpy's handlers close the context first, so a node could neither brake, nor write its end, nor say so, and a wait
    that begins at that moment raises; Python's would raise in the middle of a callback.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended


def spin_until(ended: threading.Event, executor: SingleThreadedExecutor, node: Node) -> bool:
    """Spin until the event is set, which is noticed within a tenth of a second.

    Returns:
        True; or False if the node cannot go on after an exception that left a callback, which was logged.
    """
    while not ended.is_set():
        try:
            executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            return True
        except Exception as error:
            if not go_on(node, error):
                return False
    return True


def run_node(make: Callable[[], Node], name: str, args: Sequence[str] | None = None) -> int:
    """Make a node, spin it until the process is interrupted, close it; returns the exit status.

    A node's own `start` is called before, and its `close` after, where it has them.

    Args:
        make: makes the node once rclpy is there.
        name: of the executable, for the sentence about a mistake (exit status 2).
        args: command line for rclpy; the process's own if None.
    """
    ended = ended_by_signals()
    rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    node: Node | None = None
    try:
        node = make()
        getattr(node, "start", _nothing)()
        executor.add_node(node)
        return INTERNAL_ERROR * (not spin_until(ended, executor, node))
    except HptError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    finally:
        if node is not None:
            getattr(node, "close", _nothing)()
            executor.shutdown()
            node.destroy_node()
        rclpy.try_shutdown()


def _nothing() -> None:
    pass
