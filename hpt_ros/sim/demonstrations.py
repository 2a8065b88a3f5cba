# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What demonstrations in simulation have in common, whoever records them."""

from __future__ import annotations

from typing import Final

# Their scenes; far from any seed that a policy is run at, so that no scene is both trained and judged on.
FIRST_DEMONSTRATION_SEED: Final = 1_000_000
# Largest standard deviation of the offsets between commanded and executed joint targets.
MOST_DISTURBANCE_RAD: Final = 0.1
