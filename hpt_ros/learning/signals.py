# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C as a request: the first one ends the loop after its step, a second one at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hpt_ros.interrupts import SIGNALS


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within the block, the `SIGNALS` only make the yielded function true; repeated, they interrupt.

    Not those that are ignored: nohup ignores SIGHUP so that a program outlives its terminal. Outside the main thread,
    where Python handles no signals, the function stays false.
    """
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
