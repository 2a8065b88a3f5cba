# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: whether one can be started there, and what a run that was killed left in it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

from hpt_ros.atomic import clear_leftovers
from hpt_ros.dataset.layout import is_dataset
from hpt_ros.errors import Code, HptError
from hpt_ros.model.checkpoint_folder import CONFIG, locate, read_config

LOCK = ".lock"  # of who trains into it
LEAST_FREE_BYTES = 64 * 1024 * 1024  # of the disk; no run is smaller with its state and two checkpoints


class RunFolderError(HptError):
    """A run cannot be written to this folder."""


def require_usable(out: Path, *, resume: bool) -> None:
    """Raise RunFolderError unless a run can be started in `out`, or resumed there; leaves nothing."""
    remedy, subject = "name another folder with --out", repr(str(out))
    if (
        not resume
        and out.is_dir()
        and any((out / name).exists() for name in ("train_state.pt", "last", "best"))
    ):
        raise RunFolderError(
            Code.EXISTS, subject, problem="already holds a training run",
            remedy=f"add --resume to go on with it, or {remedy}",
        )  # fmt: skip
    for is_there, what in (
        (not resume and is_dataset(out), "dataset"),
        (out.exists() and not out.is_dir(), "file"),
    ):
        if is_there:
            raise RunFolderError(
                Code.EXISTS,
                subject,
                problem=f"is a {what}, but a folder for the run was expected",
                remedy=remedy,
            )
    there = _existing(out)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise RunFolderError(Code.UNWRITABLE, subject, cause=error, remedy=remedy) from error
    if shutil.disk_usage(there).free < LEAST_FREE_BYTES:
        raise RunFolderError(
            Code.UNAVAILABLE, f"the disk of {subject}", problem="has less than 64 MiB free",
            remedy=f"make room or {remedy}",
        )  # fmt: skip


def make(out: Path) -> TextIO:
    """Make the folder, without what a run that was killed while it saved left there, and hold it for this process.

    Returns:
        What holds it, until it is closed or the process ends. Not the processes that are forked meanwhile: one of a run
        that was killed may end later than the run that goes on from it begins.

    Raises:
        RunFolderError: another process trains into it, as a run that was thought to be gone.
    """
    out.mkdir(parents=True, exist_ok=True)
    held = (out / LOCK).open("a+", encoding="utf-8")
    try:
        fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            held.seek(0)
            process = held.read().strip()
            held.close()
            raise RunFolderError(
                Code.CONFLICT, repr(str(out)), process, problem="is trained into by process {value}",
                remedy="wait for its end, stop it, or name another folder with --out",
            ) from error  # fmt: skip
        # Some file systems have no locks.
    held.truncate(0)
    held.write(f"{os.getpid()}\n")
    held.flush()
    clear_leftovers(out)
    return held


def unfinished(checkpoint: Path) -> tuple[int, int] | None:
    """Return how far the run that a checkpoint lies in is, and its number of steps; None if it ended or is not there.

    Raises:
        HptError: a checkpoint of the run is damaged.
    """
    folder = locate(checkpoint)[0]
    run = folder.parent
    if folder.name not in ("best", "last") or not (run / "last" / CONFIG).is_file():
        return None
    newest, training = read_config(run / "last")
    step, goal = (values.get(key) for values, key in ((newest.metrics, "step"), (training, "iterations")))
    if step is None or goal is None or step >= goal:
        return None
    patience = training.get("early_stopping", 0) * training.get("validation_every", 0)
    if (
        patience
        and (run / "best").is_dir()
        and step >= read_config(run / "best")[0].metrics.get("step", 0) + patience
    ):
        return None  # it stopped early
    return int(step), int(goal)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.absolute().parent)
