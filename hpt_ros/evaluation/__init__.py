# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Rollouts of any policy in any environment through runtime and control, and what they show."""

from __future__ import annotations

from typing import Final

INFERENCE_S: Final = 0.05  # what an inference takes on the environment's clock, unless it is given otherwise
CONFIDENCE: Final = 0.95  # of intervals, unless it is given otherwise
