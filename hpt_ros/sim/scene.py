# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A scene: MJCF of a task that includes parts by name, such as the arm, whatever arm it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

PIECE: Final = "kibble"  # how the names of free pieces begin
DISTRACTOR: Final = "distractor"  # and those of things that have nothing to do with the task
_SHAPES: Final = (  # a ball, a can, a block, a bone
    '<geom type="sphere" pos="0 0 0.035" size="0.035"/>',
    '<geom type="cylinder" pos="0 0 0.045" size="0.03 0.045"/>',
    '<geom type="box" pos="0 0 0.02" size="0.055 0.035 0.02"/>',
    '<geom type="capsule" fromto="-0.05 0 0.018 0.05 0 0.018" size="0.014"/>'
    + "".join(
        f'<geom type="sphere" pos="{x} {y} 0.018" size="0.018"/>'
        for x in (-0.055, 0.055)
        for y in (-0.014, 0.014)
    ),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """MJCF and the files that it includes.

    Attributes:
        text: of the scene.
        files: what it includes, by name.
    """

    text: str
    files: Mapping[str, bytes]


def part(name: str, package: str = "hpt_ros.sim", folder: str = "parts") -> str:
    """Read a part: of `hpt_ros/sim/parts`, or another package's file."""
    return (resources.files(package) / folder / name).read_text(encoding="utf-8")


def pieces(count: int, kind: str) -> str:
    """Return MJCF of `count` free spheres of a class of room.xml; the task positions them."""
    # A freejoint takes no damping from its class: the kibble in the bin rolls as it will.
    joint = "<freejoint/>" if kind == "kibble" else '<joint type="free"/>'
    return f"""<mujocoinclude>
  <replicate count="{count}" offset="0 0 0.03">
    <body name="{PIECE}" pos="0.35 -0.40 0.03" childclass="{kind}">{joint}<geom/></body>
  </replicate>
</mujocoinclude>"""


def distractors(count: int) -> str:
    """Return MJCF of `count` things that are drawn and touch nothing."""
    bodies = "\n".join(
        f'  <body name="{DISTRACTOR}{number}" mocap="true" pos="0 0 -1" childclass="drawn">'
        f"{_SHAPES[number % len(_SHAPES)]}</body>"
        for number in range(count)
    )
    return f"<mujocoinclude>\n{bodies}\n</mujocoinclude>"
