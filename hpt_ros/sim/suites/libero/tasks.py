# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The ten tasks, by the object that goes into the basket, in the benchmark's order and in its wording."""

from __future__ import annotations

from typing import Final

OBJECTS: Final = (
    "alphabet-soup",
    "cream-cheese",
    "salad-dressing",
    "bbq-sauce",
    "ketchup",
    "tomato-sauce",
    "butter",
    "milk",
    "chocolate-pudding",
    "orange-juice",
)
INSTRUCTIONS: Final[dict[str, str]] = {
    name: f"pick up the {name.replace('-', ' ')} and place it in the basket" for name in OBJECTS
}
