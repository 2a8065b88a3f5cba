# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Several nodes in one process, each on an executor thread of its own.

This is how the demo runs where there is no `launch`: the same node classes, the same DDS topics between them.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import rclpy
from rclpy.action import ActionClient, ActionServer
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from hpt_ros.nodes.common.failing import go_on
from hpt_ros.nodes.common.starting import begin


class Spinning:
    """A node that spins on a thread of its own until `close`."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=f"spin {node.get_name()}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop spinning, let the node close itself if it can, destroy it."""
        # Joined before the executor ends: a shutdown from another thread pulls the guard condition away from a callback
        # that is just about to trigger it (InvalidHandle in rclpy 9, AttributeError in rclpy 7).
        self._closing.set()
        self._thread.join(timeout=5.0)
        self._executor.shutdown(timeout_sec=2.0)
        close = getattr(self.node, "close", None)
        if close is not None:
            close()
        destroy(self.node)

    def _spin(self) -> None:
        node: Any = self.node
        while not self._closing.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                return
            except Exception as error:
                if not hasattr(node, "on_internal_error"):
                    raise
                if not go_on(node, error):
                    node.close()  # brakes
                    return


class Composition:
    """Owns an rclpy context, spins each added node on its own thread, and closes all of it in reverse order.

    A node per executor keeps a slow callback of one from delaying another's, which a shared multi-threaded executor
    in Python does not. Use as a context manager.
    """

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self._running: list[Spinning] = []

    def __enter__(self) -> Composition:
        begin([], self.context)
        return self

    def add(self, node: Node) -> Any:
        """Spin `node` (made with ``context=composition.context``) on a thread of its own and return it."""
        self._running.append(Spinning(node))
        return node

    def remove(self, node: Node) -> None:
        """Stop and destroy one node before the rest."""
        (entry,) = [entry for entry in self._running if entry.node is node]
        self._running.remove(entry)
        entry.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:
            self._running.pop().close()
        rclpy.try_shutdown(context=self.context)


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
