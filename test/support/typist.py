# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A person at a pseudo-terminal who runs `hpt teleop`."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
import urllib.request

WAIT_S = 90.0


class Typist:
    """A person at a terminal."""

    def __init__(self, *arguments: str) -> None:
        self.terminal, far = pty.openpty()
        self.before = termios.tcgetattr(far)
        command = [sys.executable, "-m", "hpt_ros", "teleop", "--port", "0", *arguments]
        environment = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": "", "TERM": "dumb"}
        self.process = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, env=environment)
        self.far, self.text = far, ""

    def read(self, seconds: float = 0.05) -> str:
        ready, _, _ = select.select([self.terminal], [], [], seconds)
        if ready:
            self.text += os.read(self.terminal, 65536).decode(errors="replace")
        return self.text

    def wait_for(self, pattern: str) -> str:
        end_s = time.monotonic() + WAIT_S
        while not (found := re.search(pattern, self.read())):
            assert time.monotonic() < end_s, self.text
            assert self.process.poll() is None, self.text
        return found.group(0)

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def recorded_s(self) -> float:
        """For how long it has been recording, in simulated time, as the page says; 0 if it is not."""
        address = self.wait_for(r"http://[\d.:]+/")
        with urllib.request.urlopen(f"{address}state", timeout=WAIT_S) as answer:
            found = re.search(r"recording, ([\d.]+) s", answer.read().decode())
        return float(found.group(1)) if found else 0.0

    def hold(self, key: str, until_s: float) -> None:
        """As a terminal repeats it, until the recording is so long: a loaded machine is slower than time."""
        end_s = time.monotonic() + WAIT_S
        while self.recorded_s() < until_s:
            assert time.monotonic() < end_s, self.text
            self.type(key)
            self.read(0.03)

    def end(self) -> int:
        end_s = time.monotonic() + WAIT_S
        while self.process.poll() is None and time.monotonic() < end_s:
            self.read()
        self.read()
        return self.process.wait(1)
