# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Everything between the policy's chunks and the commands: pure state machines, time is an argument."""

from __future__ import annotations

from hpt_ros.control.chunk import Chunk, ChunkError, Reference
from hpt_ros.control.config import (
    ControlConfig,
    DeadmanConfig,
    QueueConfig,
    SafetyConfig,
    TrackingConfig,
    WatchdogConfig,
    WorkspaceConfig,
)
from hpt_ros.control.controller import Controller
from hpt_ros.control.controller_state import COUNTERS, Command, ControllerState, StreamRate
from hpt_ros.control.latency import LatencyWindow
from hpt_ros.control.machine import Fault
from hpt_ros.control.queue import ChunkQueue
from hpt_ros.control.safety import LimitedCommand, Limits, SafetyFilter
from hpt_ros.control.state_machine import TRANSITIONS, Event, State, next_state
from hpt_ros.control.watchdog import Watchdog
from hpt_ros.control.workspace import Kinematics, Workspace

__all__ = [
    "COUNTERS",
    "TRANSITIONS",
    "Chunk",
    "ChunkError",
    "ChunkQueue",
    "Command",
    "ControlConfig",
    "Controller",
    "ControllerState",
    "DeadmanConfig",
    "Event",
    "Fault",
    "Kinematics",
    "LatencyWindow",
    "LimitedCommand",
    "Limits",
    "QueueConfig",
    "Reference",
    "SafetyConfig",
    "SafetyFilter",
    "State",
    "StreamRate",
    "TrackingConfig",
    "Watchdog",
    "WatchdogConfig",
    "Workspace",
    "WorkspaceConfig",
    "next_state",
]
