# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Why the robot does not move: one code and one sentence with its remedy, the same in log, status and diagnostics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hpt_ros.control import State
from hpt_ros.control.holding import Cause
from hpt_ros.control.snapshot import Snapshot
from hpt_ros.embodiment import Stream
from hpt_ros.nodes.common.publishers import Silence
from hpt_ros.nodes.policy.streams import StreamMonitor
from hpt_ros.observation.buffer import SETTLE_S
from hpt_ros.runtime.policy_runtime import PolicyRuntime

# Stamps further off than this are of another kind of clock: simulated time, time since the start of a device.
OTHER_CLOCK_S = 1e8


class Code(str, Enum):
    """Why the robot does not move on the policy's behalf, beside `Silence`. What is logged is counted by it."""

    NONE = ""
    CLOCK = "clock"  # simulated time has not begun, or stands still
    TASK = "task"
    STREAM_REFUSED = "stream_refused"
    STREAM_STALE = "stream_stale"
    STREAM_PART = "stream_part"  # messages come, but a joint was in none of them
    STREAM_AHEAD = "stream_ahead"
    STREAM_OTHER_CLOCK = "stream_other_clock"
    STREAM_FROZEN = "stream_frozen"
    UNHEARD = "command_unheard"  # no subscriber on the command topic
    RELEASED = "enabling_switch"
    SPEED = "speed_scaling"  # the robot's own speed is 0, or not known
    POSE = "pose"
    TICK = "observation"  # no complete one: a stream is later than its tolerance
    POLICY = "policy"  # it fails, or does not come back
    CHUNK_LATE = "chunk_late"
    CHUNK = "chunk"
    BRAKING = "braking"
    ACTION_SERVER = "action_server"  # of an output that is an action, there is none
    START = "start"  # the pose, or how far the first target is


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the robot does not move.

    Attributes:
        code: of the reason.
        text: one sentence, with the remedy; empty while it moves.
        subject: what it is about, e.g. a stream's name.
    """

    code: Code | Silence
    text: str
    subject: str = ""

    def __bool__(self) -> bool:
        return bool(self.text)


INCOMPLETE = "waiting for the policy's chunk, but no observation is complete"
LATE_REMEDY = (
    "; make the camera or its driver faster, or raise tolerance_s in the embodiment file if the policy was trained on "
    "observations as old"
)
UNSEEN_REMEDY = (
    "; start what publishes it, correct the joints in the embodiment file, or name it under holds there if it is "
    "published only while it moves"
)
NOTHING = Reason(Code.NONE, "")
Silences = Callable[[Stream], tuple[Silence, str]]


def reason(
    runtime: PolicyRuntime,
    monitor: StreamMonitor | None,
    standstill: str,
    now_ns: int,
    silence: Silences | None = None,
) -> Reason:
    """Why the robot does not move, in WAITING and HOLDING; nothing in other states.

    Args:
        runtime: of the node.
        monitor: what it knows of the streams' messages.
        standstill: why time does not go on; empty if it does.
        now_ns: ROS time.
        silence: asks the graph why nothing comes of a stream; None: nobody is asked.
    """
    seen = runtime.controller.snapshot(runtime.to_control(now_ns))
    if seen.state not in (State.WAITING, State.HOLDING):
        return NOTHING
    if standstill:
        return Reason(Code.CLOCK, standstill)
    if not seen.enabled:
        return Reason(Code.TASK, "waiting for a task; send a goal to ~/run, or set start_on_activate")
    if seen.stale:
        found = list(stale_streams(runtime, monitor, now_ns, silence).values())
        text = "; ".join(item.text for item in found)
        return Reason(found[0].code, text, ", ".join(item.subject for item in found))
    if seen.unserved:
        return Reason(Code.ACTION_SERVER, f"waiting for {seen.unserved}")
    if seen.unheard:
        return Reason(Code.UNHEARD, f"waiting for {seen.unheard}")
    if seen.released:
        return Reason(Code.RELEASED, f"waiting for {seen.released}")
    if seen.stopped:
        return Reason(Code.SPEED, f"waiting for {seen.stopped}")
    if not seen.measured:
        return Reason(
            Code.POSE, "waiting for the measured pose: no joint state or pose has come with all of it"
        )
    if not seen.pending:
        return _chunk(runtime, monitor, seen)
    if seen.state is State.WAITING and seen.braking:
        return Reason(Code.BRAKING, "waiting for the robot to come to rest")
    if seen.missing is not None and seen.missing.cause is Cause.START:
        return Reason(Code.START, f"waiting for {seen.missing.text}")
    return NOTHING


def stale_streams(
    runtime: PolicyRuntime, monitor: StreamMonitor | None, now_ns: int, silence: Silences | None = None
) -> dict[str, Reason]:
    """Why each stream that stops the robot does so; arguments as for `reason`."""
    seen = runtime.controller.snapshot(runtime.to_control(now_ns))
    return {
        name: Reason(Code.STREAM_FROZEN, f"{said}; restart its driver", name)
        if name in seen.frozen
        else _stream(runtime.embodiment.stream(name), said, runtime, monitor, now_ns, silence)
        for name, said in seen.stale.items()
    }


def _stream(
    stream: Stream,
    said: str,
    runtime: PolicyRuntime,
    monitor: StreamMonitor | None,
    now_ns: int,
    silence: Silences | None,
) -> Reason:
    """Why a stream is stale; `said` is what the watchdog says."""
    refused = "" if monitor is None else monitor.refused(stream.name)
    if refused:
        return Reason(Code.STREAM_REFUSED, refused, stream.name)
    delay_s = math.nan if monitor is None else monitor.delay_s(stream.name)
    if abs(delay_s) > OTHER_CLOCK_S:
        return Reason(
            Code.STREAM_OTHER_CLOCK,
            f"stream {stream.name!r} is stamped by another clock than this node's, {delay_s:.0f} s off; set "
            "use_sim_time for all nodes or for none, and let the driver stamp with ROS time",
            stream.name,
        )
    if monitor is not None and not monitor.received(stream.name):
        if silence is None:
            return Reason(Silence.SILENT, said, stream.name)
        code, text = silence(stream)
        return Reason(code, text, stream.name)
    if unseen := runtime.unseen(stream.name):
        move = "; move it once, since it is published only while it moves" if stream.holds else ""
        return Reason(
            Code.STREAM_PART,
            f"stream {stream.name!r} (topic {stream.topic}) has messages, but none had {', '.join(unseen)}"
            f"{move or UNSEEN_REMEDY}",
            stream.name,
        )
    if delay_s < 0.0:
        return Reason(Code.STREAM_AHEAD, said, stream.name)
    # One that comes, but late, is stale between two of its messages and not after each: the reason stays the same.
    coming = monitor is not None and monitor.since_s(stream.name, now_ns) <= _timeout_s(stream, runtime)
    if coming and (late := _late(stream, delay_s)):
        return Reason(Code.TICK, f"{INCOMPLETE}: {late}{LATE_REMEDY}", stream.name)
    return Reason(Code.STREAM_STALE, f"{said}; look at its driver and the network", stream.name)


def _chunk(runtime: PolicyRuntime, monitor: StreamMonitor | None, seen: Snapshot) -> Reason:
    """Why there is no chunk to run."""
    robot, waiting = runtime.embodiment, "waiting for the policy's first chunk"
    if seen.state is State.HOLDING:
        waiting = f"{seen.held}; waiting for a new chunk"
    if runtime.observations.missing:
        return _incomplete(runtime, monitor)
    if seen.excuse:
        return Reason(Code.POLICY, f"{waiting}{seen.excuse}")
    horizon_s = (robot.action.horizon - 1) * robot.dt_s
    if seen.counters["chunks_refused_late"]:
        late_s = seen.latency_high_s
        if not late_s < 0.5 * horizon_s:
            return Reason(
                Code.CHUNK_LATE,
                f"{waiting}: chunks come {late_s:.3f} s after their observation, and their {robot.action.horizon} "
                f"actions cover {horizon_s:g} s; make the policy faster, or train with a longer horizon",
            )
    busy_s = runtime.worker.busy_s()
    if busy_s > 1.0:
        return Reason(Code.CHUNK, f"{waiting}, which it has been computing for {busy_s:.0f} s")
    return Reason(Code.CHUNK, waiting)


def _incomplete(runtime: PolicyRuntime, monitor: StreamMonitor | None) -> Reason:
    late: list[str] = []
    for name in runtime.observations.missing:
        delay_s = math.nan if monitor is None else monitor.delay_s(name)
        if found := _late(runtime.embodiment.stream(name), delay_s):
            late.append(found)
    listed = "; ".join(f"stream {name!r}: {why}" for name, why in runtime.observations.missing.items())
    words = "; ".join(late) + LATE_REMEDY if late else listed
    return Reason(Code.TICK, f"{INCOMPLETE}: {words}", ", ".join(runtime.observations.missing))


def _late(stream: Stream, delay_s: float) -> str:
    """How a stream whose messages take `delay_s` is later than its tolerance; empty if it is not."""
    oldest_s = delay_s - SETTLE_S + 1.0 / stream.rate_hz
    if not oldest_s > stream.tolerance_s:
        return ""
    return (
        f"stream {stream.name!r} comes {delay_s:.3f} s after its stamp, {stream.rate_hz:g} times a second, so a tick "
        f"may find it {oldest_s:.3f} s old, later than its tolerance of {stream.tolerance_s:g} s"
    )


def _timeout_s(stream: Stream, runtime: PolicyRuntime) -> float:
    return runtime.controller.stream_timeouts_s[stream.name]


def cycle(runtime: PolicyRuntime) -> str:
    """Why the robot goes on and off for want of chunks, a sentence; empty if its policy is fast enough.

    A chunk must come before the one in use ends, so what the policy takes must be less than what a chunk covers.
    """
    robot, high_s = runtime.embodiment, runtime.controller.latency_high_s
    horizon_s = (robot.action.horizon - 1) * robot.dt_s
    if high_s < 0.5 * horizon_s:
        return ""
    return (
        f"the policy's chunks come {high_s:.3f} s after their observation, more than half of the {horizon_s:g} s that "
        "they cover, so the robot runs out of them; make the policy faster, or train with a longer horizon"
    )
