# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task, and what it asks for in a sentence of ours."""

from __future__ import annotations

from typing import Final

INSTRUCTIONS: Final[dict[str, str]] = {
    "transfer-cube": "pick up the cube with the right arm and hand it over to the left arm"
}
