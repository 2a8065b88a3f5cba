# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Random changes to a training batch: light and colour of the images, small shifts, noise on the state.

All randomness comes from the generator passed in. Every frame of one sample and view gets the same change, since the
change stands for another day or another mounting, not for movement.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Strength of each change; 0 switches it off. Defaults are modest: the pictures stay plausible."""

    brightness: float = field(
        "largest shift of all values, as a share of the full range", default=0.08, minimum=0.0, maximum=1.0
    )
    contrast: float = field(
        "largest relative change of the distance to the image's mean", default=0.15, minimum=0.0, maximum=0.9
    )
    colour: float = field(
        "largest relative change of each of R, G and B", default=0.05, minimum=0.0, maximum=0.9
    )
    shift_px: int = field(
        "largest shift in each direction; the border is repeated", default=2, minimum=0, maximum=64, unit="px"
    )
    state_noise: float = field(
        "standard deviation of Gaussian noise on the state, in its own unit; against a policy that copies its state",
        default=0.0,
        minimum=0.0,
    )

    @property
    def changes_images(self) -> bool:
        """Whether images are changed at all."""
        return bool(self.brightness or self.contrast or self.colour or self.shift_px)


@dataclass(frozen=True, slots=True)
class Rows:
    """Which samples of a batch are there, where processes share it: each sample gets its own change all the same."""

    total: int  # samples of the batch
    here: Tensor  # int64 (B,), those that are there


def augment_images(
    images: Tensor, config: AugmentConfig, generator: torch.Generator, rows: Rows | None = None
) -> Tensor:
    """Change brightness, contrast, colour and position.

    Args:
        images: uint8 (B, T, V, H, W, 3), on the CPU.
        config: strengths.
        generator: on the CPU.
        rows: which samples of a larger batch these are; all of it if None.

    Returns:
        uint8 of the same shape; the argument is left as it is (and returned itself when all strengths are 0).
    """
    batch, _, views, height, width, _ = images.shape
    if height == 0:
        return images
    # Drawn in every case, so that one strength does not change the draws of another.
    rows = rows or Rows(batch, torch.arange(batch))
    drawn = rows.total
    unit = (torch.rand((drawn, 1, views, 1, 1, 3), generator=generator) * 2 - 1)[rows.here]
    light, stretch = (
        torch.rand((2, drawn, 1, views, 1, 1, 1), generator=generator)[:, rows.here] * 2 - 1
    ).unbind(0)
    offsets = torch.rand((drawn, views, 2), generator=generator)[rows.here]
    result = images
    if config.shift_px:
        result = torch.empty_like(images)
        moves = (offsets * (2 * config.shift_px + 1)).floor().int() - config.shift_px
        for b, row in enumerate(moves.tolist()):
            for v, (down, right) in enumerate(row):
                lines = (torch.arange(height) - down).clamp_(0, height - 1)
                columns = (torch.arange(width) - right).clamp_(0, width - 1)
                result[b, :, v] = images[b, :, v].index_select(1, lines).index_select(2, columns)
    if config.brightness or config.contrast or config.colour:
        # value' = tint * (stretch * (value - mean) + mean) + light; every fourth pixel each way is enough for the mean.
        tint = 1 + config.colour * unit
        gain = 1 + config.contrast * stretch
        mean = result[:, :, :, ::4, ::4].float().mean(dim=(1, 3, 4), keepdim=True)
        offset = tint * mean * (1 - gain) + 255 * config.brightness * light
        # This is done for every pixel, so: few passes, rows of width x 3 as the inner loop, and a half added to make
        # truncation rounding.
        lines = result.flatten(4).float()  # (B, T, V, H, W * 3)
        per_row = (
            (tint * gain).flatten(4).repeat(1, 1, 1, 1, width),
            (offset + 0.5).flatten(4).repeat(1, 1, 1, 1, width),
        )
        lines.mul_(per_row[0]).add_(per_row[1]).clamp_(0, 255)
        result = lines.to(torch.uint8).reshape(images.shape)
    return result


def augment_state(
    state: Tensor, config: AugmentConfig, generator: torch.Generator, rows: Rows | None = None
) -> Tensor:
    """Add Gaussian noise to states (B, T, D) in raw units; the argument is left as it is. `rows` as for images."""
    rows = rows or Rows(len(state), torch.arange(len(state)))
    noise = torch.randn((rows.total, *state.shape[1:]), generator=generator)[rows.here]
    return state + config.state_noise * noise if config.state_noise else state
