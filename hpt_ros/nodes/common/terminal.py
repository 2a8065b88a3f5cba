# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Standard output of a process that must not wait for whoever reads it.

A terminal whose network is gone, Ctrl-S, or a paused `less` stop a writer once some kilobytes wait, and a node that
logs would send no more commands. So terminals and pipes are written by a `cat` of its own, through a pipe that is never
waited for: what does not fit into it is lost. A reader that ends, or a terminal that hangs up, ends the `cat` alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator

PIPE_BYTES = 1 << 20  # the most that Linux permits without privileges (pipe(7)); about ten thousand lines
END_S = 2.0  # that the last messages have to come through


@contextlib.contextmanager
def unblock_output() -> Iterator[None]:
    """Within this, standard output and error never block, and never fail because their reader is gone."""
    cat = shutil.which("cat")
    detached = [] if cat is None else [item for item in (_detach(fd, cat) for fd in (1, 2)) if item]
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        for fd, original, writer in detached:
            os.dup2(original, fd)
            os.close(original)
            with contextlib.suppress(subprocess.TimeoutExpired):
                writer.wait(END_S)


def _detach(fd: int, cat: str) -> tuple[int, int, subprocess.Popen[bytes]] | None:
    """Put a pipe and its `cat` between a file descriptor and where it goes; None where nothing can hinder."""
    try:
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(fd)):
            return None  # a file, /dev/null
    except OSError:
        return None  # closed
    if os.isatty(fd):
        os.environ.setdefault("RCUTILS_COLORIZED_OUTPUT", "1")  # as rcutils would have chosen
    original = os.dup(fd)
    source, sink = os.pipe()
    with contextlib.suppress(OSError, AttributeError):  # F_SETPIPE_SZ is Linux's, and Python's from 3.10 on
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    # In a session of its own no key and no hang-up of the terminal reaches it: it ends with its last reader or writer.
    writer = subprocess.Popen([cat], stdin=source, stdout=original, stderr=original, start_new_session=True)
    os.close(source)
    os.set_blocking(sink, False)
    os.dup2(sink, fd)
    os.close(sink)
    return fd, original, writer
