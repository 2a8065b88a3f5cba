# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far bags that are converted side by side have come, in seconds of recording.

Workers may be threads, processes or machines that share the file system, so each tells through a small file of its own,
and whoever waits for them adds these up.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

# Told what is being done, something about it, how much is done, and how much there is.
Progress = Callable[[str, str, float, float], None]
TELL_EVERY_S = 2.0  # of recording
LOOK_EVERY_S = 0.5
_FORMAT = struct.Struct("<d")


def told_in(folder: Path, number: int) -> Path:
    """The file of one bag."""
    return folder / f"{number:06d}.done"


class Teller:
    """Tells in a file how many seconds of a recording are done."""

    def __init__(self, file: Path) -> None:
        """Begin with none."""
        self._file = file
        self._told_s = 0.0

    def reached(self, done_s: float) -> None:
        """Tell it, unless less than `TELL_EVERY_S` has been added."""
        if done_s < self._told_s + TELL_EVERY_S:
            return
        self._told_s = done_s
        # Eight bytes in one call: nobody reads half of them.
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, _FORMAT.pack(done_s), 0)
        finally:
            os.close(descriptor)


def done_s(folder: Path, lengths_s: Mapping[int, float], finished: int) -> float:
    """Seconds of recording that are done.

    Args:
        folder: of the files.
        lengths_s: of the recordings by their number, in the order in which they are finished.
        finished: so many are done, whatever their files say.
    """
    total = 0.0
    for place, (number, length_s) in enumerate(lengths_s.items()):
        told = length_s if place < finished else _told_s(told_in(folder, number))
        total += min(told, length_s)
    return total


def _told_s(file: Path) -> float:
    try:
        data = file.read_bytes()
    except OSError:
        return 0.0
    return float(_FORMAT.unpack(data)[0]) if len(data) == _FORMAT.size else 0.0


class Watch:
    """Says from time to time how far the bags have come, while their results are waited for."""

    def __init__(self, folder: Path, lengths_s: Mapping[int, float], say: Progress) -> None:
        """Begin with no bag done.

        Args:
            folder: of the files.
            lengths_s: of the recordings by their number, in the order in which they are finished.
            say: may be called from another thread.
        """
        self._folder, self._lengths_s, self._say = folder, lengths_s, say
        self._finished = 0

    def finished_one(self) -> None:
        """The next bag's result is there."""
        self._finished += 1
        self.look()

    def look(self) -> None:
        """Say it now."""
        done = done_s(self._folder, self._lengths_s, self._finished)
        bags = f"{self._finished} of {len(self._lengths_s)} bags"
        self._say("converting", bags, done, sum(self._lengths_s.values()))

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Look every `LOOK_EVERY_S` of wall time, in a thread."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(LOOK_EVERY_S):
                self.look()

        thread = threading.Thread(target=work, name="hpt-convert-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
