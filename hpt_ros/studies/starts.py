# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the runs of a study start: the arms of arXiv 2409.20537, and the two steps of X-VLA (arXiv 2510.10274)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# Of the iterations in which stems and head learn alone, where neither recipe nor study says it; our choice.
FIRST_RATIO: Final = 0.2
SCRATCH: Final = "scratch"
# A change of a start that names weights and no key of the recipe.
IMAGE_ENCODER: Final = "image_encoder"
OF_TRUNK: Final = "trunk"  # its value for the checkpoint that the trunk is from


@dataclass(frozen=True, slots=True)
class StartKind:
    """One way to begin.

    Attributes:
        changes: to the recipe, so that what other arms need does not hold for this one.
        trunk: whether it begins with a pre-trained one.
        policy: whether it begins with all else of the trunk's checkpoint, too: its policy of the same robot.
        two_steps: whether stems and head learn alone first.
    """

    changes: tuple[str, ...]
    trunk: bool = False
    policy: bool = False
    two_steps: bool = False


_RANDOM = ("freeze_trunk=false", "freeze_blocks=0", "first_step={}")
STARTS: Final[Mapping[str, StartKind]] = {
    "no_trunk": StartKind((*_RANDOM, "policy.trunk.depth=0")),
    SCRATCH: StartKind(_RANDOM),
    "frozen": StartKind(("freeze_trunk=true", "freeze_blocks=0", "first_step={}"), trunk=True),
    "finetuned": StartKind(("freeze_trunk=false", "first_step={}"), trunk=True),
    "two_step": StartKind(("freeze_trunk=false",), trunk=True, two_steps=True),
    "policy": StartKind(("freeze_trunk=false", "first_step={}"), trunk=True, policy=True),
}


def kind_of(start: str) -> str:
    """Return the kind that a start's name begins with, as in "finetuned.slow"."""
    return start.partition(".")[0]


def split_changes(changes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return a start's changes to the recipe, and the source of its image encoder; empty without one."""
    source = ""
    recipe = []
    for change in changes:
        key, _, value = change.partition("=")
        if key.strip() == IMAGE_ENCODER:
            source = value.strip()
        else:
            recipe.append(change)
    return tuple(recipe), source
