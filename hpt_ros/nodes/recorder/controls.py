# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Starts and ends of episodes beside the services: commands on a topic, buttons of a joystick, keys of a terminal."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Joy
from std_msgs.msg import String

from hpt_msgs.msg import EpisodeEvent
from hpt_ros.embodiment.streams import check_topic
from hpt_ros.errors import Code, HptError, Refusal, did_you_mean
from hpt_ros.nodes.common.clocks import steady_timer
from hpt_ros.structured import field

# Word -> what it does; "start" takes the task's text after it.
WORDS = ("start", "success", "failure", "stop", "discard")
OUTCOMES: Mapping[str, int] = {
    "success": EpisodeEvent.OUTCOME_SUCCESS,
    "failure": EpisodeEvent.OUTCOME_FAILURE,
    "stop": EpisodeEvent.OUTCOME_UNKNOWN,
}
KEYS: Mapping[str, str] = {
    " ": "start", "s": "start", "y": "success", "n": "failure", "e": "stop", "x": "discard",
}  # fmt: skip
TOPIC = "~/command"
TOPIC_HELP = "(std_msgs/String): start [task], success, failure, stop, discard; or the services"
KEYS_HELP = (
    "keys: space or s start, y success, n failure, e stop with unknown outcome, x discard; Ctrl-C ends"
)
NO_BUTTON = -1
MOST_BUTTONS = 64
KEYS_S = 0.05  # how often typed keys are looked at


def _button(word: str) -> Any:
    return field(
        f"button for {word}; {NO_BUTTON}: none",
        default=NO_BUTTON,
        minimum=NO_BUTTON,
        maximum=MOST_BUTTONS - 1,
    )


def controls_help(node: Node, *, keys: bool) -> str:
    """How a person starts and ends episodes: the topic, by the name that it has on the graph, and the keys."""
    lines = [f"topic {node.resolve_topic_name(TOPIC)} {TOPIC_HELP}"]
    return "\n".join(lines + [KEYS_HELP] * keys)


@dataclass(frozen=True, slots=True)
class JoyConfig:
    """Index of a joystick's button for each of `WORDS`."""

    start: int = _button("start")
    success: int = _button("success")
    failure: int = _button("failure")
    stop: int = _button("stop")
    discard: int = _button("discard")


class Recorder(Protocol):
    """What the controls need of the recorder."""

    @property
    def recording(self) -> bool:
        """True while an episode is being recorded."""
        ...

    def start_episode(self, task: str = "", operator: str = "") -> Any:
        """Begin an episode."""
        ...

    def stop_episode(self, outcome: int, note: str = "") -> Any:
        """End the episode and keep it."""
        ...

    def discard_episode(self) -> None:
        """End the episode and delete it."""
        ...


def obey(recorder: Recorder, command: str) -> Refusal | None:
    """Do what a command says.

    Args:
        recorder: whose episode.
        command: one of `WORDS`; after "start" the task's text.

    Returns:
        Why it was not done; None if it was.
    """
    word, _, rest = command.strip().partition(" ")
    if word not in WORDS or (rest and word != "start"):
        remedy = did_you_mean(word, WORDS).removeprefix("; ") or "a task's text may follow start"
        return Refusal(Code.UNKNOWN, "the command", command[:60], f"one of {', '.join(WORDS)}", remedy)
    try:
        if word == "start":
            recorder.start_episode(rest.strip())
        elif word == "discard":
            recorder.discard_episode()
        else:
            recorder.stop_episode(OUTCOMES[word])
    except HptError as error:
        return error.refusal
    return None


class Buttons:
    """Presses of a joystick's buttons: a press counts once, however long it is held."""

    def __init__(self, commands: Mapping[int, str]) -> None:
        """Start with nothing seen; `commands` maps a button's index to a word."""
        self._commands = commands
        # None before the first message: what is held then was not pressed now.
        self._held: set[int] | None = None

    def find_pressed(self, buttons: list[int]) -> list[str]:
        """Commands of the buttons that went down since the last message."""
        now = {index for index, value in enumerate(buttons) if value}
        before = now if self._held is None else self._held
        self._held = now
        return [word for index, word in sorted(self._commands.items()) if index in now - before]


class RecorderControls:
    """Topic, joystick and keys of one recorder node.

    Where start and success share a button it starts and, while recording, ends with success.
    """

    def __init__(self, node: Any, joy_topic: str, joy: JoyConfig) -> None:
        """Subscribe; to the joystick only if a button has a word.

        Raises:
            HptError: its topic has no ROS 2 name.
        """
        self._node = node
        self.keys: queue.SimpleQueue[str] = queue.SimpleQueue()
        buttons = {word: getattr(joy, word) for word in WORDS}
        self._buttons = {
            word: Buttons({index: word}) for word, index in buttons.items() if index != NO_BUTTON
        }
        node.create_subscription(String, TOPIC, lambda message: self._do(str(message.data)), 10)
        if self._buttons:
            check_topic(joy_topic, "the parameter joy_topic")
            node.create_subscription(Joy, joy_topic, self._on_joy, qos_profile_sensor_data)
        steady_timer(node, KEYS_S, self._on_keys)

    def _do(self, command: str) -> None:
        refusal = obey(self._node, command)
        if refusal:
            self._node.get_logger().warning(f"not done: {refusal}")

    def _on_joy(self, message: Joy) -> None:
        buttons = [int(value) for value in message.buttons]
        events = [word for watch in self._buttons.values() for word in watch.find_pressed(buttons)]
        if "start" in events and "success" in events:  # one button for both
            events.remove("success" if not self._node.recording else "start")
        for word in events:
            self._do(word)

    def _on_keys(self) -> None:
        while not self.keys.empty():
            key = self.keys.get()
            if key in KEYS:
                self._do(KEYS[key])
