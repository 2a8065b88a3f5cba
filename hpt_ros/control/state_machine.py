# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The controller's states as one table; docs/safety.md prints it and a test compares the two."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType


class State(IntEnum):
    """Values are those of hpt_msgs/msg/PolicyStatus."""

    UNCONFIGURED = 0
    INACTIVE = 1
    WAITING = 2
    RUNNING = 3
    HOLDING = 4
    FAULT = 5

    @property
    def active(self) -> bool:
        """Whether the node's lifecycle state is active."""
        return self >= State.WAITING


class Event(str, Enum):
    """What can happen."""

    CONFIGURE = "configure"  # lifecycle
    CLEANUP = "cleanup"  # lifecycle
    ACTIVATE = "activate"  # lifecycle, nothing latched
    ACTIVATE_LATCHED = "activate_latched"  # lifecycle, but a fault or an operator's stop was not cleared
    DEACTIVATE = "deactivate"  # lifecycle
    READY = "ready"  # all streams fresh, a chunk is there, its target is near the pose
    STALE = "stale"  # a stream is older than its timeout, or commands have no subscriber
    EXHAUSTED = "exhausted"  # the newest chunk is used up
    CLOCK_JUMP = "clock_jump"  # ROS time was set, back or forward
    PAUSE = "pause"  # the task is over (its action goal ended), or the deadman's switch is released
    AWAY = "away"  # all is there again, but the first target is far from where the robot is held
    HOLD_TIMEOUT = "hold_timeout"  # one cause has held the robot for too long
    ERROR = "error"  # refused chunks or failed inferences in a row, a robot that does not follow, or another commander
    STOP = "stop"  # an operator's stop
    CLEAR = "clear"  # an operator clears the fault


TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.UNCONFIGURED, Event.CONFIGURE): State.INACTIVE,
        (State.INACTIVE, Event.CLEANUP): State.UNCONFIGURED,
        (State.INACTIVE, Event.ACTIVATE): State.WAITING,
        (State.INACTIVE, Event.ACTIVATE_LATCHED): State.FAULT,
        (State.WAITING, Event.DEACTIVATE): State.INACTIVE,
        (State.RUNNING, Event.DEACTIVATE): State.INACTIVE,
        (State.HOLDING, Event.DEACTIVATE): State.INACTIVE,
        (State.FAULT, Event.DEACTIVATE): State.INACTIVE,
        (State.WAITING, Event.READY): State.RUNNING,
        (State.HOLDING, Event.READY): State.RUNNING,
        (State.RUNNING, Event.STALE): State.HOLDING,
        (State.RUNNING, Event.EXHAUSTED): State.HOLDING,
        (State.RUNNING, Event.CLOCK_JUMP): State.HOLDING,
        (State.RUNNING, Event.PAUSE): State.WAITING,
        (State.HOLDING, Event.PAUSE): State.WAITING,
        (State.HOLDING, Event.AWAY): State.WAITING,
        (State.HOLDING, Event.HOLD_TIMEOUT): State.FAULT,
        (State.WAITING, Event.ERROR): State.FAULT,
        (State.RUNNING, Event.ERROR): State.FAULT,
        (State.HOLDING, Event.ERROR): State.FAULT,
        (State.WAITING, Event.STOP): State.FAULT,
        (State.RUNNING, Event.STOP): State.FAULT,
        (State.HOLDING, Event.STOP): State.FAULT,
        (State.FAULT, Event.CLEAR): State.WAITING,
    }
)


def next_state(state: State, event: Event) -> State:
    """The state after an event; a pair that is not in the table changes nothing."""
    return TRANSITIONS.get((state, event), state)
