# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Why the robot does not move: one code and one sentence with its remedy, the same in log, status and diagnostics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from hpt_ros.control import State
from hpt_ros.control.holding import Cause
from hpt_ros.control.refusals import Why, join
from hpt_ros.control.snapshot import Snapshot
from hpt_ros.embodiment import Stream
from hpt_ros.errors import Refusal
from hpt_ros.nodes.common.publishers import Silence
from hpt_ros.nodes.policy.streams import StreamMonitor
from hpt_ros.observation.buffer import SETTLE_S
from hpt_ros.runtime.policy_runtime import PolicyRuntime

# Stamps further off than this are of another kind of clock: simulated time, time since the start of a device.
OTHER_CLOCK_S = 1e8


class Code(str, Enum):
    """Why the robot does not move on the policy's behalf, beside `Silence`. What is logged is counted by it."""

    CLOCK = "clock"  # simulated time has not begun, or stands still
    TASK = "task"
    STREAM_REFUSED = "stream_refused"
    STREAM_STALE = "stream_stale"
    STREAM_PART = "stream_part"  # messages come, but a joint was in none of them
    STREAM_AHEAD = "stream_ahead"
    STREAM_OTHER_CLOCK = "stream_other_clock"
    STREAM_STAMPS = "stream_stamps"  # messages come, all with one stamp
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
        text: one sentence, with the remedy.
        subject: what it is about, e.g. a stream's name.
        of: what the controller says, where the text says it too.
    """

    code: Code | Silence
    text: str
    subject: str = ""
    of: Refusal | None = None


INCOMPLETE = "waiting for the policy's chunk, but no observation is complete"
LATE_REMEDY = (
    "; make the camera or its driver faster, or raise tolerance_s in the embodiment file if the policy was trained on "
    "observations as old"
)
UNSEEN_REMEDY = (
    "; start what publishes it, correct the joints in the embodiment file, or name it under holds there if it is "
    "published only while it moves"
)
Silences = Callable[[Stream], Refusal]


def reason(
    runtime: PolicyRuntime,
    monitor: StreamMonitor | None,
    standstill: Refusal | None,
    now_ns: int,
    silence: Silences | None = None,
) -> Reason | None:
    """Return why the robot does not move, in WAITING and HOLDING; None in other states.

    Args:
        runtime: of the node.
        monitor: what it knows of the streams' messages.
        standstill: why time does not go on; None if it does.
        now_ns: ROS time.
        silence: asks the graph why nothing comes of a stream; None: nobody is asked.
    """
    seen = runtime.controller.snapshot(runtime.to_control(now_ns))
    if seen.state not in (State.WAITING, State.HOLDING):
        return None
    if standstill is not None:
        return Reason(Code.CLOCK, str(standstill))
    if not seen.enabled:
        return Reason(Code.TASK, "waiting for a task; send a goal to ~/run, or set start_on_activate")
    if seen.stale:
        found = list(stale_streams(runtime, monitor, now_ns, silence).values())
        text = "; ".join(item.text for item in found)
        return Reason(
            found[0].code, text, ", ".join(item.subject for item in found), join(seen.stale.values())
        )
    for code, refused in (
        (Code.ACTION_SERVER, seen.unserved),
        (Code.UNHEARD, seen.unheard),
        (Code.RELEASED, seen.released),
        (Code.SPEED, seen.stopped),
    ):
        if refused is not None:
            return Reason(code, f"waiting for {refused}")
    if not seen.measured:
        return Reason(
            Code.POSE, "waiting for the measured pose: no joint state or pose has come with all of it"
        )
    if not seen.pending:
        return _chunk(runtime, monitor, seen)
    if seen.state is State.WAITING and seen.braking:
        return Reason(Code.BRAKING, "waiting for the robot to come to rest")
    if seen.missing is not None and seen.missing.cause is Cause.START:
        return Reason(Code.START, f"waiting for {seen.missing.wanted}")
    return None


def stale_streams(
    runtime: PolicyRuntime, monitor: StreamMonitor | None, now_ns: int, silence: Silences | None = None
) -> dict[str, Reason]:
    """Why each stream that stops the robot does so; arguments as for `reason`."""
    seen = runtime.controller.snapshot(runtime.to_control(now_ns))
    return {
        name: Reason(Code.STREAM_FROZEN, f"{stale}; restart its driver", name)
        if stale.code is Why.FROZEN
        else _stream(runtime.embodiment.stream(name), stale, runtime, monitor, now_ns, silence)
        for name, stale in seen.stale.items()
    }


def beyond_age(streams: Iterable[Reason]) -> Refusal | None:
    """Return what is known of stale streams beyond their age, e.g. why their messages are refused; None if nothing."""
    more = [item for item in streams if item.code not in (Code.STREAM_STALE, Code.STREAM_FROZEN)]
    return join(Refusal(item.code, problem=item.text) for item in more)


def _stream(
    stream: Stream,
    stale: Refusal,
    runtime: PolicyRuntime,
    monitor: StreamMonitor | None,
    now_ns: int,
    silence: Silences | None,
) -> Reason:
    """Return why a stream is stale, with more than the watchdog knows of it."""
    refused = None if monitor is None else monitor.refused(stream.name)
    if refused is not None:
        return Reason(Code.STREAM_REFUSED, str(refused), stream.name)
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
            return Reason(Silence.SILENT, str(stale), stream.name)
        silent = silence(stream)
        return Reason(Silence(silent.code), str(silent), stream.name)
    if monitor is not None and (repeated := monitor.one_stamp(stream.name)):
        return Reason(
            Code.STREAM_STAMPS,
            f"stream {stream.name!r} (topic {stream.topic}) has the same stamp in its last {repeated} messages; "
            "restart its driver, let it stamp each message, or state time: arrival for the stream",
            stream.name,
        )
    if unseen := runtime.streams.unseen(stream.name):
        move = "; move it once, since it is published only while it moves" if stream.holds else ""
        return Reason(
            Code.STREAM_PART,
            f"stream {stream.name!r} (topic {stream.topic}) has messages, but none had {', '.join(unseen)}"
            f"{move or UNSEEN_REMEDY}",
            stream.name,
        )
    if delay_s < 0.0:
        return Reason(Code.STREAM_AHEAD, str(stale), stream.name)
    # One that comes, but late, is stale between two of its messages and not after each: the reason stays the same.
    coming = monitor is not None and monitor.since_s(stream.name, now_ns) <= _timeout_s(stream, runtime)
    if coming and (late := _late(stream, delay_s)) is not None:
        return Reason(Code.TICK, f"{INCOMPLETE}: {late}{LATE_REMEDY}", stream.name)
    return Reason(Code.STREAM_STALE, f"{stale}; look at its driver and the network", stream.name)


def _chunk(runtime: PolicyRuntime, monitor: StreamMonitor | None, seen: Snapshot) -> Reason:
    """Why there is no chunk to run."""
    robot, waiting, held = runtime.embodiment, "waiting for the policy's first chunk", None
    if seen.state is State.HOLDING:
        waiting, held = f"{seen.held}; waiting for a new chunk", seen.held
    if runtime.observations.missing:
        return _incomplete(runtime, monitor)
    if seen.reason_no_chunk is not None:
        return Reason(Code.POLICY, f"{waiting}; {seen.reason_no_chunk}", of=held)
    horizon_s = (robot.action.horizon - 1) * robot.dt_s
    if seen.counters["chunks_refused_late"]:
        late_s = seen.latency_high_s
        if not late_s < 0.5 * horizon_s:
            return Reason(
                Code.CHUNK_LATE,
                f"{waiting}: chunks come {late_s:.3f} s after their observation, and their {robot.action.horizon} "
                f"actions cover {horizon_s:g} s; make the policy faster, or train with a longer horizon",
                of=held,
            )
    busy_s = runtime.worker.busy_s()
    if busy_s > 1.0:
        return Reason(Code.CHUNK, f"{waiting}, which it has been computing for {busy_s:.0f} s", of=held)
    return Reason(Code.CHUNK, waiting, of=held)


def _incomplete(runtime: PolicyRuntime, monitor: StreamMonitor | None) -> Reason:
    late: list[Refusal] = []
    for name in runtime.observations.missing:
        delay_s = math.nan if monitor is None else monitor.delay_s(name)
        if (found := _late(runtime.embodiment.stream(name), delay_s)) is not None:
            late.append(found)
    listed = "; ".join(f"stream {name!r}: {why}" for name, why in runtime.observations.missing.items())
    sentence = "; ".join(map(str, late)) + LATE_REMEDY if late else listed
    return Reason(Code.TICK, f"{INCOMPLETE}: {sentence}", ", ".join(runtime.observations.missing))


def _late(stream: Stream, delay_s: float) -> Refusal | None:
    """Return how a stream whose messages take `delay_s` is later than its tolerance; None if it is not."""
    oldest_s = delay_s - SETTLE_S + 1.0 / stream.rate_hz
    if not oldest_s > stream.tolerance_s:
        return None
    return Refusal(
        Code.TICK, f"stream {stream.name!r}", oldest_s,
        problem=f"comes {delay_s:.3f} s after its stamp, {stream.rate_hz:g} times a second, so a tick may find it "
        f"{oldest_s:.3f} s old, later than its tolerance of {stream.tolerance_s:g} s",
    )  # fmt: skip


def _timeout_s(stream: Stream, runtime: PolicyRuntime) -> float:
    return runtime.controller.stream_timeouts_s[stream.name]


def cycle(runtime: PolicyRuntime) -> Refusal | None:
    """Return why the robot goes on and off for want of chunks; None if its policy is fast enough.

    A chunk must come before the one in use ends, so what the policy takes must be less than what a chunk covers.
    """
    robot, high_s = runtime.embodiment, runtime.controller.latency_high_s
    horizon_s = (robot.action.horizon - 1) * robot.dt_s
    if high_s < 0.5 * horizon_s:
        return None
    return Refusal(
        Code.CHUNK_LATE, "the policy's chunks", high_s,
        problem=f"come {high_s:.3f} s after their observation, more than half of the {horizon_s:g} s that they cover, "
        "so the robot runs out of them", remedy="make the policy faster, or train with a longer horizon",
    )  # fmt: skip
