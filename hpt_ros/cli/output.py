# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where --out leads to: its folder is made, in every verb, once all else is known to be in order."""

from __future__ import annotations

import sys
from pathlib import Path

from hpt_ros.errors import Code, HptError


def make_parent(out: Path) -> Path:
    """Make the folder that `out` lies in; returns `out`.

    Raises:
        HptError: it cannot be made.
    """
    make_folder(out.absolute().parent, out)
    return out


def make_folder(folder: Path, out: Path) -> None:
    """Make a folder, which may be there already, for --out.

    Raises:
        HptError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HptError(
            Code.UNWRITABLE, "--out", str(out),
            problem=f"is {{value}}, but the folder {str(folder)!r} cannot be made", remedy="give another place",
            cause=error,
        ) from error  # fmt: skip


def note_unfinished(checkpoint: str) -> None:
    """Print a line to stderr if a checkpoint is of a run that was interrupted or still goes on.

    Raises:
        HptError: the run's checkpoint is damaged.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():  # a shipped one, or a policy without a checkpoint
        return
    from hpt_ros.learning.run_folder import find_unfinished

    if found := find_unfinished(folder.absolute()):
        step, goal = found
        print(f"note: {checkpoint} is of a run that is not finished: step {step} of {goal}", file=sys.stderr)
