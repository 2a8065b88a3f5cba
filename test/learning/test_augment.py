# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from hpt_ros.learning import AugmentConfig
from hpt_ros.learning.augment import augment_images, augment_state

NONE = AugmentConfig(brightness=0.0, contrast=0.0, colour=0.0, shift_px=0, state_noise=0.0)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (3, 2, 2, 12, 16, 3), generator=random(9), dtype=torch.uint8)


def test_when_all_strengths_are_zero_expect_the_same_values() -> None:
    images, state = pictures(), torch.randn(3, 2, 5, generator=random(1))
    assert torch.equal(augment_images(images, NONE, random()), images)
    assert torch.equal(augment_state(state, NONE, random()), state)


def test_the_argument_is_left_as_it_is() -> None:
    images = pictures()
    before = images.clone()
    changed = augment_images(images, AugmentConfig(), random())
    assert torch.equal(images, before)
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, images)


def test_the_change_depends_on_the_generator_alone() -> None:
    images = pictures()
    assert torch.equal(
        augment_images(images, AugmentConfig(), random(4)), augment_images(images, AugmentConfig(), random(4))
    )
    assert not torch.equal(
        augment_images(images, AugmentConfig(), random(4)), augment_images(images, AugmentConfig(), random(5))
    )


def test_a_shift_moves_whole_frames_and_repeats_the_border() -> None:
    images = pictures()
    config = AugmentConfig(brightness=0.0, contrast=0.0, colour=0.0, shift_px=2)
    shifted = augment_images(images, config, random(2))
    moves = set()
    for b in range(3):
        for v in range(2):
            fits = [
                (dy, dx)
                for dy in range(-2, 3)
                for dx in range(-2, 3)
                if torch.equal(
                    shifted[b, :, v, 2:-2, 2:-2], images[b, :, v, 2 - dy : 10 - dy, 2 - dx : 14 - dx]
                )
            ]
            assert len(fits) == 1  # the same move for all frames of the sample's view, by at most 2
            moves |= set(fits)
            if fits[0][0] > 0:
                assert torch.equal(shifted[b, :, v, 0, 2:-2], shifted[b, :, v, 1, 2:-2])
    assert len(moves) > 1


def test_light_and_colour_change_alike_in_all_frames_of_a_sample() -> None:
    images = torch.full((4, 3, 2, 8, 8, 3), 100, dtype=torch.uint8)
    changed = augment_images(
        images, AugmentConfig(brightness=0.1, contrast=0.0, colour=0.1, shift_px=0), random(1)
    ).float()
    assert torch.equal(changed, changed[:, :1, :, :1, :1].expand_as(changed))
    assert changed.unique().numel() > 8  # other samples, views and channels differ
    assert (changed - 100).abs().max() <= 0.1 * 255 + 0.1 * 100 + 1


def test_state_noise_has_the_declared_spread() -> None:
    state = torch.zeros(4000, 2, 3)
    noise = augment_state(state, AugmentConfig(state_noise=0.05), random())
    assert noise.std().item() == pytest.approx(0.05, rel=0.05)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.005)
