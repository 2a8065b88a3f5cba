# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Random changes to a training batch: shifts, crops, light and colour of images, an erased part, noise on the state.

All randomness comes from the generator passed in, which is on the CPU: the same numbers are drawn whatever the images
are on. Drawing and changing are apart, so that a reader draws and the device of the network changes. Every frame of one
sample and view gets the same change, since the change stands for another day or another mounting, not for movement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from hpt_ros.structured import field

# Of an erased rectangle, width over height: arXiv 1708.04896, section 4.
ERASED_ASPECT = (0.3, 1 / 0.3)


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Strength of each change; 0 switches it off. Defaults are modest: the pictures stay plausible."""

    brightness: float = field(
        "largest shift of all values, as a fraction of the full range", default=0.08, minimum=0.0, maximum=1.0
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
    # Off: what is at the border is cut off, and what is left looks nearer than it is.
    crop: float = field(
        "largest part cut off an image's height and width, in any place; what is left is enlarged to the whole size",
        default=0.0,
        minimum=0.0,
        maximum=0.9,
    )
    # Off: what is handled is often small, and a policy cannot act on what it does not see.
    erase: float = field(
        "largest erased rectangle, as a fraction of the image's area; filled with a random colour",
        default=0.0,
        minimum=0.0,
        maximum=0.9,
    )
    state_noise: float = field(
        "standard deviation of Gaussian noise on the state, in its own unit; against a policy that copies its state",
        default=0.0,
        minimum=0.0,
    )

    @property
    def changes_images(self) -> bool:
        """Whether images are changed at all."""
        return any((self.brightness, self.contrast, self.colour, self.shift_px, self.crop, self.erase))


@dataclass(frozen=True, slots=True)
class Rows:
    """Which samples of a batch are there, where processes share it: each sample gets its own change all the same."""

    total: int  # samples of the batch
    here: Tensor  # int64 (B,), those that are there


@dataclass(frozen=True, slots=True)
class ImageChanges:
    """What to change in the images of a batch, one change for each of B samples and V views; None: nothing.

    Attributes:
        moves: int64 (B, V, 2), pixels down and to the right.
        crops: float32 (B, V, 3), of the height what is above, of the width what is to the left, of both what stays.
        tint: float32 (B, V, 3), factor of each of R, G and B.
        gain: float32 (B, V), factor of the distance to the mean.
        light: float32 (B, V), added to all values of 0 to 255.
        erased: int64 (B, V, 4), a rectangle's first row and column and the ones after its last.
        fill: uint8 (B, V, 3), its colour.
    """

    moves: Tensor | None = None
    crops: Tensor | None = None
    tint: Tensor | None = None
    gain: Tensor | None = None
    light: Tensor | None = None
    erased: Tensor | None = None
    fill: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> ImageChanges:
        """Return the same with each tensor changed, as to another device."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return ImageChanges(
            **{name: value if value is None else change(value) for name, value in values.items()}
        )


def stack_changes(changes: Sequence[ImageChanges]) -> ImageChanges:
    """Return the changes of several batches, of the same strengths, as those of one."""
    found = {}
    for item in fields(ImageChanges):
        parts = [getattr(each, item.name) for each in changes]
        found[item.name] = None if parts[0] is None else torch.cat(parts)
    return ImageChanges(**found)


def draw_image_changes(
    shape: tuple[int, ...], config: AugmentConfig, generator: torch.Generator, rows: Rows | None = None
) -> ImageChanges:
    """Draw what `change_images` does to images.

    Args:
        shape: of the images, (B, T, V, H, W, 3).
        config: strengths.
        generator: on the CPU.
        rows: which samples of a larger batch these are; all of it if None.

    Returns:
        Tensors on the CPU.
    """
    batch, _, views, height, width, _ = shape
    if not config.changes_images or height == 0:
        return ImageChanges()
    # Drawn in every case, so that one strength does not change the draws of another.
    rows = rows or Rows(batch, torch.arange(batch))
    drawn = rows.total
    unit = (torch.rand((drawn, views, 3), generator=generator) * 2 - 1)[rows.here]
    light, stretch = (torch.rand((2, drawn, views), generator=generator)[:, rows.here] * 2 - 1).unbind(0)
    offsets = torch.rand((drawn, views, 2), generator=generator)[rows.here]
    size, position, fill = (
        torch.rand((drawn, views, count), generator=generator)[rows.here] for count in (2, 2, 3)
    )
    cut = torch.rand((drawn, views, 3), generator=generator)[rows.here]
    coloured = config.brightness or config.contrast or config.colour
    moves = (offsets * (2 * config.shift_px + 1)).floor().long() - config.shift_px
    return ImageChanges(
        moves=moves if config.shift_px else None,
        crops=_crops(config.crop, cut) if config.crop else None,
        tint=1 + config.colour * unit if coloured else None,
        gain=1 + config.contrast * stretch if coloured else None,
        light=255 * config.brightness * light if coloured else None,
        erased=_rectangles(config.erase, size, position, height, width) if config.erase else None,
        fill=(fill * 256).to(torch.uint8) if config.erase else None,
    )


def _crops(most: float, drawn: Tensor) -> Tensor:
    """Crops (B, V, 3) that cut off up to `most` of each side's length, of numbers (B, V, 3) in [0, 1)."""
    lost = most * drawn[..., :1]
    return torch.cat((lost * drawn[..., 1:], 1 - lost), dim=-1)


def _rectangles(most: float, size: Tensor, position: Tensor, height: int, width: int) -> Tensor:
    """Rectangles (B, V, 4) of an area of up to `most` of the image's, of numbers (B, V, 2) in [0, 1)."""
    low, high = (math.log(aspect) for aspect in ERASED_ASPECT)
    area = most * size[..., 0] * height * width
    aspect = torch.exp(low + (high - low) * size[..., 1])
    sides = torch.stack(((area / aspect).sqrt(), (area * aspect).sqrt()), dim=-1)
    room = torch.tensor((height, width))
    sides = torch.minimum(sides.round().long(), room)
    first = (position * (room - sides + 1)).long()
    return torch.cat((first, first + sides), dim=-1)


def change_images(images: Tensor, changes: ImageChanges) -> Tensor:
    """Shift and crop images, change their brightness, contrast and colour, and erase a part, in this order.

    Args:
        images: uint8 (B, T, V, H, W, 3), on any device.
        changes: on the same device.

    Returns:
        uint8 of the same shape; the argument is left as it is (and returned itself where there is nothing to change).
        On CPU and GPU the same but for rounding: values differ by at most 1.
    """
    result = images
    if changes.moves is not None:
        shifted = shift_in_turn if images.device.type == "cpu" else shift_at_once
        result = shifted(result, changes.moves)
    if changes.crops is not None:
        result = crop_images(result, changes.crops)
    if changes.tint is not None and changes.gain is not None and changes.light is not None:
        # value' = tint * (gain * (value - mean) + mean) + light; every fourth pixel each way is enough for the mean.
        tint = changes.tint[:, None, :, None, None]
        gain, light = (part[:, None, :, None, None, None] for part in (changes.gain, changes.light))
        mean = result[:, :, :, ::4, ::4].float().mean(dim=(1, 3, 4), keepdim=True)
        offset = tint * mean * (1 - gain) + light
        # This is done for every pixel, so: few passes, rows of width x 3 as the inner loop, and a half added to make
        # truncation rounding.
        width = images.shape[4]
        lines = result.flatten(4).float()  # (B, T, V, H, W * 3)
        per_row = (
            (tint * gain).flatten(4).repeat(1, 1, 1, 1, width),
            (offset + 0.5).flatten(4).repeat(1, 1, 1, 1, width),
        )
        lines.mul_(per_row[0]).add_(per_row[1]).clamp_(0, 255)
        result = lines.to(torch.uint8).reshape(images.shape)
    if changes.erased is not None and changes.fill is not None:
        top, left, bottom, right = changes.erased.unbind(-1)
        height, width = images.shape[3:5]
        inside = [
            (places >= low[..., None]) & (places < high[..., None])  # (B, V, H) and (B, V, W)
            for places, low, high in (
                (torch.arange(height, device=images.device), top, bottom),
                (torch.arange(width, device=images.device), left, right),
            )
        ]
        hidden = inside[0][..., :, None] & inside[1][..., None, :]  # (B, V, H, W)
        result = torch.where(hidden[:, None, ..., None], changes.fill[:, None, :, None, None], result)
    return result


def shift_in_turn(images: Tensor, moves: Tensor) -> Tensor:
    """Move images (B, T, V, H, W, 3) by (B, V, 2) pixels, the border repeated; the quicker way on a CPU."""
    lines, columns = _sources(images, moves)
    result = torch.empty_like(images)
    for b in range(images.shape[0]):
        for v in range(images.shape[2]):
            chosen = images[b, :, v].index_select(1, lines[b, v])
            result[b, :, v] = chosen.index_select(2, columns[b, v])
    return result


def shift_at_once(images: Tensor, moves: Tensor) -> Tensor:
    """Do the same by one operation, as a GPU wants it."""
    lines, columns = _sources(images, moves)
    sample, view = (torch.arange(count, device=images.device) for count in (len(images), images.shape[2]))
    # The axis T goes to the end and back: (B, V, H, W, T, 3).
    moved = images.movedim(1, -2)[
        sample[:, None, None, None], view[:, None, None], lines[..., :, None], columns[..., None, :]
    ]
    return moved.movedim(-2, 1)


def crop_images(images: Tensor, crops: Tensor) -> Tensor:
    """Enlarge a part of images (B, T, V, H, W, 3) to their size, bilinearly; `crops` as in `ImageChanges`."""
    batch, steps, views, height, width, _ = images.shape
    first, kept = crops[..., :2], crops[..., 2:]
    # The centre of what stays, in coordinates in which the image reaches from -1 to 1: x before y.
    centre = (2 * first + kept - 1).flip(-1)
    scale = torch.diag_embed(kept.expand(-1, -1, 2))
    grid = functional.affine_grid(
        torch.cat((scale, centre[..., None]), dim=-1).flatten(0, 1),
        [batch * views, 3, height, width],
        align_corners=False,
    )
    flat = images.permute(0, 2, 1, 5, 3, 4).reshape(batch * views, steps * 3, height, width).float()
    sampled = functional.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    rounded = (sampled + 0.5).to(torch.uint8).view(batch, views, steps, 3, height, width)
    return rounded.permute(0, 2, 1, 4, 5, 3).contiguous()


def _sources(images: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Row (B, V, H) and column (B, V, W) that each pixel comes from."""
    height, width = images.shape[3:5]
    down, right = (part[..., None] for part in moves.unbind(-1))
    lines = (torch.arange(height, device=images.device) - down).clamp_(0, height - 1)
    return lines, (torch.arange(width, device=images.device) - right).clamp_(0, width - 1)


def augment_state(
    state: Tensor, config: AugmentConfig, generator: torch.Generator, rows: Rows | None = None
) -> Tensor:
    """Add Gaussian noise to states (B, T, D) in raw units; the argument is left as it is. `rows` as for images."""
    rows = rows or Rows(len(state), torch.arange(len(state)))
    noise = torch.randn((rows.total, *state.shape[1:]), generator=generator)[rows.here]
    return state + config.state_noise * noise if config.state_noise else state
