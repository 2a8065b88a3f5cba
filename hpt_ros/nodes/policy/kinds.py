# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Kinds of what the policy node warns and complains of."""

from __future__ import annotations

from enum import Enum


class Kind(str, Enum):
    """Kinds of problems. Repeats are counted by kind and by whose problem it is, whatever the sentence says."""

    CLOCK = "clock"
    UNUSABLE = "unusable"  # a message that could not be used
    UNSTAMPED = "unstamped"
    AHEAD = "ahead"  # stamps of another clock
    POLICY = "policy"  # a chunk that was not taken, an inference that failed
    INTERNAL = "internal"
    LOST = "lost"  # a stream that the policy can do without
    LATENCY = "latency"  # a policy that is slower than its chunks
    LEAD = "lead"  # commands come so late that the robot may brake by itself
    CLOCKS = "clocks"  # the robot's clock is not ours
    SLOW = "slow"  # a stream that comes less often than it should
    GOAL = "goal"  # an action's goal was rejected, aborted or canceled
    IMAGE = "image"  # images of another shape than the policy's
