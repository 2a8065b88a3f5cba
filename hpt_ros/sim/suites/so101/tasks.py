# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task, and what it asks for in a sentence of ours."""

from __future__ import annotations

from typing import Final

INSTRUCTIONS: Final[dict[str, str]] = {"pick-place": "pick up the block and put it onto the green disc"}
