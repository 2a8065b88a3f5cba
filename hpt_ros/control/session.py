"""What a controller takes in, gives out and remembers from one activation to its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpt_ros.control.chunk import Chunk, Vector

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
    "inferences_hung",
    "exhausted_stops",
    "operator_stops",
    "command_gaps",
    "clock_jumps",
    "faults",
)


@dataclass(frozen=True, slots=True)
class StreamRate:
    """An observed stream and the rate at which it is expected."""

    name: str
    rate_hz: float


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """Where the robot is to be, and when.

    Attributes:
        time_ns: when the robot is to be there.
        position, velocity: (dim,), in the action's unit.
        moved: (dim,), velocity from the command before to this one, which keeps the acceleration limits too.
        chunk: the chunk that this command is the first to come from, or None.
    """

    time_ns: int
    position: Vector
    velocity: Vector
    moved: Vector
    chunk: Chunk | None = None


@dataclass(slots=True)
class Session:
    """One activation; a new one remembers nothing."""

    enabled: bool = False
    reason: str = ""  # why HOLDING or FAULT
    waiting_for: str = ""  # what keeps it from RUNNING
    stale: dict[str, str] = field(default_factory=dict)
    measured: Vector | None = None
    blocked: str = ""  # why the robot is braked at the workspace's edge while RUNNING
    hung: str = ""  # what is to be said about an inference that does not come back
    pending: Chunk | None = None  # newest chunk while not RUNNING
    unused: Chunk | None = None  # newest chunk that no command came from yet
    refused_in_a_row: int = 0
    hold_since_ns: int | None = None
    last_now_ns: int | None = None
    last_time_ns: int | None = None  # of the last command
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
