# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Words, buttons and keys that start and end episodes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.recorder.controls import KEYS, WORDS, Buttons, obey


class Recorder:
    """Notes what it is commanded."""

    def __init__(self, refusal=None):
        self.done, self.refusal, self.recording = [], refusal, False

    def _note(self, *what):
        if self.refusal:
            raise self.refusal
        self.done.append(what)

    def start_episode(self, task="", operator=""):
        self._note("start", task)

    def stop_episode(self, outcome, note=""):
        self._note("end", outcome)

    def discard_episode(self):
        self._note("discard")


@pytest.mark.parametrize(
    ("command", "done"),
    [
        ("start", ("start", "")),
        (" start pour the kibble ", ("start", "pour the kibble")),
        ("success", ("end", 1)),
        ("failure", ("end", 2)),
        ("stop", ("end", 0)),
        ("discard", ("discard",)),
    ],
)
def test_when_told_by_a_word_expect_it_done(command, done):
    recorder = Recorder()
    assert obey(recorder, command) is None
    assert recorder.done == [done]


@pytest.mark.parametrize("command", ["", "begin", "discard it", "sucess"])
def test_when_the_word_is_unknown_expect_a_sentence_and_nothing_done(command):
    recorder = Recorder()
    assert "expected one of start, success" in str(obey(recorder, command))
    assert recorder.done == []


def test_when_the_recorder_refuses_expect_its_reason():
    refusal = HptError(Code.MISSING, "the camera")
    assert obey(Recorder(refusal), "start") == refusal.refusal


def test_every_key_has_a_word_and_every_word_a_key():
    assert set(KEYS.values()) == set(WORDS)


def test_when_a_button_is_held_expect_one_press_and_none_for_what_was_held_at_first():
    buttons = Buttons({0: "start", 3: "discard"})
    assert buttons.find_pressed([1, 0, 0, 0]) == []  # held since before the node began
    assert buttons.find_pressed([0, 0, 0, 0]) == []
    assert buttons.find_pressed([1, 0, 0, 0]) == ["start"]
    assert buttons.find_pressed([1, 0, 0, 1]) == ["discard"]
    assert buttons.find_pressed([1]) == []


def test_when_keys_are_typed_expect_them_one_by_one_and_the_terminal_as_it_was_afterwards():
    code = (
        "import queue, sys; from hpt_ros.teleoperation.keyboard import Keyboard\n"
        "typed = queue.SimpleQueue(); Keyboard(typed.put).start(); print('ready', flush=True)\n"
        "print(*[typed.get(timeout=30) for _ in range(3)], flush=True)"
    )
    parent, child = pty.openpty()
    before = os.popen(f"stty -a < {os.ttyname(child)}").read()
    process = subprocess.Popen([sys.executable, "-c", code], stdin=child, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for key in b"syx":
        os.write(parent, bytes([key]))
    assert process.stdout.readline() == "s y x\n"
    assert process.wait(30) == 0
    assert os.popen(f"stty -a < {os.ttyname(child)}").read() == before
    os.close(parent)
    os.close(child)


def test_when_it_runs_in_a_namespace_expect_the_topic_by_its_full_name(tmp_path):
    words = (
        "record",
        "--embodiment",
        "feed_dog",
        "--out",
        tmp_path / "bags",
        "--namespace",
        "left",
        "--name",
        "rec",
    )
    with subprocess.Popen(
        [sys.executable, "-m", "hpt_ros", *map(str, words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        shown = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert shown.startswith("topic /left/rec/command (std_msgs/String): start [task], ")


def test_when_the_joysticks_topic_can_be_no_name_expect_a_sentence(tmp_path):
    """Pinned: `hpt teleop` and the recorder ended with a trace of rclpy's."""
    words = [
        "record",
        "--all",
        "--out",
        str(tmp_path),
        "--ros-args",
        "-p",
        "joy.start:=1",
        "-p",
        "joy_topic:='my joy'",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "hpt_ros", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("hpt record: error: the parameter joy_topic, topic is 'my joy'")
