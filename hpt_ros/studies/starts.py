# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the runs of a study start: the arms of arXiv 2409.20537, and the two steps of X-VLA (arXiv 2510.10274)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hpt_ros.errors import Code, HptError

# Of the iterations in which stems and head learn alone, where neither recipe nor study says it; our choice.
FIRST_RATIO: Final = 0.2
SCRATCH: Final = "scratch"
# Changes of a start that name weights and no key of the recipe: image_encoder=CHECKPOINT, shared=trunk.
IMAGE_ENCODER: Final = "image_encoder"
SHARED: Final = "shared"  # what the robots of the trunk's checkpoint share besides
OF_TRUNK: Final = "trunk"  # their value for the checkpoint that the trunk is from


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


@dataclass(frozen=True, slots=True)
class OwnWeights:
    """Weights that a start's changes name.

    Attributes:
        image_encoder: source of the image encoder; empty without one.
        shared: whether it takes what the robots of the trunk's checkpoint share besides.
    """

    image_encoder: str = ""
    shared: bool = False

    @property
    def of_trunk(self) -> bool:
        """Whether some of them are the trunk's checkpoint's."""
        return self.shared or self.image_encoder == OF_TRUNK


def split_changes(changes: Sequence[str]) -> tuple[tuple[str, ...], OwnWeights]:
    """Return a start's changes to the recipe, and the weights that it names.

    Raises:
        HptError: `shared` of something else than the trunk.
    """
    encoder, shared, recipe = "", False, []
    for change in changes:
        key, _, value = (text.strip() for text in change.partition("="))
        if key == IMAGE_ENCODER:
            encoder = value
        elif key == SHARED:
            if value != OF_TRUNK:
                raise HptError(Code.UNKNOWN, f"{SHARED} of a start", value, known=(OF_TRUNK,))
            shared = True
        else:
            recipe.append(change)
    return tuple(recipe), OwnWeights(encoder, shared)
