# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""PolicyStatus and /diagnostics from what the node knows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from hpt_msgs.msg import PolicyStatus
from hpt_ros.control import State
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.errors import Refusal
from hpt_ros.nodes.common.conversions import to_time
from hpt_ros.nodes.policy.kinds import Kind
from hpt_ros.nodes.policy.streams import StreamMonitor
from hpt_ros.nodes.policy.waiting import Reason, cycle
from hpt_ros.runtime.policy_runtime import PolicyRuntime

# ros2_control warns when its loop misses its period by 5 % and calls 10 % an error; our loop is Python on a desktop
# kernel, so only the error bound is worth a warning.
JITTER_WARNING = 0.10
# What is left of the lead, as a part of it; below, a message's transport may take the rest. Ours.
LEAD_WARNING = 0.25

_LEVELS = {
    State.UNCONFIGURED: DiagnosticStatus.OK,
    State.INACTIVE: DiagnosticStatus.OK,
    State.WAITING: DiagnosticStatus.WARN,
    State.RUNNING: DiagnosticStatus.OK,
    State.HOLDING: DiagnosticStatus.WARN,
    State.FAULT: DiagnosticStatus.ERROR,
}


def why(runtime: PolicyRuntime, reason: Reason | None = None) -> str:
    """Return why the robot does not move on the policy's behalf, for people; empty while it does.

    `reason` is what it waits for, in WAITING and HOLDING.
    """
    controller = runtime.controller
    if controller.state is State.WAITING:
        return _with_code(reason)
    if controller.state is State.HOLDING:
        held = controller.held
        if reason is None:
            return str(held)
        return _with_code(reason) if reason.of == held else f"{held}; {_with_code(reason)}"
    latched = controller.latched
    return "" if latched is None or controller.state is State.RUNNING else str(latched)


def code(runtime: PolicyRuntime, reason: Reason | None = None) -> str:
    """Return the code of `why`; empty while the robot moves."""
    fault = runtime.controller.fault
    if fault is not None:
        return fault.value
    return "" if reason is None else reason.code.value


def least_lead_s(runtime: PolicyRuntime) -> float:
    """The least time of late by which a command came before the robot would brake by itself; NaN while it stands.

    Negative: it had begun to. What transport takes is not in it.
    """
    return math.nan if runtime.controller.at_rest else runtime.metrics.recent("lead_s", 0.0)


def find_wanted_lead_s(runtime: PolicyRuntime) -> float:
    """The least time as it is while nothing is late."""
    return runtime.controller.lead_s


def warnings(runtime: PolicyRuntime, monitor: StreamMonitor) -> list[Warned]:
    """Return what is not as it should be although the robot may move."""
    found = [
        Warned(Kind(warning.code), str(warning), stream) for stream, warning in monitor.warnings().items()
    ]
    if (short := short_lead(runtime)) is not None:
        found.append(Warned(Kind.LEAD, str(short)))
    if runtime.controller.state is State.HOLDING and (slow := cycle(runtime)) is not None:
        found.append(Warned(Kind.LATENCY, str(slow)))
    return found


def short_lead(runtime: PolicyRuntime) -> Refusal | None:
    """Return why the robot may brake by itself while its policy runs; None if it may not."""
    least_s, wanted_s = least_lead_s(runtime), find_wanted_lead_s(runtime)
    if runtime.controller.state is not State.RUNNING or not least_s <= LEAD_WARNING * wanted_s:
        return None
    return Refusal(
        Kind.LEAD, "commands", least_s,
        problem=f"are sent as late as {least_s:.3f} s before the robot brakes by itself, and their transport takes "
        "some of it", expected=f"{wanted_s:g} s", remedy="lower this machine's load, or raise lead_margin_s",
    )  # fmt: skip


def _with_code(reason: Reason | None) -> str:
    return "" if reason is None else f"{reason.text} [{reason.code.value}]"


@dataclass(frozen=True, slots=True)
class Warned:
    """What is not as it should be although the robot may move.

    Attributes:
        code: its kind.
        text: one sentence, with the remedy.
        subject: what it is about, e.g. a stream's name.
    """

    code: Kind
    text: str
    subject: str = ""


def to_status(
    runtime: PolicyRuntime | None, now_ns: int, reason: Reason | None = None, warnings: Sequence[Warned] = ()
) -> Any:
    """hpt_msgs/PolicyStatus; without a runtime the node is unconfigured."""
    message = PolicyStatus()
    message.header.stamp = to_time(now_ns)
    for name in ("chunk_age_s", "inference_latency_s", "observation_to_command_s", "lead_s"):
        setattr(message, name, math.nan)
    if runtime is None:
        message.state, message.state_name = int(State.UNCONFIGURED), State.UNCONFIGURED.name
        return message
    controller, metrics = runtime.controller, runtime.metrics
    message.state, message.state_name = int(controller.state), controller.state.name
    message.fault, message.reason = why(runtime, reason), code(runtime, reason)
    message.warning_codes = [item.code.value for item in warnings]
    message.warnings = [item.text for item in warnings]
    message.task = runtime.task.text
    message.embodiment = runtime.embodiment.name
    message.checkpoint = runtime.loaded.checkpoint
    ages = runtime.streams.stream_ages_s(now_ns)
    message.stream_names, message.stream_ages_s = list(ages), list(ages.values())
    seen = controller.snapshot(runtime.to_control(now_ns))
    if seen.chunk is not None:
        message.chunk_age_s = (runtime.to_control(now_ns) - seen.chunk.observation_ns) / NS_PER_S
    message.queue_length = seen.queue_length
    message.inference_latency_s = metrics.newest("inference_s")
    message.observation_to_command_s = metrics.recent("image_to_command_s")
    message.lead_s = least_lead_s(runtime)
    counters = runtime.all_counters()
    message.counter_names, message.counter_values = list(counters), list(counters.values())
    return message


def to_diagnostics(
    runtime: PolicyRuntime | None, node_name: str, now_ns: int, reason: Reason | None = None
) -> Any:
    """diagnostic_msgs/DiagnosticArray of one entry: state, ages, latencies, jitter and every counter."""
    state = State.UNCONFIGURED if runtime is None else runtime.controller.state
    status = DiagnosticStatus(
        level=_LEVELS[state], name=f"{node_name}: policy", message=state.name, hardware_id=node_name
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = to_time(now_ns)
    if runtime is None:
        return array
    status.hardware_id = runtime.embodiment.name
    controller, metrics = runtime.controller, runtime.metrics
    seen = controller.snapshot(runtime.to_control(now_ns))
    words = why(runtime, reason)
    status.message = f"{state.name}: {words}" if words else state.name
    period_s = controller.period_ns / NS_PER_S
    values: dict[str, float | str] = {
        "task": runtime.task.text,
        "checkpoint": runtime.loaded.checkpoint or type(runtime.loaded.policy).__name__,
        "deployment": "; ".join(runtime.loaded.deployed),
        "reason": code(runtime, reason),
        "newest tick": "; ".join(f"{name}: {words}" for name, words in runtime.observations.missing.items())
        or _complete(runtime),
        **{f"age of {name} [s]": age for name, age in runtime.streams.stream_ages_s(now_ns).items()},
        "commands [Hz]": _rate(metrics.recent("command_interval_s")),
        "queue [actions]": seen.queue_length,
        "image delay median [s]": metrics.recent("image_delay_s"),
        "decoding median [s]": metrics.recent("decode_s"),
        "inference median [s]": metrics.recent("inference_s"),
        "inference p95 [s]": metrics.recent("inference_s", 95.0),
        "image to command median [s]": metrics.recent("image_to_command_s"),
        "image to command median, steady clock [s]": metrics.recent("image_to_command_steady_s"),
        "command jitter median [s]": metrics.recent("command_jitter_s"),
        "command jitter p99 [s]": metrics.recent("command_jitter_s", 99.0),
        "lead, least [s]": least_lead_s(runtime),
        "lead wanted [s]": find_wanted_lead_s(runtime),
        "control period's work, median [s]": metrics.recent("control_s"),
        "inference running for [s]": runtime.worker.busy_s(),
        "tracking error": seen.tracking_error,
        **runtime.all_counters(),
    }
    status.values = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    if state is State.RUNNING and metrics.recent("command_jitter_s") > JITTER_WARNING * period_s:
        status.level = DiagnosticStatus.WARN
        status.message = f"{state.name}: commands jitter by more than {JITTER_WARNING:.0%} of their period"
    if (short := short_lead(runtime)) is not None:
        status.level, status.message = DiagnosticStatus.WARN, f"{state.name}: {short} [lead]"
    return array


def stream_statuses(
    runtime: PolicyRuntime, monitor: StreamMonitor, node_name: str, now_ns: int, stale: Mapping[str, Reason]
) -> list[Any]:
    """diagnostic_msgs/DiagnosticStatus of each stream; they are not judged while the node is not active."""
    if not runtime.controller.state.active:
        return monitor.statuses(node_name, {}, {}, {})
    said = {name: _with_code(reason) for name, reason in stale.items()}
    return monitor.statuses(
        node_name, runtime.streams.stream_ages_s(now_ns), said, dict(runtime.observations.absent)
    )


def _complete(runtime: PolicyRuntime) -> str:
    absent = ", ".join(runtime.observations.absent)
    return f"complete but for {absent}" if absent else "complete"


def _rate(interval_s: float) -> float:
    return 1.0 / interval_s if interval_s > 0.0 else math.nan


def _text(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
