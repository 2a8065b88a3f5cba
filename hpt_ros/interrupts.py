# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""When Ctrl-C counts in the processes of a pool: during their work alone, which then ends as if it had failed.

At any other time, as while they import, it would end them with a trace on the terminal, and the parent might wait for
ever.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Final

SIGNALS: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
)  # of a person, of a supervisor, of a terminal or an ssh session that goes


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let SIGINT wait until the end of the block in this thread, and from the start on in processes started here."""
    with _mask(signal.SIG_BLOCK):
        yield


@contextlib.contextmanager
def interrupts_count() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt within the block, one that waited at its beginning."""
    with _mask(signal.SIG_UNBLOCK):
        yield


@contextlib.contextmanager
def _mask(how: signal.Sigmasks) -> Iterator[None]:
    before = signal.pthread_sigmask(how, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
