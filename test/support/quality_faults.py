# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Episodes of a small robot, good and spoilt, for the assessment of datasets."""

from __future__ import annotations

import numpy as np
from support.embodiments import camera, embodiment, joints, limit, trajectory

from hpt_ros.dataset import write_dataset
from hpt_ros.dataset.quality.measure import EpisodeArrays

ROBOT = embodiment(
    "small",
    [camera("top", 48, 64), joints("ab", unit="rad")],
    trajectory([limit("a", 2.0, 2.0, 10.0), limit("b", 2.0, 2.0, 10.0)], rate_hz=50.0),
)
COUNT, TICKS = 12, 40


def made_episodes():
    """Twelve good demonstrations: a reach that differs a little from one to the next, and an image of it."""
    random = np.random.default_rng(5)
    made = []
    for number in range(COUNT):
        length = TICKS + number % 3
        time = np.linspace(0.0, 1.0, length)
        reach = 1.0 + 0.1 * random.uniform(-1, 1, 2)
        action = np.outer(1.0 - np.cos(np.pi * time), reach) / 2
        # The arm rests a moment at the end, as teleoperators do.
        action[-6:] = action[-6]
        state = action + random.normal(0.0, 1e-4, action.shape)
        made.append({"action": action, "state": state, "images": drawn(action, random)})
    return made


def drawn(action, random):
    """A bright square that goes where the arm is, on a noisy background; (length, 48, 64, 3)."""
    frames = random.integers(95, 105, (len(action), 48, 64, 3)).astype(np.uint8)
    for frame, (a, b) in zip(frames, action, strict=True):
        row, column = int(4 + 20 * b), int(4 + 30 * a)
        frame[row : row + 10, column : column + 10] = 220
    return frames


def write(folder, made):
    return write_dataset(
        folder,
        ROBOT,
        [("reach", {"top": entry["images"]}, entry["state"], entry["action"]) for entry in made],
    )


def darken(made):
    made[3]["images"] = made[3]["images"] // 30


def idle(made):
    for key in ("action", "state"):
        made[4][key][:24] = made[4][key][24]
        made[4][key][24:] = made[4][key][24] + (made[1][key][: len(made[4][key]) - 24] - made[1][key][0])
    made[4]["images"] = drawn(made[4]["action"], np.random.default_rng(6))


def duplicate(made):
    made[9] = {key: value.copy() for key, value in made[5].items()}


def constant(made):
    for entry in made:
        entry["state"][:, 1] = 0.25


def in_memory(made):
    nothing = {}
    return [
        EpisodeArrays(number, "reach", entry["state"], entry["action"], nothing)
        for number, entry in enumerate(made)
    ]
