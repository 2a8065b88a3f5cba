# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a file is, by its first bytes."""

from __future__ import annotations

from pathlib import Path


def begins_with(path: Path, magic: bytes) -> bool:
    """True if these are the file's first bytes; raises OSError if it may not be read."""
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
