# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hpt_ros.learning import AugmentConfig
from hpt_ros.learning.augment import (
    ImageChanges,
    augment_state,
    change_images,
    crop_images,
    draw_image_changes,
    shift_at_once,
    shift_in_turn,
)

NONE = AugmentConfig(brightness=0.0, contrast=0.0, colour=0.0, shift_px=0, state_noise=0.0)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augment_images(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Draw changes and make them: `draw_image_changes`, then `change_images`."""
    return change_images(images, draw_image_changes(tuple(images.shape), config, generator))


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


def test_both_ways_to_shift_give_the_same() -> None:
    images, moves = pictures(), torch.randint(-20, 21, (3, 2, 2), generator=random(1))
    assert torch.equal(shift_at_once(images, moves), shift_in_turn(images, moves))


def test_a_rectangle_is_erased_alike_in_all_frames_of_a_sample() -> None:
    images = torch.zeros((300, 2, 2, 24, 32, 3), dtype=torch.uint8)
    changes = draw_image_changes(tuple(images.shape), replace(NONE, erase=0.25), random(3))
    assert changes.fill is not None
    changes.fill.clamp_(min=1)  # what is erased is then what is not 0
    hidden = (change_images(images, changes) > 0).all(-1)
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    for mask in hidden[:20, 0].flatten(0, 1):
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        if len(rows):
            assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    fractions = hidden[:, 0].float().mean((2, 3))
    assert fractions.max() < 0.3
    assert fractions.mean().item() == pytest.approx(0.125, abs=0.02)  # uniform up to 0.25
    assert hidden.any(dim=(0, 1, 2)).all()  # anywhere in the image


def test_a_crop_enlarges_the_same_part_of_all_frames_of_a_sample() -> None:
    # A value that grows by 2 a column and 3 a row says where each pixel came from.
    rows, columns = torch.arange(40)[:, None], torch.arange(50)
    ramp = (3 * rows + 2 * columns).to(torch.uint8)
    images = ramp[None, None, None, :, :, None].repeat(60, 2, 2, 1, 1, 3)
    changes = draw_image_changes(tuple(images.shape), replace(NONE, crop=0.3), random(3))
    changed = change_images(images, changes)
    assert torch.equal(changed[:, 0], changed[:, 1])  # frames
    assert not torch.equal(changed[:, :, 0], changed[:, :, 1])  # views
    values = changed[:, 0, :, :, :, 0].float()
    down = (values[:, :, 30, 25] - values[:, :, 10, 25]) / 60  # of one pixel, as a part of what it was
    right = (values[:, :, 20, 40] - values[:, :, 20, 10]) / 60
    kept = changes.crops[..., 2] if changes.crops is not None else torch.zeros(())
    assert (down - kept).abs().max() < 0.03
    assert (right - kept).abs().max() < 0.03
    assert 0.7 < float(kept.min()) < 0.75
    assert 0.95 < float(kept.max()) < 1.0
    corner = values[:, :, 0, 0]  # of a place uniform in what was cut off, so: never outside the image
    assert corner.min() >= 0
    assert values[:, :, -1, -1].max() <= ramp.max()
    assert corner.max() > 15


def test_a_crop_of_nothing_changes_nothing_and_one_of_half_takes_its_quarter() -> None:
    images = pictures()
    none = torch.tensor([0.0, 0.0, 1.0]).expand(3, 2, 3)
    assert torch.equal(crop_images(images, none), images)
    plain = torch.nn.functional.interpolate(
        images[0, 0, 0, 6:, :8].permute(2, 0, 1)[None].float(), scale_factor=2.0, mode="bilinear"
    )[0].permute(1, 2, 0)
    half = crop_images(images, torch.tensor([0.5, 0.0, 0.5]).expand(3, 2, 3))
    assert half.shape == images.shape
    # Away from the crop's own border, beyond which the image goes on, it is PyTorch's enlargement.
    assert (half[0, 0, 0, 1:-1, 1:-1].float() - plain[1:-1, 1:-1]).abs().max() <= 0.5 + 1e-3


def test_one_strength_does_not_change_what_another_draws() -> None:
    shape = (3, 2, 2, 12, 16, 3)
    shift = draw_image_changes(shape, replace(NONE, shift_px=2), random(5))
    both = draw_image_changes(
        shape, replace(NONE, shift_px=2, crop=0.1, erase=0.2, brightness=0.1), random(5)
    )
    assert shift.moves is not None
    assert both.moves is not None
    assert torch.equal(shift.moves, both.moves)
    assert shift.tint is None
    assert shift.erased is None


@pytest.mark.gpu
def test_a_gpu_gives_the_values_of_the_cpu_but_for_rounding() -> None:
    images = pictures()
    changes = draw_image_changes(tuple(images.shape), AugmentConfig(erase=0.3, crop=0.2), random(5))
    here = change_images(images, changes)
    there = change_images(images.cuda(), changes.map(Tensor.cuda)).cpu()
    assert (here.int() - there.int()).abs().max() <= 1
    assert (here != there).float().mean() < 0.01


def test_nothing_to_change_returns_the_images_themselves() -> None:
    images = pictures()
    assert change_images(images, ImageChanges()) is images


def test_state_noise_has_the_declared_spread() -> None:
    state = torch.zeros(4000, 2, 3)
    noise = augment_state(state, AugmentConfig(state_noise=0.05), random())
    assert noise.std().item() == pytest.approx(0.05, rel=0.05)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.005)
