# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Draw the pictures of the README and docs.

.venv/bin/python tools/draw_pictures.py [model | house | demo | tasks]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import house_diagram
import model_diagram

from hpt_ros.evaluation.expert import ExpertRollout
from hpt_ros.evaluation.rollout import RolloutConfig
from hpt_ros.sim.environment import make_environment
from hpt_ros.sim.movement import NO_SPREAD
from hpt_ros.sim.physics import PRINT_QUALITY, Renderer
from hpt_ros.sim.table import TableEnvironment
from hpt_ros.sim.tasks.feed_dog.scene import FeedDogScene
from hpt_ros.sim.tasks.feed_dog.teleoperator import ScriptedTeleoperator

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "feed_dog.png"
MODEL, HOUSE = PICTURE.with_name("model.svg"), PICTURE.with_name("house.svg")
SEED = 3  # a scene in which arm, bowl and dog stand clear of one another
AT_S = 6.76  # the kibble is falling


# Of each environment that docs/simulation.md shows: a scene, and when it is drawn, s.
SHOTS = {
    "sweep_leftovers": (1003, 3.3),
    "fill_water": (1003, 6.6),
    "switch_insertion": (1003, 4.6),
    "feed_dog_ur5e": (3, 6.9),
}


def main() -> int:
    """Draw what the command line names, or everything."""
    wanted = sys.argv[1:] or ["model", "house", "demo", "tasks"]
    if set(wanted) - {"model", "house", "demo", "tasks"}:
        print(
            f"draw_pictures: error: {' '.join(wanted)!r} is none of model, house, demo, tasks; name these",
            file=sys.stderr,
        )
        return 2
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    if "model" in wanted:
        model_diagram.draw(MODEL)
        print(MODEL)
    if "house" in wanted:
        house_diagram.draw(HOUSE)
        print(HOUSE)
    if "tasks" in wanted:
        for name, (seed, at_s) in SHOTS.items():
            draw_task(name, seed, at_s)
    return draw_demo() if "demo" in wanted else 0


def draw_task(name: str, seed: int, at_s: float) -> None:
    """Let the expert of an environment go on for a while, and save what the camera for people sees."""
    environment = make_environment(name)
    assert isinstance(environment, TableEnvironment)
    ExpertRollout(environment, RolloutConfig(time_limit_s=at_s)).episode(seed)
    renderer = Renderer(environment.physics, 320, 480, PRINT_QUALITY)
    path = PICTURE.with_name(f"{name}.png")
    cv2.imwrite(str(path), cv2.cvtColor(renderer.render("picture"), cv2.COLOR_RGB2BGR))
    renderer.close()
    environment.close()
    print(path)


def draw_demo() -> int:
    """Let the scripted teleoperator play one scene up to the pour, and save what the picture camera sees."""
    environment = FeedDogScene()
    environment.reset(SEED)
    physics = environment.physics
    teleoperator = ScriptedTeleoperator(
        environment.task.bowl_xy_m, physics.joint_positions_rad, spread=NO_SPREAD
    )
    while environment.time_s < AT_S:
        environment.step(teleoperator.target(environment.time_s))
    renderer = Renderer(physics, 640, 960, PRINT_QUALITY)
    picture = renderer.render("picture")
    renderer.close()
    if not cv2.imwrite(str(PICTURE), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        print(f"draw_pictures: error: {PICTURE} cannot be written; check the folder", file=sys.stderr)
        return 2
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
