# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Our side of the pipe to `server.py`: one process, one task, one request at a time."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.suites.libero import server

SETTING: Final = "HPT_LIBERO_PYTHON"
DEFAULT: Final = (
    Path(__file__).parents[4] / ".venv-libero/bin/python"
)  # of a source folder: `make setup-libero`
SUBJECT: Final = "LIBERO's process"
MAKING_S: Final = 600.0  # the first start on a machine compiles; ours took 25 s beside other work
STEP_S: Final = 120.0  # a step takes 20 ms, with two images 50 ms
CLOSING_S: Final = 5.0


def libero_python() -> Path:
    """Return the Python that has LIBERO.

    Raises:
        HptError: it is not there.
    """
    python = Path(os.environ.get(SETTING) or DEFAULT)
    if not os.access(python, os.X_OK):
        raise HptError(
            Code.NOT_INSTALLED, "the Python that has LIBERO", str(python), problem="is not at {value}",
            remedy=f"run 'make setup-libero', or set {SETTING} to the Python of an environment that has it",
        )  # fmt: skip
    return python.absolute()  # not resolved: a virtual environment's Python is a link


class LiberoProcess:
    """A process that serves one task.

    Args:
        command: what runs `server.main`; None: LIBERO's, by `libero_python`.
        answer_s: how long an answer to anything but `make` may take.

    Raises:
        HptError: it cannot be started.
    """

    def __init__(self, command: Sequence[str] | None = None, answer_s: float = STEP_S) -> None:
        """Start it."""
        command_line = [str(libero_python()), "-I", server.__file__] if command is None else list(command)
        self._answer_s, self._until = answer_s, 0.0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed with the process
        try:
            # A session of its own, so that Ctrl-C is for us alone; it ends when its input does.
            self._process = subprocess.Popen(
                command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise HptError(
                Code.UNAVAILABLE,
                SUBJECT,
                command_line[0],
                problem="cannot be started with {value}",
                cause=error,
            ) from error

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def ask(
        self, do: str, arrays: Mapping[str, np.ndarray] | None = None, **fields: Any
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the fields and the arrays of the answer to a request, see `server.Server.answer`.

        Raises:
            HptError: it refuses the request, has ended, or does not answer in time; it is ended then.
        """
        assert self._process.stdin is not None
        limit_s = MAKING_S if do == "make" else self._answer_s
        self._until = time.monotonic() + limit_s
        try:
            if self._process.stdin.closed:
                raise EOFError
            self._process.stdin.write(server.pack({"do": do, **fields}, arrays))
            answer, found = server.unpack(self._read)
        except TimeoutError as error:
            self.close(kill=True)
            raise HptError(
                Code.TIMEOUT, SUBJECT, f"{limit_s:g} s", problem=f"did not answer the request {do!r} in {{value}}",
                remedy="run it again, with fewer --workers if the machine is busy",
            ) from error  # fmt: skip
        except (EOFError, OSError, server.WireError) as error:
            ended = isinstance(error, (EOFError, OSError))
            status, said = self.close(kill=not ended), self._last_line()
            raise HptError(
                Code.UNAVAILABLE, SUBJECT, status if ended else str(error),
                problem=f"ended at the request {do!r} with status {{value}}" if ended else "sent no message: {value}",
                cause=said or None, remedy="run it again",
            ) from error  # fmt: skip
        if "error" in answer:
            raise HptError(
                Code.UNAVAILABLE, SUBJECT, answer["error"], problem=f"refused the request {do!r} with {{value}}",
                remedy=f"run 'make setup-libero' again, or correct {SETTING}" if do == "make" else "",
            )  # fmt: skip
        return answer, found

    def close(self, *, kill: bool = False) -> int | None:
        """End it, at once or when it has nothing more to answer; returns its exit status. Idempotent."""
        process = self._process
        if kill:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            return process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _read(self, count: int) -> bytes:
        """Return exactly so many bytes, or raise TimeoutError or EOFError."""
        assert self._process.stdout is not None
        handle, found = self._process.stdout.fileno(), bytearray()
        while len(found) < count:
            if not select.select([handle], [], [], max(self._until - time.monotonic(), 0.0))[0]:
                raise TimeoutError
            part = os.read(handle, count - len(found))
            if not part:
                raise EOFError
            found += part
        return bytes(found)

    def _last_line(self) -> str:
        """Return the last line that it printed."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
