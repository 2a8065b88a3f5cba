# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tasks, and what each asks for in a sentence of ours."""

from __future__ import annotations

from typing import Final

INSTRUCTIONS: Final[dict[str, str]] = {
    "reach": "move the gripper to the red ball",
    "push": "push the block to the red ball",
    "pick-place": "pick up the block and hold it at the red ball",
}
