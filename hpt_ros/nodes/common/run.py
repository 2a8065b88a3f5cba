# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How an executable runs its one node, and how it ends: whatever ends it, the node is closed first."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import rclpy
from rclpy import utilities
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from hpt_ros.errors import HptError
from hpt_ros.nodes.common.failing import go_on
from hpt_ros.nodes.common.parameter_files import require_addressed
from hpt_ros.nodes.common.starting import begin
from hpt_ros.nodes.common.terminal import unblock_output

INTERNAL_ERROR = 1  # exit status

# Every signal that ends a process unless it is handled (signal(7)), but for SIGKILL, which cannot be, and those of a
# crash. SIGHUP comes when an ssh session or a terminal goes, SIGQUIT from a key and from supervisors. Python ignores
# SIGPIPE and SIGXFSZ by itself: the write fails instead.
ENDING = (
    "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU",
    "SIGPOLL", "SIGPWR", "SIGSTKFLT",
)  # fmt: skip
# Every signal that stops a process unless it is handled, but for SIGSTOP: a node that is stopped sends nothing, and
# does not brake. A key (SIGTSTP), or a background process that reads or writes a terminal.
STOPPING = ("SIGTSTP", "SIGTTIN", "SIGTTOU")


def watch_end_signals() -> threading.Event:
    """An event that every signal sets that would end the process; for `rclpy.init` without handlers of its own.

    rclpy's handlers close the context first, so a node could neither brake, nor write its end, nor say so, and a wait
    that begins at that moment raises; Python's would raise in the middle of a callback. A second signal changes
    nothing: braking goes on.
    """
    ended = threading.Event()
    _handle(ENDING, lambda *_: ended.set())
    _handle(STOPPING, signal.SIG_IGN)
    return ended


def _handle(names: Sequence[str], handler: Any) -> None:
    for name in names:
        if hasattr(signal, name):  # SIGSTKFLT from Python 3.11 on
            signal.signal(getattr(signal, name), handler)


class OwnContext(rclpy.Context):  # type: ignore[misc, unused-ignore]
    """A context that is shut down by whoever runs the node alone.

    A node cannot publish through a context that is shut down, so it could not brake. If anybody else asks for it, the
    node is ended first.
    """

    def __init__(self, ended: threading.Event) -> None:
        """Set `ended` when somebody asks for the shutdown."""
        super().__init__()
        self._ended = ended

    def shutdown(self) -> None:
        """Ask for the end."""
        self._ended.set()

    def try_shutdown(self) -> None:
        """Ask for the end."""
        self._ended.set()

    def end(self) -> None:
        """Shut down in fact."""
        super().try_shutdown()


@contextlib.contextmanager
def process(args: Sequence[str] | None) -> Iterator[tuple[OwnContext, threading.Event]]:
    """What a node needs around it: a default context of its own, and an event that says that the process is to end.

    Args:
        args: command line for rclpy; the process's own if None.

    Raises:
        HptError: what follows ``--ros-args`` cannot be read: a parameter, a remapping, a file.
    """
    with unblock_output():
        ended = watch_end_signals()
        # rclpy has no way to choose the default context, in which nodes are made that name none.
        context = OwnContext(ended)
        default: Any = utilities
        default.g_default_context = context
        words = None if args is None else list(args)
        try:
            begin(words, context)
            yield context, ended
        finally:
            _handle(ENDING, signal.SIG_IGN)  # Python itself restores the default before it has ended
            context.end()
            default.g_default_context = None


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


def run_node(make: Callable[..., Any], name: str, args: Sequence[str] | None = None) -> int:
    """Make a node, spin it until the process is to end, close it; returns the exit status.

    A node's own `start` is called before, and its `close` after, where it has them.

    Args:
        make: makes the node, in the default context.
        name: of the executable, for the sentence about a mistake (exit status 2).
        args: command line for rclpy; the process's own if None.
    """
    try:
        with process(args) as (context, ended):
            executor = SingleThreadedExecutor(context=context)
            node: Node | None = None
            try:
                node = make()
                require_addressed(node, sys.argv if args is None else args)
                getattr(node, "start", _nothing)()
                executor.add_node(node)
                return INTERNAL_ERROR * (not spin_until(ended, executor, node))
            finally:
                if node is not None:
                    getattr(node, "close", _nothing)()
                    executor.shutdown()
                    node.destroy_node()
    except HptError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2


def _nothing() -> None:
    pass
