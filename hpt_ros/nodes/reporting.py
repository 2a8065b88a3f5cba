# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""PolicyStatus and /diagnostics from what the node knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from hpt_msgs.msg import PolicyStatus
from hpt_ros.control import State
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.nodes.conversions import to_time
from hpt_ros.nodes.pilot import Pilot
from hpt_ros.nodes.streams import StreamMonitor
from hpt_ros.nodes.waiting import NOTHING, Code, Reason

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


def why(pilot: Pilot, reason: Reason = NOTHING) -> str:
    """Why the robot does not move on the policy's behalf; empty while it does.

    `reason` is what it waits for, in WAITING and HOLDING.
    """
    controller = pilot.controller
    if controller.state is State.WAITING:
        return _coded(reason)
    if controller.state is State.HOLDING:
        held = controller.session.held_because()
        return f"{held}; {_coded(reason)}" if reason and held not in reason.text else _coded(reason) or held
    if controller.state is State.RUNNING:
        return ""
    return controller.latched


def code(pilot: Pilot, reason: Reason = NOTHING) -> str:
    """The code of `why`."""
    return Code.FAULT.value if pilot.controller.latched else reason.code.value


def least_lead_s(pilot: Pilot) -> float:
    """The least time of late by which a command came before the robot would brake by itself; NaN while it stands.

    Negative: it had begun to. What transport takes is not in it.
    """
    return math.nan if pilot.controller.at_rest else pilot.metrics.recent("lead_s", 0.0)


def wanted_lead_s(pilot: Pilot) -> float:
    """The least time as it is while nothing is late."""
    plan = pilot.controller.plan
    return (plan.lead_ns - plan.period_ns) / NS_PER_S


def short_lead(pilot: Pilot) -> str:
    """Why the robot may brake by itself while its policy runs, one sentence; empty if it may not."""
    least_s, wanted_s = least_lead_s(pilot), wanted_lead_s(pilot)
    if pilot.controller.state is not State.RUNNING or not least_s <= LEAD_WARNING * wanted_s:
        return ""
    return (
        f"commands are sent as late as {least_s:.3f} s before the robot brakes by itself, where {wanted_s:g} s were "
        "expected, and their transport takes some of it; lower this machine's load, or raise lead_margin_s"
    )


def _coded(reason: Reason) -> str:
    return f"{reason.text} [{reason.code.value}]" if reason else ""


def to_status(pilot: Pilot | None, now_ns: int, reason: Reason = NOTHING) -> Any:
    """hpt_msgs/PolicyStatus; without a pilot the node is unconfigured."""
    message = PolicyStatus()
    message.header.stamp = to_time(now_ns)
    for name in ("chunk_age_s", "inference_latency_s", "observation_to_command_s", "lead_s"):
        setattr(message, name, math.nan)
    if pilot is None:
        message.state, message.state_name = int(State.UNCONFIGURED), State.UNCONFIGURED.name
        return message
    controller, metrics = pilot.controller, pilot.metrics
    message.state, message.state_name = int(controller.state), controller.state.name
    message.fault, message.reason = why(pilot, reason), code(pilot, reason)
    message.task = pilot.task
    message.embodiment = pilot.embodiment.name
    message.checkpoint = pilot.loaded.checkpoint
    ages = pilot.stream_ages_s(now_ns)
    message.stream_names, message.stream_ages_s = list(ages), list(ages.values())
    newest = controller.session.taken
    if newest is not None:
        message.chunk_age_s = (pilot.to_control(now_ns) - newest.observation_ns) / NS_PER_S
    message.queue_length = controller.queue_length(pilot.to_control(now_ns))
    message.inference_latency_s = metrics.newest("inference_s")
    message.observation_to_command_s = metrics.recent("image_to_command_s")
    message.lead_s = least_lead_s(pilot)
    counters = pilot.all_counters()
    message.counter_names, message.counter_values = list(counters), list(counters.values())
    return message


def to_diagnostics(pilot: Pilot | None, node_name: str, now_ns: int, reason: Reason = NOTHING) -> Any:
    """diagnostic_msgs/DiagnosticArray of one entry: state, ages, latencies, jitter and every counter."""
    state = State.UNCONFIGURED if pilot is None else pilot.controller.state
    status = DiagnosticStatus(
        level=_LEVELS[state], name=f"{node_name}: policy", message=state.name, hardware_id=node_name
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = to_time(now_ns)
    if pilot is None:
        return array
    status.hardware_id = pilot.embodiment.name
    controller, metrics = pilot.controller, pilot.metrics
    words = why(pilot, reason)
    status.message = f"{state.name}: {words}" if words else state.name
    period_s = controller.period_ns / NS_PER_S
    values: dict[str, float | str] = {
        "task": pilot.task,
        "checkpoint": pilot.loaded.checkpoint or type(pilot.loaded.policy).__name__,
        "deployment": "; ".join(pilot.loaded.deployed),
        "reason": code(pilot, reason),
        "newest tick": "; ".join(f"{name}: {words}" for name, words in pilot.intake.missing.items())
        or _complete(pilot),
        **{f"age of {name} [s]": age for name, age in pilot.stream_ages_s(now_ns).items()},
        "commands [Hz]": _rate(metrics.recent("command_interval_s")),
        "queue [actions]": controller.queue_length(pilot.to_control(now_ns)),
        "image delay median [s]": metrics.recent("image_delay_s"),
        "decoding median [s]": metrics.recent("decode_s"),
        "inference median [s]": metrics.recent("inference_s"),
        "inference p95 [s]": metrics.recent("inference_s", 95.0),
        "image to command median [s]": metrics.recent("image_to_command_s"),
        "image to command median, steady clock [s]": metrics.recent("image_to_command_steady_s"),
        "command jitter median [s]": metrics.recent("command_jitter_s"),
        "command jitter p99 [s]": metrics.recent("command_jitter_s", 99.0),
        "lead, least [s]": least_lead_s(pilot),
        "lead wanted [s]": wanted_lead_s(pilot),
        "control period's work, median [s]": metrics.recent("control_s"),
        "inference running for [s]": pilot.worker.busy_s(),
        "tracking error": controller.guards.tracking.error,
        **pilot.all_counters(),
    }
    status.values = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    if state is State.RUNNING and metrics.recent("command_jitter_s") > JITTER_WARNING * period_s:
        status.level = DiagnosticStatus.WARN
        status.message = f"{state.name}: commands jitter by more than {JITTER_WARNING:.0%} of their period"
    if short := short_lead(pilot):
        status.level, status.message = DiagnosticStatus.WARN, f"{state.name}: {short} [lead]"
    return array


def stream_statuses(
    pilot: Pilot, monitor: StreamMonitor, node_name: str, now_ns: int, stale: Mapping[str, Reason]
) -> list[Any]:
    """diagnostic_msgs/DiagnosticStatus of each stream; they are not judged while the node is not active."""
    if not pilot.controller.state.active:
        return monitor.statuses(node_name, {}, {}, {})
    said = {name: _coded(reason) for name, reason in stale.items()}
    return monitor.statuses(node_name, pilot.stream_ages_s(now_ns), said, dict(pilot.intake.absent))


def _complete(pilot: Pilot) -> str:
    absent = ", ".join(pilot.intake.absent)
    return f"complete but for {absent}" if absent else "complete"


def _rate(interval_s: float) -> float:
    return 1.0 / interval_s if interval_s > 0.0 else math.nan


def _text(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
