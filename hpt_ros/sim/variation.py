# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What may differ from scene to scene beside the task itself, and how far: the graded difficulty of an environment.

Every scene draws its own from its seed; at the standard, nothing beside the task's own draw differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final

from hpt_ros.errors import Code, HptError
from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class Variation:
    """How far scenes differ.

    Attributes:
        area: of the region in which objects are positioned, as a ratio of the task's own; 0: in its middle.
        orientation_rad: largest rotation of objects about the vertical, beside the task's own.
        colours: how far colours of objects and floor differ; 0 not, 1 any hue.
        light_m: largest displacement of the light along each horizontal axis.
        light_ratio: largest ratio by which the light is dimmer or brighter.
        distractors: things that have nothing to do with the task.
        objects: pieces to be handled; 0 takes the task's own number.
        camera_shift_m: by which each of the policy's cameras is off, in a random direction.
        camera_shift_rad: by which each of them is turned, about a random axis.
        image_noise: standard deviation of each pixel's noise, as a ratio of the full range.
    """

    area: float = field("ratio of the task's own area", default=1.0, minimum=0.0, maximum=2.0)
    orientation_rad: float = field("rotation of objects", default=0.0, minimum=0.0, maximum=0.6)
    colours: float = field("difference of colours", default=0.0, minimum=0.0, maximum=1.0)
    light_m: float = field("displacement of the light", default=0.0, minimum=0.0, maximum=2.0)
    light_ratio: float = field("change of the light's intensity", default=0.0, minimum=0.0, maximum=0.9)
    distractors: int = field("things beside the task", default=0, minimum=0, maximum=12)
    objects: int = field("pieces to be handled", default=0, minimum=0, maximum=64)
    camera_shift_m: float = field("displacement of cameras", default=0.0, minimum=0.0, maximum=0.3)
    camera_shift_rad: float = field("rotation of cameras", default=0.0, minimum=0.0, maximum=0.5)
    image_noise: float = field("noise of pixels", default=0.0, minimum=0.0, maximum=0.5)

    def __post_init__(self) -> None:
        """Refuse what no scene can be."""
        for item in fields(self):
            value, least, most = getattr(self, item.name), item.metadata["minimum"], item.metadata["maximum"]
            if not least <= value <= most:
                raise HptError(
                    Code.OUT_OF_RANGE, f"the variation {item.name}", value, expected=f"{least:g} to {most:g}"
                )

    @property
    def changed(self) -> dict[str, float]:
        """What is not as at the standard, by name."""
        return {name: value for name, value in asdict(self).items() if value != getattr(STANDARD, name)}

    def __str__(self) -> str:
        return " ".join(f"{name}={value:g}" for name, value in self.changed.items()) or "standard"


STANDARD: Final = Variation()
LEVELS: Final = MappingProxyType(
    {
        "standard": STANDARD,
        "varied": Variation(
            area=1.3, orientation_rad=0.15, colours=0.15, light_m=0.3, light_ratio=0.2, distractors=2
        ),
        "hard": Variation(
            area=1.7,
            orientation_rad=0.3,
            colours=0.4,
            light_m=0.6,
            light_ratio=0.4,
            distractors=5,
            camera_shift_m=0.01,
            camera_shift_rad=0.01,
            image_noise=0.02,
        ),
        "extreme": Variation(
            area=2.0,
            orientation_rad=0.4,
            colours=1.0,
            light_m=1.0,
            light_ratio=0.6,
            distractors=9,
            camera_shift_m=0.02,
            camera_shift_rad=0.03,
            image_noise=0.04,
        ),
    }
)
NAMES: Final = tuple(item.name for item in fields(Variation))


def level_of(text: str) -> Variation:
    """Return the level of a name or a number (0 is the standard).

    Raises:
        HptError: there is none.
    """
    if text.isdecimal() and int(text) < len(LEVELS):
        return tuple(LEVELS.values())[int(text)]
    if text in LEVELS:
        return LEVELS[text]
    raise HptError(
        Code.UNKNOWN, "the difficulty", text, known=LEVELS, remedy=f"or a number, 0 to {len(LEVELS) - 1}"
    )


def restrict(level: Variation, names: frozenset[str]) -> Variation:
    """Return a level without what an environment does not vary.

    Raises:
        HptError: nothing is left of it.
    """
    left = Variation(**{name: value for name, value in asdict(level).items() if name in names})
    if left == STANDARD and level != STANDARD:
        raise HptError(
            Code.UNSUPPORTED, "the difficulty", str(level), problem="varies nothing that the environment varies",
            expected=f"one of {', '.join(sorted(names))}" if names else "standard, its only one", remedy="leave it out",
        )  # fmt: skip
    return left


def with_settings(base: Variation, settings: Sequence[str]) -> Variation:
    """Return a variation with settings "KEY=VALUE" of its fields changed, each on top of those before.

    Raises:
        HptError: one has no such form, names no field or gives it a value that cannot be.
    """
    kinds = {item.name: item.type for item in fields(Variation)}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise HptError(
                Code.INVALID, "a variation", setting, expected="KEY=VALUE, e.g. camera_shift_m=0.03"
            )
        if name not in kinds:
            raise HptError(Code.UNKNOWN, "the variation", name, known=NAMES)
        try:
            value = int(text) if kinds[name] == "int" else float(text)
        except ValueError as error:
            raise HptError(
                Code.WRONG_TYPE, f"the variation {name}", text,
                expected="a whole number" if kinds[name] == "int" else "a number",
            ) from error  # fmt: skip
        changes: dict[str, Any] = {name: value}
        base = replace(base, **changes)
    return base
