# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt teleop` through a pseudo-terminal, as a person types: keys in, motion and bags out, which conversion takes."""

from __future__ import annotations

import signal
import subprocess
import sys
import termios
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.typist import WAIT_S, Typist

from hpt_ros.cli.main import main


def test_keys_move_the_arm_and_keep_episodes_that_convert(tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    person = Typist("--env", "feed_dog", "--out", str(bags), "--seed", "7", "--operator", "Ada")
    address = person.wait_for(r"http://127\.0\.0\.1:\d+/")
    with urllib.request.urlopen(address, timeout=WAIT_S) as page:
        assert b"/stream" in page.read()
    with urllib.request.urlopen(f"{address}stream", timeout=WAIT_S) as stream:
        data = b""
        while data.count(b"\xff\xd8\xff") < 2:  # JPEGs begin so: it goes on
            data += stream.read(4096)
    person.type(" ")
    person.wait_for("recording scene 7")
    person.hold("w", 1.5)
    person.type("]")
    person.hold("r", 2.2)
    person.type("y")
    person.wait_for("kept as a success")
    person.type(" ")
    person.hold("d", 0.5)
    person.type("x")
    person.wait_for("scene 8 is discarded")
    person.type("q")
    assert person.end() == 0
    assert "1 bags in" in person.text
    assert termios.tcgetattr(person.far) == person.before

    assert [path.name for path in bags.iterdir()] == ["feed_dog_00000007"]
    assert main(["convert", str(bags), "--out", str(tmp_path / "dataset"), "--workers", "1"]) == 0
    (file,) = (tmp_path / "dataset" / "data").rglob("*.parquet")
    table = pq.read_table(file)
    state = np.array(table["observation.state"].to_pylist())
    action = np.array(table["action"].to_pylist())
    assert len(table) >= 10
    assert np.ptp(state, axis=0).max() > 0.05  # it moved
    assert np.abs(np.diff(action, axis=0)).max() * 10.0 < 2.2  # and not faster than its limits


def test_when_it_is_interrupted_expect_no_half_bag_and_the_terminal_as_it_was(tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    person = Typist("--out", str(bags))
    person.wait_for("images: ")
    person.type(" ")
    person.wait_for("recording")
    person.process.send_signal(signal.SIGTERM)
    assert person.end() == 130
    assert "interrupted" in person.text
    assert list(bags.iterdir()) == []
    assert termios.tcgetattr(person.far) == person.before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "standard input is no terminal"),
        (["--env", "feed_cat"], "feed_dog"),
        (["--port", "70000"], "--port is 70000"),
        (["--joy", "/joy", "--layout", "wheel"], "gamepad, spacemouse"),
        (["--joy", "my joy"], "--joy, topic is 'my joy', expected a ROS 2 name"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], message: str) -> None:
    words = [sys.executable, "-m", "hpt_ros", "teleop", *arguments]
    stdin = subprocess.DEVNULL
    if "feed_cat" in arguments:
        person = Typist(*arguments)
        assert person.end() == 2
        error = person.text
    else:
        done = subprocess.run(words, stdin=stdin, capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == 2
        error = done.stderr
    assert message in error
    assert len(error.strip().splitlines()) == 1
