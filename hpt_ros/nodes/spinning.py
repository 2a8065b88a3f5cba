"""How an executable runs its one node."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from hpt_ros.errors import HptError


def run_node(make: Callable[[], Node], name: str, args: Sequence[str] | None = None) -> int:
    """Make a node, spin it until the process is interrupted, close it; returns the exit status.

    A node's own `start` is called before, and its `close` after, where it has them.

    Args:
        make: makes the node once rclpy is there.
        name: of the executable, for the sentence about a mistake (exit status 2).
        args: command line for rclpy; the process's own if None.
    """
    rclpy.init(args=None if args is None else list(args))
    node: Node | None = None
    try:
        node = make()
        getattr(node, "start", _nothing)()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except HptError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    finally:
        if node is not None:
            getattr(node, "close", _nothing)()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _nothing() -> None:
    pass
