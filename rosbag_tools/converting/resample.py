# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages of an episode to dataset rows: an observation and the command at the same tick."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, Output, Stream
from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.streams import BY_STAMP
from hpt_ros.errors import Code, Refusal
from hpt_ros.observation import (
    CommandTrack,
    DecodeError,
    InvalidSampleError,
    ObservationBuffer,
    Tick,
    decode,
    decode_command,
    measurement_time_ns,
    require_frame,
)
from hpt_ros.observation.buffer import JUMP_BACK_S
from hpt_ros.observation.image_size import image_size
from hpt_ros.observation.time_series import Absence, last_refused, nanoseconds
from hpt_ros.observation.transforms import TransformChain
from rosbag_tools.errors import BagError
from rosbag_tools.reading.decodable import MOST_ODD

# An angle that jumps by a turn but for this much, from one message to the next, in rad.
WRAP_NEAR = 1.0
JUMP = 2.0 * np.pi - WRAP_NEAR
_JUMP_BACK_NS = nanoseconds(JUMP_BACK_S)
ACTION = "action"  # the command's name among the streams, in reports
NOTHING_NEXT = Refusal(Absence.NO_NEXT, problem="no whole tick comes after it to take the position from")


@dataclass(frozen=True)
class Row:
    """A tick and the command at it.

    Attributes:
        tick: the observation.
        action: float64 (Da,); None if there is no command.
        missing: stream name (``"action"`` for the command) to why it has no value; empty if the row is complete.
    """

    tick: Tick
    action: NDArray[np.float64] | None
    missing: dict[str, Refusal]


@dataclass
class Resampler:
    """Takes an episode's messages in log-time order and gives its rows, in order, as soon as they are certain.

    Observations go through the `ObservationBuffer` that the robot runs; commands are interpolated at the tick.

    Args:
        embodiment: the robot.
        action_source: "command", or "state": then commands are not read, and `next_positions` gives the actions.
        measured: outputs whose actions are the measured positions a tick later, since the bag has no commands of them.
        optional: modalities whose streams may be absent from a row.
    """

    embodiment: Embodiment
    action_source: str = "command"
    optional: frozenset[str] = frozenset()
    measured: frozenset[str] = frozenset()
    _buffer: ObservationBuffer = field(init=False)
    _commands: CommandTrack = field(init=False)
    _waiting: deque[Tick] = field(default_factory=deque, init=False)

    def __post_init__(self) -> None:
        self._buffer = ObservationBuffer(self.embodiment, optional=self.optional)
        self._commands = CommandTrack(self.embodiment)
        outputs = self.embodiment.action.parts if self.action_source == "command" else ()
        self._outputs = {
            output.recorded_as.topic: number
            for number, output in enumerate(outputs)
            if output.name not in self.measured
        }
        self._standing = {
            number: measuring_stream(self.embodiment, output)
            for number, output in enumerate(outputs)
            if output.name in self.measured
        }
        # Streams that measure where a Cartesian command's tool is, in its frame.
        self._framed = {part.pose: part for part in self.embodiment.action.parts if part.cartesian}
        self._pictured = {stream.name for stream in self.embodiment.streams if stream.image is not None}
        streams = self.embodiment.streams
        self._late = {item.name for item in streams if item.message_type.decoded_late}
        self._guards = {item.name: partial(self._guard, item.name) for item in streams}
        self._streams: dict[str, list[str]] = {}
        self._chains: dict[str, TransformChain] = {}
        for stream in self.embodiment.streams:
            self._streams.setdefault(stream.topic, []).append(stream.name)
            if stream.frame:
                self._chains[stream.name] = TransformChain(stream)
                self._streams.setdefault(stream.static_topic, []).append(stream.name)
        self._newest_ns: dict[str, int] = {}  # by topic
        self._plans: dict[int, tuple[Any, int]] = {}  # by output: a trajectory, and when it is looked at next
        # By stream and by output the joints whose angles are plain numbers, "" for other elements.
        self._angles = {
            stream.name: [_angle(name, stream.unit) for name in stream.names]
            for stream in self.embodiment.state_streams
            if stream.joints and not (stream.partial or stream.holds)
        }
        endless = {limit.name for limit in self.embodiment.action.limits if limit.continuous}
        self._turning = [
            ["" if name in endless or part.unit != "rad" else name for name in part.names]
            if part.kind == JOINT_POSITION
            else None
            for part in self.embodiment.action.parts
        ]
        self._before: dict[str, list[float]] = {}
        self.wrapped: dict[str, str] = {}
        self._refused: Refusal | None = None
        self.refused: dict[str, str] = {}
        self._fitting, self._odd_count = Counter[str](), Counter[str]()  # messages, by stream or ACTION
        self._odd: dict[str, DecodeError] = {}  # what was wrong with the first of them
        self.resized: dict[str, str] = {}
        self._sizes: dict[str, tuple[int, int]] = {}  # height and width, by stream

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics whose messages `push` takes."""
        return tuple(dict.fromkeys([*self._streams, *self._outputs]))

    @property
    def unfit(self) -> dict[str, int]:
        """How many messages of each stream, and of the commands, did not fit the embodiment file."""
        return dict(self._odd_count)

    def push(self, topic: str, message: Any, log_ns: int) -> list[Row]:
        """Take a message; returns the rows that it made certain.

        Raises:
            DecodeError: the message does not fit the embodiment file, as more before it than did, by `MOST_ODD`.
        """
        resets = self._buffer.resets
        if ticks := self._buffer.ticks_ready(log_ns):
            self._waiting.extend(ticks)
            self._note_refused(self._buffer.find_refused())  # some messages are decoded for a tick only
        if self._plans:
            self._follow_plans(log_ns)
        rows = self._flush() if self._buffer.resets != resets else []
        given = message
        for name in self._streams.get(topic, ()):
            message = given
            if name in self._chains:
                if (pose := self._apply_transforms(name, given)) is None:
                    continue
                message = pose
            if name in self._pictured:
                self._look_at_size(name, message)
            try:
                if name in self._framed:
                    require_frame(self._framed[name], message, f"stream {name!r} (topic {topic})")
                restart = self._buffer.push_message(
                    name, message, log_ns, defer=True, guard=self._guards[name]
                )
            except DecodeError as error:
                self._look_at_odd(name, error)
                continue
            self._fitting[name] += name not in self._late
            if restart is not None:
                rows += self._flush()
            if why := self._buffer.find_refused(name):
                self._note_refused(why)
            if name in self._angles:
                self._look_at_turns(name)
            if self._standing:
                self._push_measured(name, message, log_ns)
        if topic in self._outputs:
            rows += self._push_command(topic, given, log_ns)
        while self._waiting and self._is_settled(self._waiting[0].stamp_ns, log_ns):
            rows.append(self._row(self._waiting.popleft()))
        return rows

    def restart(self, reason: str) -> list[Row]:
        """Begin again, since what follows is no continuation; rows that wait get the commands that there are."""
        self._waiting.extend(self._buffer.ticks_ready())
        rows = self._flush()
        self._buffer.reset(reason)
        return rows

    def finish(self) -> list[Row]:
        """Rows that still wait for a command after them, when no message will come any more.

        Raises:
            DecodeError: no message of a stream or of the commands fitted the embodiment file.
        """
        for name, error in self._odd.items():
            if not self._fitting[name]:
                raise error
        self._waiting.extend(self._buffer.ticks_ready())
        return self._flush()

    def _note_refused(self, refused: Mapping[str, Refusal]) -> None:
        self.refused.update({name: str(why) for name, why in refused.items()})

    def _guard(self, name: str, decode_later: Callable[[], NDArray[Any]]) -> Callable[[], NDArray[Any]]:
        """Count whether a message fits when a tick needs it, which is when it shows."""

        def decode() -> NDArray[Any]:
            try:
                value = decode_later()
            except InvalidSampleError:
                raise
            except DecodeError as error:
                self._look_at_odd(name, error)
                raise InvalidSampleError.of(error.refusal) from error
            self._fitting[name] += 1
            return value

        return decode

    def _look_at_odd(self, name: str, error: DecodeError) -> None:
        """Note a message that does not fit the file: it does not count if others do, and else is the file's fault."""
        self._odd.setdefault(name, error)
        self._odd_count[name] += 1
        if self._odd_count[name] > self._fitting[name] + MOST_ODD:
            raise self._odd[name]
        self.refused[name] = str(error)

    def _apply_transforms(self, name: str, message: Any) -> Any:
        """The pose that a message of transforms makes known; None if it is no news."""
        chain = self._chains[name]
        try:
            pose = chain.take(message)
        except InvalidSampleError as error:
            self.refused[name] = str(error)
            return None
        return pose

    def _push_measured(self, name: str, message: Any, log_ns: int) -> None:
        """Let what a stream measures stand for the commands of outputs that have none, a tick earlier."""
        for number, (stream, order) in self._standing.items():
            if stream.name != name:
                continue
            try:
                positions = decode(stream, message)[order]
            except InvalidSampleError:
                continue  # it does not count for the state either
            if np.isfinite(positions).all():
                at_ns = measurement_time_ns(stream, message, log_ns) - nanoseconds(self.embodiment.dt_s)
                self._commands.push(at_ns, log_ns, positions, number)

    def _look_at_turns(self, name: str) -> None:
        """Note that an angle jumped from one end to the other: its joint turns without end, and nobody said so."""
        if (newest := self._buffer.newest(name)) is not None:
            self._note_turns(name, newest[1], self._angles[name])

    def _note_turns(self, source: str, vector: NDArray[np.float64], names: Sequence[str]) -> None:
        values, before = vector.tolist(), self._before.get(source)
        self._before[source] = values
        if before is None or math.dist(values, before) < 0.99 * JUMP:
            return  # none by so much, as nearly always
        for name, at, was in zip(names, values, before, strict=False):
            if abs(at - was) > JUMP and name and name not in self.wrapped:
                self.wrapped[name] = f"from {was:.2f} to {at:.2f} rad"

    def _look_at_size(self, name: str, message: Any) -> None:
        """Note that images came in another size than before: one view became another, or was squeezed."""
        if (size := image_size(message)) is None:
            return
        before = self._sizes.setdefault(name, size)
        if size != before and name not in self.resized:
            self.resized[name] = f"from {before[1]}x{before[0]} to {size[1]}x{size[0]} pixels"

    def _push_command(self, topic: str, message: Any, log_ns: int) -> list[Row]:
        rows: list[Row] = []
        number = self._outputs[topic]
        output = self.embodiment.action.parts[number]
        try:
            time_ns, vector = decode_command(output, message, log_ns)
        except DecodeError as error:
            if not isinstance(error, InvalidSampleError):
                self._look_at_odd(ACTION, error)
            self._refused, self.refused[ACTION] = error.refusal, str(error)
            return rows
        self._fitting[ACTION] += 1
        self._refused = None
        if (names := self._turning[number]) is not None:
            self._note_turns(f"output {number}", vector, names)
        newest_ns = self._newest_ns.get(topic, time_ns)
        if time_ns < newest_ns - _JUMP_BACK_NS:
            self._buffer.reset(f"the stamps of the commands on {topic} went back")
            rows = self._flush()
            newest_ns = time_ns
        self._newest_ns[topic] = max(newest_ns, time_ns)
        self._commands.push(time_ns, log_ns, vector, number)
        self._plans.pop(number, None)
        if len(getattr(message, "points", ())) > 1 and output.time == BY_STAMP:
            self._plans[number] = (message, log_ns + nanoseconds(output.tolerance_s / 2))
        return rows

    def _follow_plans(self, now_ns: int) -> None:
        """Where trajectories of several points are by now, if no newer one came: controllers get them once."""
        period_ns = nanoseconds(1.0 / self.embodiment.action.rate_hz)
        for number, (message, next_ns) in list(self._plans.items()):
            output, at_ns = self.embodiment.action.parts[number], next_ns
            while at_ns <= now_ns:
                time_ns, vector = decode_command(output, message, at_ns)
                if time_ns <= at_ns:
                    self._commands.push(time_ns, at_ns, vector, number)
                if time_ns < at_ns:  # its end
                    del self._plans[number]
                    break
                at_ns += period_ns
            else:
                self._plans[number] = (message, at_ns)

    def _is_settled(self, tick_ns: int, log_ns: int) -> bool:
        return self.action_source != "command" or self._commands.is_settled(tick_ns, log_ns)

    def _flush(self) -> list[Row]:
        """All waiting rows, with the commands that there are: after them a clock jumped, or the episode ended."""
        rows = [self._row(tick) for tick in self._waiting]
        self._waiting.clear()
        self._commands.clear()
        self._newest_ns.clear()
        self._plans.clear()
        self._before.clear()
        return rows

    def _row(self, tick: Tick) -> Row:
        value = self._commands.value_at(tick.stamp_ns)
        missing = {
            name: replace(reason, cause=self._chains[name].problem()) if name in self._chains else reason
            for name, reason in tick.missing.items()
        }
        if isinstance(value, Refusal):
            missing[ACTION] = last_refused(value, self._refused)
            return Row(tick, None, missing)
        return Row(tick, value, missing)


def measuring_stream(robot: Embodiment, output: Output) -> tuple[Stream, list[int]]:
    """The stream that measures all joints of an output, and where its positions stand in the stream's vector.

    Raises:
        BagError: there is none.
    """
    wanted = [f"{joint}.position" for joint in output.joints]
    for stream in robot.state_streams:
        if wanted and set(wanted) <= set(stream.names):
            return stream, [stream.names.index(name) for name in wanted]
    raise BagError(
        Code.MISSING, f"the output {output.name!r}", list(output.joints),
        problem="cannot be measured: no state stream has the positions of "
        f"{', '.join(output.joints) or 'what it commands'}",
        remedy="add one to the embodiment file, or record its commands",
    )  # fmt: skip


def _angle(element: str, unit: str) -> str:
    """The joint of an element that is its angle; empty for other elements, as cosine and sine."""
    joint = element.removesuffix(".position")
    return joint if joint != element and unit in ("", "rad") else ""


def next_positions(embodiment: Embodiment, rows: Iterable[Row]) -> Iterator[Row]:
    """The same rows, whose action is the measured pose of what is commanded at the tick after.

    An episode's last row has none, nor has a row before a gap: it is missing its action.

    Raises:
        EmbodimentError: the pose of what is commanded is not observed, or twists are commanded.
    """
    space = embodiment.space
    space.states.require_positions()
    before: Row | None = None
    for row in rows:
        missing = {name: reason for name, reason in row.missing.items() if name != ACTION}
        if before is not None:
            follows = not missing and not row.tick.restart and row.tick.index == before.tick.index + 1
            yield _with_action(before, space.states.action(row.tick.state) if follows else None)
        before = Row(row.tick, None, missing)
    if before is not None:
        yield _with_action(before, None)


def _with_action(row: Row, action: NDArray[np.float64] | None) -> Row:
    if action is None:
        return Row(row.tick, None, {**row.missing, ACTION: NOTHING_NEXT})
    return Row(row.tick, action, row.missing)
