# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tables of docs/safety.md that are measured: each lies between two markers and is written by one script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAFETY = ROOT / "docs" / "safety.md"


def table(heads: Sequence[str], rows: Iterable[str]) -> list[str]:
    """A table's lines; each row is printed as it comes, since some take minutes."""
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for row in rows:
        print(row, flush=True)
        lines.append(row)
    return lines


def rewrite(name: str, script: str, lines: Sequence[str], document: Path = SAFETY) -> None:
    """Replace what lies between the markers of the table `name`, which `script` (a path in the repository) writes.

    Raises:
        ValueError: the document has not both markers, once each and in order.
    """
    begin, end = f"<!-- {name}: written by {script} -->", f"<!-- end of {name} -->"
    text = document.read_text(encoding="utf-8")
    if not (text.count(begin) == text.count(end) == 1 and text.index(begin) < text.index(end)):
        raise ValueError(f"{document} should have the markers {begin!r} and {end!r}, once each")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    document.write_text(before + "\n".join([begin, *lines, end]) + after, encoding="utf-8")
