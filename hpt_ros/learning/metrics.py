# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""metrics.jsonl: one line of figures per log or validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpt_ros.atomic import write_text


class Metrics:
    """Appends JSON lines; a resumed run first drops the lines after the step that it goes on from."""

    def __init__(self, path: Path, after: int) -> None:
        retained = []
        if path.is_file() and after:
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # the line that was being written when the power went
                    continue
                if entry.get("step", 0) <= after:
                    retained.append(line)
        write_text(path, "".join(f"{line}\n" for line in retained))
        self._path = path

    def write(self, **values: Any) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
