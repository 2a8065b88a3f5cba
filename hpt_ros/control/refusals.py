# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Kinds of what keeps the robot from moving, a chunk from being executed, or an operator from being obeyed.

Each function of this room that refuses returns a `hpt_ros.errors.Refusal` with one of these codes, or None; whoever
shows it to a person makes the sentence of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from hpt_ros.errors import Refusal


class Why(str, Enum):
    """Codes of refusals."""

    # Chunks and what else the policy gives; the first five are failures of the policy.
    WRONG_SIZE = "wrong_size"
    NOT_FINITE = "not_finite"
    NO_ORIENTATION = "no_orientation"
    JUMP = "jump"
    INFERENCE = "inference"
    LATE = "late"
    FUTURE = "future"
    NOT_WANTED = "not_wanted"  # in this state chunks are not executed
    USED_UP = "used_up"
    NO_CHUNK = "no_chunk"
    SLOW = "slow"
    HUNG = "hung"
    INCOMPLETE = "incomplete"  # no complete observation, so the policy is not asked
    IN_A_ROW = "in_a_row"  # too many failures

    # Inputs.
    UNSEEN = "unseen"
    STALE = "stale"
    AHEAD = "ahead"
    FROZEN = "frozen"
    IMPLAUSIBLE = "implausible"
    CONTRADICTED = "contradicted"
    UNMEASURED = "unmeasured"

    # Permission, and who commands.
    NO_TASK = "no_task"
    RELEASED = "released"
    SCALING_UNSEEN = "scaling_unseen"
    SCALING_ZERO = "scaling_zero"
    UNSUBSCRIBED = "unsubscribed"
    UNSERVED = "unserved"
    PUBLISHED = "published"  # by another node
    ASKED = "asked"  # by another node's goals

    # The robot.
    MOVING = "moving"
    BRAKING = "braking"
    ARRIVING = "arriving"  # its controller comes to where motion begins
    OUTSIDE = "outside"  # of its position limits
    FAR = "far"  # the first target
    WORKSPACE = "workspace"
    TRACKING = "tracking"
    HELD = "held"  # for too long

    # Clocks.
    WENT_BACK = "went_back"
    WENT_FORWARD = "went_forward"
    SLEPT = "slept"
    CLOCK_CHANGED = "clock_changed"

    # Operators.
    STOPPED = "stopped"
    NOTHING_LATCHED = "nothing_latched"


def append_reason(refusal: Refusal, then: Refusal | None) -> Refusal:
    """Return a refusal, and what else is known of it behind its sentence."""
    return (
        refusal
        if then is None
        else Refusal(refusal.code, value=(refusal, then), problem=f"{refusal}; {then}")
    )


def join(refusals: Iterable[Refusal]) -> Refusal | None:
    """Return several as one: the first's code, all of them as the value, their sentences; None if there are none."""
    found = tuple(refusals)
    if len(found) < 2:
        return found[0] if found else None
    return Refusal(found[0].code, value=found, problem="; ".join(map(str, found)))
