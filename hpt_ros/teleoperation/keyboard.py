# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Single keys from the terminal, without any window system: over ssh too."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import termios
import threading
import tty
from collections.abc import Callable


class Keyboard(threading.Thread):
    """Reads single keys from the terminal; its settings come back when the process ends."""

    def __init__(self, put: Callable[[str], None]) -> None:
        """Make the terminal give keys one by one and unechoed; `put` is called with each, in the thread."""
        super().__init__(name="keys", daemon=True)
        self._put = put
        self._terminal = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._terminal)
        atexit.register(self.restore)
        tty.setcbreak(self._terminal, termios.TCSADRAIN)  # Ctrl-C stays an interruption

    def restore(self) -> None:
        """Give the terminal its settings back; it is idempotent."""
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    def run(self) -> None:
        """Read until the process or the terminal ends."""
        # Not sys.stdin: it would take all that was typed and give the first key.
        with contextlib.suppress(OSError):  # the terminal is gone
            while key := os.read(self._terminal, 1):
                self._put(key.decode("ascii", errors="replace"))
