# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The network and its starting weights learn from pictures what a manipulation policy needs most: where a thing is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.sizes import policy_config

from hpt_ros.model import Policy, Statistics, StemConfig, TrunkConfig
from hpt_ros.model.small_cnn import SmallCnnConfig

HEIGHT, WIDTH = 48, 64


def pictures(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noise, two boxes of random colour, and a blue disc of 3 to 4.5 pixels; the disc's (x, y)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    images = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    places = rng.uniform((5, 5), (WIDTH - 5, HEIGHT - 5), size=(count, 2))
    for image, (x, y) in zip(images, places, strict=True):
        image[:] = (rng.uniform(60, 160, 3) + rng.normal(0, 6, (HEIGHT, WIDTH, 1))).clip(0, 255)
        for _ in range(2):
            top, left, high, wide = rng.integers(0, (HEIGHT, WIDTH, 20, 20))
            image[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
        image[np.hypot(columns - x, rows - y) < rng.uniform(3.0, 4.5)] = (40, 70, 190)
    return images, places.astype(np.float32)


@pytest.mark.slow
def test_when_trained_for_six_hundred_steps_expect_a_disc_found_to_a_few_pixels():
    config = policy_config(
        embodiment="eye",
        action_dim=2,
        action_horizon=2,
        observation_horizon=1,
        views=1,
        image_height=HEIGHT,
        image_width=WIDTH,
        trunk=TrunkConfig(width=64, depth=2, heads=4),
        stems=(StemConfig("image"),),
        image_encoder=SmallCnnConfig(channels=(16, 32, 64), trainable=True),
    )
    policy = Policy(config)
    policy.set_statistics({"action": Statistics.of(np.array([[0, 0], [WIDTH, HEIGHT]]))})
    rng = np.random.default_rng(0)
    images, places = pictures(2500, rng)
    steps, batch = 600, 48
    optimiser = torch.optim.AdamW((p for p in policy.parameters() if p.requires_grad), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps, pct_start=0.1)
    policy.train()
    for _ in range(steps):
        chosen = rng.integers(0, 2300, batch)
        optimiser.zero_grad()
        target = np.repeat(places[chosen, None], 2, axis=1)
        policy.loss({"image": images[chosen, None, None]}, target, np.zeros((batch, 2), bool)).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    found = policy.eval().predict({"image": images[2300:, None, None]})[:, 0].numpy()
    error_px = np.linalg.norm(found - places[2300:], axis=1).mean()
    blind_px = np.linalg.norm(places[2300:] - places[:2300].mean(axis=0), axis=1).mean()
    assert math.isfinite(error_px)
    assert error_px < 0.25 * blind_px, f"{error_px:.1f} px, where a constant guess is {blind_px:.1f} px off"
