"""Several nodes in one process, each on an executor thread of its own.

This is how the demo runs where there is no `launch`: the same node classes, the same DDS topics between them.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Any

import rclpy
from rclpy.action import ActionClient, ActionServer
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


class Composition:
    """Owns an rclpy context, spins each added node on its own thread, and closes all of it in reverse order.

    A node per executor keeps a slow callback of one from delaying another's, which a shared multi-threaded executor
    in Python does not. Use as a context manager.
    """

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self._running: list[tuple[Node, SingleThreadedExecutor, threading.Thread, threading.Event]] = []

    def __enter__(self) -> Composition:
        rclpy.init(context=self.context, args=[])
        return self

    def add(self, node: Node) -> Any:
        """Spin `node` (made with ``context=composition.context``) on a thread of its own and return it."""
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(node)
        closing = threading.Event()
        thread = threading.Thread(
            target=_spin, args=(executor, closing), name=f"spin {node.get_name()}", daemon=True
        )
        self._running.append((node, executor, thread, closing))
        thread.start()
        return node

    def remove(self, node: Node) -> None:
        """Stop and destroy one node before the rest."""
        (entry,) = [entry for entry in self._running if entry[0] is node]
        self._running.remove(entry)
        _close(*entry)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:
            _close(*self._running.pop())
        rclpy.try_shutdown(context=self.context)


def _spin(executor: SingleThreadedExecutor, closing: threading.Event) -> None:
    try:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()
    except InvalidHandle:
        # rclpy's shutdown can destroy the guard condition that a callback is just about to trigger.
        if not closing.is_set():
            raise


def _close(
    node: Node, executor: SingleThreadedExecutor, thread: threading.Thread, closing: threading.Event
) -> None:
    closing.set()
    executor.shutdown(timeout_sec=2.0)
    thread.join(timeout=5.0)
    close = getattr(node, "close", None)
    if close is not None:
        close()
    destroy(node)


def destroy(node: Node) -> None:
    """Destroy a node with all that it offers.

    rclpy 9.1's `destroy_node` leaves actions, and the services of a lifecycle node's state machine, to the garbage
    collector. Until that runs, their DDS participant is on the graph, and clients count a service that nobody answers.
    """
    for waitable in tuple(node.waitables):
        if isinstance(waitable, (ActionServer, ActionClient)):
            waitable.destroy()
    node.destroy_node()
    state_machine = getattr(node, "_state_machine", None)
    if state_machine is not None:
        state_machine.destroy_when_not_in_use()
