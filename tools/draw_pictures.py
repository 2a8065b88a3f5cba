"""Draw the README's picture anew: ``.venv/bin/python tools/draw_pictures.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from hpt_ros.sim.environment import Environment
from hpt_ros.sim.physics import PRINT_QUALITY, Renderer
from hpt_ros.sim.teleoperator import NO_VARIATION, ScriptedTeleoperator

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "feed_dog.png"
SEED = 3  # a scene in which arm, bowl and dog stand clear of one another
AT_S = 6.76  # the kibble is falling


def main() -> int:
    """Let the scripted teleoperator play one scene up to the pour, and save what the picture camera sees."""
    environment = Environment()
    environment.reset(SEED)
    physics = environment.physics
    teleoperator = ScriptedTeleoperator(
        environment.task.bowl_xy_m, physics.joint_positions_rad, variation=NO_VARIATION
    )
    while environment.time_s < AT_S:
        environment.step(teleoperator.target(environment.time_s))
    renderer = Renderer(physics, 640, 960, PRINT_QUALITY)
    picture = renderer.render("picture")
    renderer.close()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(PICTURE), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        print(f"draw_pictures: error: {PICTURE} cannot be written; check the folder", file=sys.stderr)
        return 2
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
