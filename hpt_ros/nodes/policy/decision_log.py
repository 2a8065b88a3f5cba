# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A log of what the policy node decided, and why: one MCAP bag an activation, written off the control loop.

| topic | type | when |
| --- | --- | --- |
| ~/decisions | rcl_interfaces/Log | a state was left, a counter rose, a chunk was taken or refused, an input was lost |
| ~/chunk | hpt_msgs/ActionChunk | each chunk, refused ones too |
| the topics of the embodiment file's action | the types that it says | each command |
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import Log
from rclpy.serialization import serialize_message
from rosbags.typesys.store import Typestore

from hpt_ros.control import State
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.conversions import to_action_chunk, to_time
from hpt_ros.nodes.policy.outputs import robot_senders
from hpt_ros.runtime.policy_runtime import PolicyRuntime, Step
from rosbag_tools.errors import BagError
from rosbag_tools.recording.definitions import load_installed_types
from rosbag_tools.recording.episode_recording import EpisodeRecording, RecordedTopic

TYPES = {
    "decisions": "rcl_interfaces/msg/Log",
    "chunk": "hpt_msgs/msg/ActionChunk",
}
WAITING_KEPT = 20_000  # messages: more than a minute at 200 a second; then the disk does not keep up
# Counters that rise all the time; each command and chunk is in the log itself.
UNLOGGED = frozenset({"commands_sent", "chunks"})
_LEVELS = {State.FAULT: Log.ERROR, State.HOLDING: Log.WARN}


@dataclass
class DecisionLog:
    """Notified of each control period, never waits; a disk that is full ends the log and not the robot's work.

    Args:
        folder: where the bag's folder goes; made if it is not there.
        node: full name of the node.
        runtime: whose decisions they are.

    Attributes:
        failed: why the log ended early, a sentence; empty if it did not.
        dropped: messages that did not fit into what waits for the disk.

    Raises:
        HptError: the folder or the bag cannot be made.
    """

    folder: Path
    node: str
    runtime: PolicyRuntime
    failed: str = field(default="", init=False)
    dropped: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        robot = self.runtime.embodiment
        self._topics = {
            "decisions": f"{self.node}/decisions",
            "chunk": f"{self.node}/chunk",
        }
        senders = robot_senders(robot)
        self._senders = [item.target() if item.output.is_action else item for item in senders]
        sent = {sender.topic: sender.type for sender in self._senders}
        self._topics |= {topic: topic for topic in sent}
        self._message_types = {self._topics[what]: type_ for what, type_ in TYPES.items()} | sent
        self._types: Typestore = load_installed_types(self._message_types.values())
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HptError(
                Code.UNWRITABLE, "the parameter log_decisions", str(self.folder),
                problem="names the folder {value}, which cannot be made", remedy="name one that can be written",
                cause=error,
            ) from error  # fmt: skip
        at = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
        self._recording = EpisodeRecording(
            self.folder,
            f"decisions-{at}",
            {topic: RecordedTopic(type_) for topic, type_ in self._message_types.items()},
            self._types,
            {
                "hpt_ros_checkpoint": self.runtime.loaded.checkpoint,
                "hpt_ros_embodiment": robot.to_yaml(),
                "hpt_ros_deployment": "\n".join(self.runtime.loaded.deployed),
            },
        )
        self._state: State = State.INACTIVE
        self._counters: dict[str, int] = {}  # the runtime begins to count at activation
        self._waiting: queue.Queue[tuple[str, int, Callable[[], Any]] | None] = queue.Queue(WAITING_KEPT)
        self._thread = threading.Thread(target=self._write, name="decisions", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The bag's folder."""
        return self._recording.path

    def step(self, step: Step, now_ns: int) -> None:
        """Note one control period."""
        controller, robot = self.runtime.controller, self.runtime.embodiment
        if controller.state is not self._state:
            words = f"{self._state.name} -> {controller.state.name}"
            reason = controller.reason
            self.say(
                words if reason is None else f"{words}: {reason}",
                now_ns,
                _LEVELS.get(controller.state, Log.INFO),
            )
            self._state = controller.state
        counters = self.runtime.all_counters()
        if counters != self._counters:
            for name, value in counters.items():
                if value > self._counters.get(name, 0) and name not in UNLOGGED:
                    self.say(f"{name}: {value}", now_ns, Log.DEBUG)
            self._counters = counters
        if step.result is not None:
            at = step.result.request.observation.stamp_ns
            outcome = "taken" if step.problem is None else f"refused: {step.problem}"
            level = Log.INFO if step.problem is None else Log.WARN
            self.say(f"the chunk of tick {at} ns was {outcome}", now_ns, level)
            if step.result.values is not None and step.result.values.ndim == 2:
                self._put("chunk", now_ns, partial(to_action_chunk, step.result, robot, now_ns))
        for _, problem in (*step.complaints, *step.lost):
            self.say(str(problem), now_ns, Log.WARN)
        if step.internal is not None:
            self.say(step.internal, now_ns, Log.WARN)
        if step.command is not None:
            for sender in self._senders:
                self._put(sender.topic, now_ns, partial(sender.message, step.command, now_ns))

    def say(self, words: str, now_ns: int, level: Any = Log.INFO) -> None:
        """Note a decision as text."""
        log = partial(Log, level=int.from_bytes(level, "little") if isinstance(level, bytes) else level)
        self._put("decisions", now_ns, lambda: log(stamp=to_time(now_ns), name=self.node, msg=words))

    def close(self) -> None:
        """Write what waits, and the index."""
        self._waiting.put(None)
        self._thread.join()

    def _put(self, what: str, now_ns: int, make: Callable[[], Any]) -> None:
        try:
            self._waiting.put_nowait((what, now_ns, make))
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        while (entry := self._waiting.get()) is not None:
            what, log_ns, make = entry
            if self.failed:
                continue
            try:
                topic = self._topics[what]
                self._recording.write(topic, log_ns, self._serialize(make(), self._message_types[topic]))
            except BagError as error:
                self.failed = str(error)
        if self.failed:
            self._recording.abort()
            return
        try:
            self._recording.finish({"hpt_ros_dropped": str(self.dropped)})
        except BagError as error:
            self.failed = str(error)

    def _serialize(self, message: Any, type_: str) -> bytes:
        """Without the bytes that rclpy leaves after a message, over which readers stumble."""
        data: bytes = serialize_message(message)
        definition = self._types.get_msgdef(type_)
        _, length = definition.deserialize_cdr_le(data[4:], 0, definition.cls, self._types)
        return data[: 4 + length]
