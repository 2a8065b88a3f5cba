# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a process, taken as Ctrl-C is: what is open is closed, and finished work is retained."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # a supervisor; a terminal or an ssh session that goes


@contextlib.contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt within the block when one of `SIGNALS` comes, as SIGINT does; not one that is ignored.

    nohup ignores SIGHUP so that a program outlives its terminal.
    """

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
