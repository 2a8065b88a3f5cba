# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a process are interruptions, unless they are ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpt_ros.cli.interruption import SIGNALS, interrupt_on_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_what_it_would_have_ended(number: signal.Signals) -> None:
    by_default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, by_default)  # under nohup it is ignored
    try:
        with pytest.raises(KeyboardInterrupt), interrupt_on_signals():
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is by_default
    finally:
        signal.signal(number, before)


def test_when_a_signal_is_ignored_as_by_nohup_expect_it_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_when_ctrl_c_comes_while_workers_start_expect_no_trace() -> None:
    """A terminal sends it to all processes, and these are importing."""
    command = [sys.executable, "-m", "hpt_ros", "eval", "hold", "--episodes", "4", "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and len(children.read_text().split()) < 3:  # one is multiprocessing's own
        time.sleep(0.01)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in printed
    assert printed.strip().splitlines()[-1] == "hpt eval: interrupted"
