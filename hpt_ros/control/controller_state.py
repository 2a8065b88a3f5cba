# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a controller takes in, gives out and remembers from one activation to its end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hpt_ros.control.chunk import Chunk, Vector
from hpt_ros.control.curve import Curve
from hpt_ros.control.holding import Cause, HoldTimes, Missing
from hpt_ros.control.inference_health import InferenceHealth
from hpt_ros.control.refusals import Why, append_reason, join
from hpt_ros.control.safety import LimitedCommand
from hpt_ros.errors import Refusal

COUNTERS = (
    "commands_sent",
    "clamped_position",
    "clamped_velocity",
    "clamped_acceleration",
    "slowed_before_limit",
    "workspace_stops",
    "nonfinite_refused",
    "wrong_size_refused",
    "jumps_refused",
    "chunks",
    "chunks_refused_late",
    "chunks_refused_future",
    "late_actions_dropped",
    "inference_errors",
    "invalid_messages",
    "stale_stops",
    "frozen_stops",
    "tracking_stops",
    "deadman_stops",
    "scaling_stops",
    "unheard_stops",
    "contested_stops",
    "inferences_hung",
    "exhausted_stops",
    "operator_stops",
    "command_gaps",
    "clock_jumps",
    "faults",
)

USED_UP = Refusal(Why.USED_UP, "the chunk", problem="is used up and no new one has come")


@dataclass(frozen=True, slots=True)
class StreamRate:
    """An observed stream and the rate at which it is expected; with `holds`, only while it moves."""

    name: str
    rate_hz: float
    holds: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """Where the robot is to be, and when: one point, for whoever takes one alone, and the curve that it lies on.

    Attributes:
        time_ns: when the robot is to be there: a period, and the output's latency, after now.
        position, velocity: (dim,), in the action's unit; the curve's at that time.
        curve: all that the robot is commanded now: from the past to rest.
        now_ns: when it was made.
        chunk: the chunk that this command is the first to come from, or None.
        pace: how fast the robot's controller goes along a trajectory that it is sent.
    """

    time_ns: int
    position: Vector
    velocity: Vector
    curve: Curve
    now_ns: int
    chunk: Chunk | None = None
    pace: float = 1.0

    def later(self, by_ns: int) -> Command:
        """The same on another clock, which is ahead by that."""
        return replace(
            self, time_ns=self.time_ns + by_ns, curve=self.curve.later(by_ns), now_ns=self.now_ns + by_ns
        )

    def of(self, part: slice, ahead_ns: int = 0) -> Command:
        """Of some dimensions, which are due that much later."""
        return replace(
            self,
            time_ns=self.time_ns + ahead_ns,
            position=self.position[part],
            velocity=self.velocity[part],
            curve=self.curve.of(part).later(ahead_ns),
        )


@dataclass(slots=True)
class ControllerState:
    """One activation; a new one remembers nothing."""

    enabled: bool = False
    reason: Refusal | None = None  # why HOLDING or FAULT
    missing: Missing | None = None  # what keeps it from RUNNING
    stale: dict[str, Refusal] = field(default_factory=dict)
    measured: Vector | None = None
    blocked: Refusal | None = None  # why the robot is braked at the workspace's edge while RUNNING
    inference: InferenceHealth = field(default_factory=InferenceHealth)
    pending: Chunk | None = None  # newest chunk while not RUNNING
    unused: Chunk | None = None  # newest chunk that no command came from yet
    taken: Chunk | None = None  # newest chunk of the queue, by control time
    used: Chunk | None = None  # newest chunk that a command comes from, until that is sent
    margin_s: float = float("nan")  # for how long the robot had known its motion when the last period began
    hold_times: HoldTimes = field(default_factory=HoldTimes)
    last_now_ns: int | None = None
    sent_ns: int | None = None  # when the last command was made
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))

    def count_limits(self, output: LimitedCommand) -> None:
        """Count the limits that acted on a command."""
        self.counters["clamped_position"] += output.position_clamped
        self.counters["clamped_velocity"] += output.velocity_clamped
        self.counters["clamped_acceleration"] += output.acceleration_clamped
        self.counters["slowed_before_limit"] += output.slowed

    @property
    def waiting_for(self) -> Refusal | None:
        """What keeps the robot from running: the end of "waiting for"; None if nothing does."""
        return None if self.missing is None else self.missing.wanted

    def find_missing(
        self, time_ns: int, unheard: Refusal | None, released: Refusal | None, *, braking: bool
    ) -> Missing | None:
        """Return what keeps the robot from running; None if nothing does. A chunk that is of no use is dropped.

        Args:
            time_ns: of the command that would be the first.
            unheard: why commands would reach nobody; None if they reach somebody.
            released: why a person or the robot itself does not permit motion; None if they do.
            braking: whether the robot must come to rest first.
        """
        if not self.enabled:
            task = Refusal(Why.NO_TASK, "a task")
            return Missing(Cause.TASK, task, Refusal(Why.NO_TASK, "there", problem="is no task"))
        if (stale := join(self.stale.values())) is not None:
            self.pending = None
            return Missing(Cause.INPUT, stale, stale)
        if unheard is not None:
            return Missing(Cause.LINK, unheard, reach_nobody(unheard))
        if released is not None:
            held = Refusal(released.code, "the robot", released, problem=f"waits for {released}")
            return Missing(Cause.PERMISSION, released, held)
        if self.measured is None:
            pose = Refusal(Why.UNMEASURED, "the measured pose")
            return Missing(Cause.INPUT, pose, Refusal(pose.code, pose.subject, problem="has not come"))
        if self.pending is None:
            first = append_reason(
                Refusal(Why.NO_CHUNK, "the policy's first chunk"), self.inference.reason_no_chunk
            )
            return Missing(Cause.CHUNK, first, self.no_chunk)
        if self.pending.end_ns <= time_ns:
            self.pending = None
            late = Refusal(Why.LATE, "chunks", problem="come after the time of their last action")
            return Missing(Cause.CHUNK, Refusal(Why.LATE, "a chunk", problem="that is not late"), late)
        if braking:
            rest = Refusal(Why.BRAKING, "the robot", problem="to come to rest")
            return Missing(
                Cause.BRAKING, rest, Refusal(Why.BRAKING, "the robot", problem="is not at rest yet")
            )
        return None

    @property
    def no_chunk(self) -> Refusal:
        """Why HOLDING goes on while no chunk comes, with what is known of the policy by now."""
        none = Refusal(Why.NO_CHUNK, "no new chunk", problem="has come")
        return append_reason(USED_UP if self._used_up else none, self.inference.reason_no_chunk)

    def explain_hold(self) -> Refusal | None:
        """Return why HOLDING began, with what is known of the policy by now: more may be than when it began."""
        if self._used_up or self.reason is None:
            return self.no_chunk if self._used_up else None
        return append_reason(self.reason, self.inference.hung)

    @property
    def _used_up(self) -> bool:
        return self.reason is not None and self.reason.code is Why.USED_UP


def reach_nobody(unheard: Refusal) -> Refusal:
    """Return that commands reach nobody, with why."""
    return Refusal(unheard.code, "commands", unheard, problem=f"reach nobody, they want {unheard}")
