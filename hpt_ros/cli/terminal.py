# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Results on standard output, and progress on standard error: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 30.0  # without a terminal, if a tenth of the work takes longer


class ResultConsole(Console):
    """Standard output. Rich would end the process with status 1 when the reader of a pipe (`| head`) has left."""

    def on_broken_pipe(self) -> None:
        """Leave the end to `main`."""
        raise BrokenPipeError


class ProgressConsole(Console):
    """Standard error. Work goes on when nobody reads of its progress any more."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class Terminal:
    """Lines and live bars on standard error; plain lines where it is no terminal.

    Standard output is left to results, so that a pipe gets nothing else.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or ProgressConsole()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, tuple[int, int, float]] = {}  # tenths, done and steady time of the last line

    def __enter__(self) -> Terminal:
        if self._console.is_terminal:
            with self._while_there():
                self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:  # without one, Rich would print an empty line
            with self._while_there():
                self._progress.stop()

    def say(self, sentence: str) -> None:
        """Print the line above the bars."""
        with self._while_there():
            self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def bar(self, label: str, done: int, total: int | None, note: str = "") -> None:
        """Move the bar; without a terminal, print a line at the start, at every tenth, and now and then between.

        Args:
            label: of the bar.
            done: of the work.
            total: of the work; None if that is not known before the end.
            note: behind the bar.
        """
        if not self._console.is_terminal:
            self._line(label, done, total, note)
            return
        with self._while_there():
            if label not in self._tasks:
                self._tasks[label] = self._progress.add_task(label, total=total, note=note)
            self._progress.update(self._tasks[label], completed=done, total=total, note=note)

    @contextmanager
    def _while_there(self) -> Iterator[None]:
        """Go on in silence when the terminal has gone, as an ssh session does: writing fails with EIO from then on."""
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._console.on_broken_pipe()

    def _line(self, label: str, done: int, total: int | None, note: str) -> None:
        now_s, tenths = time.monotonic(), done * 10 // max(total or 1, 1) if total is not None else 0
        last_tenths, last_done, last_s = self._lines.get(label, (-1, -1, now_s))
        if tenths != last_tenths or (done != last_done and now_s >= last_s + LINE_EVERY_S):
            self._lines[label] = tenths, done, now_s
            self.say(f"{label} {done}{'' if total is None else f'/{total}'} {note}".rstrip())
