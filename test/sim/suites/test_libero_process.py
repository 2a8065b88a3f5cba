# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The pipe between an environment and LIBERO's process: messages, and every way in which the other side fails.

The server is the real one, in our own Python: without LIBERO, or with a small world in its place
(`support.libero_world`).
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import libero_world
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.suites.libero import client, server
from hpt_ros.sim.suites.libero.client import SETTING, LiberoProcess, libero_python

COMMAND = [sys.executable, libero_world.__file__]
SHAPES = st.lists(st.integers(0, 5), max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def reader(data):
    """What reads bytes as the two sides do."""
    stream = io.BytesIO(data)

    def read(count):
        found = stream.read(count)
        if len(found) < count:
            raise EOFError
        return found

    return read


@pytest.fixture
def process():
    made = LiberoProcess(COMMAND)
    yield made
    made.close(kill=True)


@given(
    st.dictionaries(st.text().filter(lambda name: name != "arrays"), JSON, max_size=4),
    st.dictionaries(st.text(), st.tuples(st.sampled_from(server.DTYPES), SHAPES), max_size=3),
)
def test_what_is_packed_is_unpacked(fields, kinds):
    draw = np.random.default_rng(0)
    arrays = {name: draw.integers(0, 255, shape).astype(kind) for name, (kind, shape) in kinds.items()}
    data = server.pack(fields, arrays)
    found, back = server.unpack(reader(data))
    assert found == fields
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    for cut in {1, len(data) // 2, len(data) - 1}:
        with pytest.raises(EOFError):
            server.unpack(reader(data[:cut]))


@given(st.binary(max_size=40), st.booleans())
def test_bytes_that_are_no_message_are_refused_and_nothing_else_happens(data, framed):
    if framed:
        data = len(data).to_bytes(4, "big") + data
    with pytest.raises((server.WireError, EOFError)):
        server.unpack(reader(data))


@pytest.mark.parametrize(
    "arrays",
    [
        "none", [["a", "|u1"]], [["a", "|O8", [1]]], [["a", "<f8", [-1]]], [["a", "<f8", [True]]],
        [["a", "<f8", [10**6, 10**6]]], [[1, "<f8", [1]]], [["a", ["<f8"], [1]]], [["a", "<f8", [1] * 5]],
    ],
)  # fmt: skip
def test_arrays_of_other_kinds_are_refused_before_they_are_read(arrays):
    header = json.dumps({"arrays": arrays}).encode()
    with pytest.raises(server.WireError):
        server.unpack(reader(len(header).to_bytes(4, "big") + header + bytes(100)))


def test_a_header_that_is_nested_deeply_is_refused():
    header = b"[" * 200_000
    with pytest.raises(server.WireError, match="no JSON"):
        server.unpack(reader(len(header).to_bytes(4, "big") + header))


def test_what_libraries_print_is_in_no_answer(process):
    answer, arrays = process.ask("make", task=3)
    assert (answer, arrays) == ({"versions": {"point-world": "3"}}, {})
    _, state = process.ask("reset", seed=1, cameras=["agentview"], height=4, width=6)
    assert state["image:agentview"].shape == (4, 6, 3)
    _, after = process.ask("step", {"action": np.ones(7)}, cameras=[], height=0, width=0)
    assert after.keys() == state.keys() - {"image:agentview"}
    np.testing.assert_allclose(after["hand"] - state["hand"], 0.025)


def test_a_request_that_fails_is_one_sentence_and_the_next_is_answered(process):
    with pytest.raises(HptError) as error:
        process.ask("reset", seed=1, cameras=[], height=0, width=0)
    refused_with(error, Code.UNAVAILABLE, "RuntimeError: no task is made")
    process.ask("make", task=0)
    with pytest.raises(HptError, match="KeyError: 'seed'"):
        process.ask("reset", cameras=[])
    with pytest.raises(HptError, match="'dance' is no request"):
        process.ask("dance")
    assert process.ask("reset", seed=1, cameras=[], height=0, width=0)[1]["success"] == [0.0]


def refused_with(error, code, value):
    """The error has this code and value."""
    assert (error.value.refusal.code, error.value.refusal.value) == (code, value)
    assert "\n" not in str(error.value)


def test_a_python_without_libero_says_so():
    process = LiberoProcess([sys.executable, "-I", server.__file__])
    try:
        with pytest.raises(HptError, match="refused the request 'make'.*make setup-libero") as error:
            process.ask("make", task=0)
        refused_with(error, Code.UNAVAILABLE, "ModuleNotFoundError: No module named 'libero'")
    finally:
        assert process.close() == 0


def test_a_killed_process_is_one_sentence_that_says_what_it_printed_last(process):
    process.ask("make", task=0)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(
        HptError, match="ended at the request 'reset'.*as a library below Python prints"
    ) as error:
        process.ask("reset", seed=0, cameras=[], height=0, width=0)
    refused_with(error, Code.UNAVAILABLE, -signal.SIGKILL)
    assert process.close() == -signal.SIGKILL


def test_a_hanging_process_is_one_sentence_and_is_ended():
    process = LiberoProcess(COMMAND, answer_s=0.3)
    process.ask("make", task=0)
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(HptError, match="did not answer the request 'reset'") as error:
        process.ask("reset", seed=0, cameras=[], height=0, width=0)
    refused_with(error, Code.TIMEOUT, "0.3 s")
    assert process.close() == -signal.SIGKILL


def test_a_process_that_sends_something_else_is_one_sentence():
    process = LiberoProcess([sys.executable, "-c", "print('welcome to the benchmark', flush=True); input()"])
    with pytest.raises(HptError, match="sent no message"):
        process.ask("make", task=0)
    assert process.close() == -signal.SIGKILL


def test_a_process_that_cannot_be_started_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(HptError, match="cannot be started with"):
        LiberoProcess([str(tmp_path / "nowhere")])
    monkeypatch.setenv(SETTING, str(tmp_path / "python"))
    with refused(HptError, Code.NOT_INSTALLED, value=str(tmp_path / "python")):
        libero_python()
    monkeypatch.delenv(SETTING)
    monkeypatch.setattr(client, "DEFAULT", tmp_path / "python")
    with pytest.raises(HptError, match="make setup-libero"):
        libero_python()
    monkeypatch.setenv(SETTING, sys.executable)
    assert libero_python().samefile(sys.executable)


def test_closing_ends_it_and_closing_again_does_nothing(process):
    process.ask("make", task=0)
    assert os.getsid(process.pid) != os.getsid(0)  # Ctrl-C is not for it
    assert process.close() == 0
    assert process.close() == 0
    with pytest.raises(HptError, match="is closed|ended"):
        process.ask("reset", seed=0, cameras=[], height=0, width=0)


def test_it_does_not_outlive_who_started_it():
    program = (
        "import os, sys\nfrom hpt_ros.sim.suites.libero.client import LiberoProcess\n"
        f"process = LiberoProcess({COMMAND!r})\nprocess.ask('make', task=0)\n"
        "print(process.pid, flush=True)\nos._exit(1)"
    )
    pid = int(subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False).stdout)
    for _ in range(600):
        if not alive(pid):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("it still runs")


def alive(pid):
    """Whether a process runs; nobody may have read a dead one's status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
