# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a variation does to a scene that is built: light, colours, cameras, distractors and the noise of images."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.physics import Image, Physics
from hpt_ros.sim.scene import DISTRACTOR, PIECE
from hpt_ros.sim.variation import Variation

Array = npt.NDArray[np.float64]

# Where distractors stand: in view of the cameras, m.
_X_M: Final = (0.22, 0.85)
_Y_M: Final = (-0.55, 0.60)
_ROOM_M: Final = 0.08  # what each takes
_TRIES: Final = 200


class Surroundings:
    """Draws and sets everything beside the task, for one scene after the other.

    Args:
        physics: the scene; as it is now is the standard.
        variation: how far scenes differ.
        cameras: names of those that may be off.
        coloured: beginnings of the names of bodies whose colours differ, each with one colour.
    """

    def __init__(
        self, physics: Physics, variation: Variation, cameras: Sequence[str], coloured: Iterable[str]
    ) -> None:
        self._physics, self._variation = physics, variation
        model = physics.model
        self._cameras = [model.camera(name).id for name in cameras]
        self._groups = [
            [index for index in range(model.ngeom) if model.geom_bodyid[index] in bodies]
            for bodies in (set(physics.bodies(name)) for name in (*coloured, PIECE))
        ]
        self._distractors = physics.bodies(DISTRACTOR)
        self._standard = {
            name: np.array(getattr(model, name))
            for name in ("geom_rgba", "mat_rgba", "light_pos", "light_dir", "light_diffuse", "cam_pos", "cam_quat")
        }  # fmt: skip
        light = model.vis.headlight
        self._headlight = np.array(light.ambient), np.array(light.diffuse)
        self._noise = np.random.default_rng(0)

    def reset(self, seed: int, keep_out: Sequence[tuple[float, float, float]]) -> None:
        """Draw the surroundings of a seed.

        Args:
            seed: of the scene.
            keep_out: x, y and radius of discs in which no distractor may stand, m.
        """
        model, vary = self._physics.model, self._variation
        rng = np.random.default_rng([seed, 0x5CE0E])
        for name, standard in self._standard.items():
            getattr(model, name)[:] = standard
        self._light(rng)
        for group in self._groups:
            hue, value = vary.colours * rng.uniform(-0.5, 0.5), 1.0 - 0.5 * vary.colours * rng.uniform()
            if vary.colours:
                for index in group:
                    model.geom_rgba[index, :3] = _other(model.geom_rgba[index, :3], hue, value)
        tint = 1.0 - 0.6 * vary.colours * rng.uniform(size=3)
        model.mat_rgba[:, :3] *= tint
        for camera in self._cameras:
            model.cam_pos[camera] += vary.camera_shift_m * _direction(rng)
            turn = np.array([np.cos(vary.camera_shift_rad / 2), 0.0, 0.0, 0.0])
            turn[1:] = np.sin(vary.camera_shift_rad / 2) * _direction(rng)
            if vary.camera_shift_rad:
                model.cam_quat[camera] = _product(model.cam_quat[camera], turn)
        self._distract(rng, keep_out)
        self._noise = np.random.default_rng([seed, 0x401E])

    def add_noise(self, image: Image) -> Image:
        """Return an image with the camera's noise."""
        if not self._variation.image_noise:
            return image
        noise = self._noise.normal(0.0, 255.0 * self._variation.image_noise, image.shape)
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)

    def _light(self, rng: np.random.Generator) -> None:
        model, vary = self._physics.model, self._variation
        moved = vary.light_m * rng.uniform(-1.0, 1.0, 2)
        bright = 1.0 + vary.light_ratio * rng.uniform(-1.0, 1.0)
        if vary.light_m:  # it goes on shining at what it shone at
            height = model.light_pos[0, 2]
            aim = model.light_pos[0] - model.light_dir[0] * (height / model.light_dir[0, 2])
            model.light_pos[0, :2] += moved
            model.light_dir[0] = (aim - model.light_pos[0]) / np.linalg.norm(aim - model.light_pos[0])
        model.light_diffuse[0] *= bright
        model.vis.headlight.ambient[:] = self._headlight[0] * bright
        model.vis.headlight.diffuse[:] = self._headlight[1] * bright

    def _distract(self, rng: np.random.Generator, keep_out: Sequence[tuple[float, float, float]]) -> None:
        model, physics = self._physics.model, self._physics
        taken = list(keep_out)
        for body in self._distractors:
            colour = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.95))
            model.geom_rgba[model.geom_bodyid == body, :3] = colour
            position = np.array([0.0, 0.0, -1.0])  # below the floor, where no room is left
            for _ in range(_TRIES):
                x, y = rng.uniform(*_X_M), rng.uniform(*_Y_M)
                if all(np.hypot(x - left, y - top) > radius + _ROOM_M for left, top, radius in taken):
                    position[:] = x, y, 0.0
                    taken.append((x, y, _ROOM_M))
                    break
            physics.place(model.body(body).name, position, float(rng.uniform(-np.pi, np.pi)))


def _other(rgb: Array, hue: float, value: float) -> Array:
    """Another colour: its hue turned by a ratio of the circle, its brightness scaled."""
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    return np.array(colorsys.hsv_to_rgb((h + hue) % 1.0, s, v * value))


def _direction(rng: np.random.Generator) -> Array:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def _product(a: Array, b: Array) -> Array:
    """The product of two quaternions w, x, y, z."""
    vector = a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])
    return np.array([a[0] * b[0] - a[1:] @ b[1:], *vector])
