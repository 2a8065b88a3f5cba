# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What cells took, and what those that are left will take: CPU time of training samples and of scenes."""

from __future__ import annotations

import contextlib
import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = "budget.jsonl"  # in a cell's folder: a line for each time that it was worked on
TRAINING, SCENES = "training", "scenes"  # kinds of work, counted in samples and in scenes


def cpu_s() -> float:
    """Return the CPU time of this process and of those that it started and that have ended, s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


@contextlib.contextmanager
def track_spending(folder: Path, kind: str, count: Callable[[], int]) -> Iterator[None]:
    """Note in a cell's folder what the block took, also if it is interrupted.

    Args:
        folder: of the cell.
        kind: `TRAINING` or `SCENES`.
        count: returns how much was done, at the end.
    """
    cpu, wall = cpu_s(), time.monotonic()
    try:
        yield
    finally:
        line = {"kind": kind, "count": count(), "cpu_s": cpu_s() - cpu, "wall_s": time.monotonic() - wall}
        if folder.is_dir():
            with (folder / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


@dataclass(frozen=True, slots=True)
class Pace:
    """What was done so far, by kind of work: how much, and its CPU time, s."""

    counts: Mapping[str, int]
    cpu_s: Mapping[str, float]

    def estimate_remaining_s(self, work: Mapping[str, int]) -> float | None:
        """Return the CPU time of work that is left; None while some of it was never done.

        Args:
            work: kind to how much.
        """
        if any(count and not self.counts.get(kind) for kind, count in work.items()):
            return None
        return sum(count * self.cpu_s[kind] / self.counts[kind] for kind, count in work.items() if count)


def read_pace(folders: Sequence[Path]) -> Pace:
    """Add up what cells took."""
    counts: dict[str, int] = {}
    times: dict[str, float] = {}
    for folder in folders:
        if not (folder / FILE).is_file():
            continue
        for line in (folder / FILE).read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            counts[entry["kind"]] = counts.get(entry["kind"], 0) + entry["count"]
            times[entry["kind"]] = times.get(entry["kind"], 0.0) + entry["cpu_s"]
    return Pace(counts, times)


def as_hours(seconds: float) -> str:
    """Return a CPU time for people."""
    for unit, each in (("h", 3600.0), ("min", 60.0)):
        if seconds >= each:
            return f"{seconds / each:.1f} {unit}"
    return f"{seconds:.0f} s"
