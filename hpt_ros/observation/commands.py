# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Commands resampled onto ticks: the action half of a dataset's rows, and what the live policy sees of its past."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, Output
from hpt_ros.embodiment.kinds import CARTESIAN_POSE, CARTESIAN_TWIST, JOINT_VELOCITY
from hpt_ros.embodiment.rotations import angular_velocity, convert_rotations
from hpt_ros.errors import Refusal
from hpt_ros.observation.time_series import Sample, TimeSeries, nanoseconds

# How long a tick waits for a gripper's command of its own time, which is held and so needs none after it.
HELD_WAIT_S = 0.1


@dataclass
class CommandTrack:
    """Commands of every output by their time, and the action at a tick.

    Linear between the commands around it, orientations by their 6-D form, continuous joints the short way round and
    from -pi to pi however many turns a command counted; grippers hold their last command. A recording is complete, so
    a tick may wait for the command after it: `is_settled` says when waiting is over.
    """

    embodiment: Embodiment
    _tracks: tuple[TimeSeries, ...] = field(init=False)

    def __post_init__(self) -> None:
        robot = self.embodiment
        self._parts = robot.space.parts
        self._grippers = [
            np.array([name in robot.action.grippers for name in part.output.elements], dtype=bool)
            for part in self._parts
        ]
        self._tolerances_ns = [nanoseconds(part.output.tolerance_s) for part in self._parts]
        tracks = []
        for part, grippers in zip(self._parts, self._grippers, strict=True):
            # Ticks wait for at most this long; commands are sent ahead by at most the latency.
            span_s = 2.0 * self._wait_s(part.output, grippers) + part.output.latency_s + 2.0 / robot.tick_hz
            angles = robot.space.angles[part.action]
            capacity = 64 + 8 * math.ceil(span_s * robot.action.rate_hz)
            tracks.append(TimeSeries(capacity, angles=angles if angles.any() else None))
        self._tracks = tuple(tracks)
        self._waits_ns = [
            nanoseconds(self._wait_s(part.output, grippers)) + nanoseconds(part.output.latency_s)
            for part, grippers in zip(self._parts, self._grippers, strict=True)
        ]

    def push(self, time_ns: int, arrival_ns: int, vector: NDArray[np.float64], part: int = 0) -> None:
        """Add a command of an output (its position in `Action.parts`), as `decode_command` returns it."""
        self._tracks[part].insert(Sample(time_ns, arrival_ns, vector))

    def push_sent(
        self, time_ns: int, now_ns: int, position: NDArray[np.float64], velocity: NDArray[np.float64]
    ) -> None:
        """Add a command that was sent now.

        Args:
            time_ns: when the robot is to be there; outputs that are sent further ahead are later by that.
            now_ns: now.
            position, velocity: (dim,) of the control vector, see `hpt_ros.embodiment.action_space`.
        """
        space = self.embodiment.space
        for index, part in enumerate(self._parts):
            value = position[part.control]
            if part.output.kind == CARTESIAN_POSE:
                value = np.concatenate(
                    [value[:3], convert_rotations(value[None, 3:], "quaternion", "rotation_6d")[0]]
                )
            elif part.output.kind == CARTESIAN_TWIST:
                rate = velocity[part.control]
                value = np.concatenate([rate[:3], angular_velocity(value[3:], rate[3:])])
            elif part.output.kind == JOINT_VELOCITY:
                value = velocity[part.control]
            ahead_ns = nanoseconds(float(space.ahead_s[part.control.start]))
            self.push(time_ns + ahead_ns, now_ns, value, index)

    def is_settled(self, tick_ns: int, now_ns: int) -> bool:
        """True once the value at the tick cannot change any more: a command after it is there, or is overdue."""
        for track, wait_ns in zip(self._tracks, self._waits_ns, strict=True):
            newest = track.samples[-1].stamp_ns if track.samples else None
            if (newest is None or newest < tick_ns) and now_ns <= tick_ns + wait_ns:
                return False
        return True

    def value_at(self, tick_ns: int) -> NDArray[np.float64] | Refusal:
        """The action at the tick, float64 (dim,); else why there is none. Ticks must be asked for in order."""
        result = np.empty(self.embodiment.action.dim)
        refusal: Refusal | None = None
        for index, (part, track) in enumerate(zip(self._parts, self._tracks, strict=True)):
            value = self._value(index, tick_ns)
            track.forget_before(tick_ns)
            if isinstance(value, Refusal):
                named = value.within(part.output.name) if len(self._parts) > 1 else value
                refusal = refusal or named
            else:
                result[part.action] = value
        return refusal or self.embodiment.space.within_turn(result)

    def clear(self) -> None:
        """Forget all commands, after a clock jumped."""
        for track in self._tracks:
            track.samples.clear()

    def _value(self, index: int, tick_ns: int) -> NDArray[np.float64] | Refusal:
        track, tolerance_ns, grippers = self._tracks[index], self._tolerances_ns[index], self._grippers[index]
        before = track.find_held(tick_ns, tolerance_ns)
        value = track.interpolate(tick_ns, tolerance_ns)
        if isinstance(before, Refusal):
            return before
        if isinstance(value, Refusal):
            return value
        output = self._parts[index].output
        if output.kind == CARTESIAN_POSE:
            turned = convert_rotations(value[None, 3:], "rotation_6d", output.rotation)[0]
            return np.concatenate([value[:3], turned])
        return np.where(grippers, before.resolve(), value) if grippers.any() else value

    @staticmethod
    def _wait_s(output: Output, grippers: NDArray[np.bool_]) -> float:
        return min(output.tolerance_s, HELD_WAIT_S) if grippers.all() else output.tolerance_s
