# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The fixed sinusoidal position table that HPT adds before its stems and before its trunk."""

from __future__ import annotations

import torch
from torch import Tensor


def position_table(positions: int, width: int) -> Tensor:
    """Return the table of HPT: angle(pos, j) = pos / 10000^(2 floor(j/2) / width), sine on even j, cosine on odd j.

    The angles are computed in double precision, as the released code does, and the table is (positions, width)
    float32 on the default device. The width may be odd.
    """
    position = torch.arange(positions, dtype=torch.float64)[:, None]
    column = torch.arange(width, dtype=torch.float64)[None, :]
    angle = position / 10000.0 ** (2.0 * torch.div(column, 2, rounding_mode="floor") / width)
    even = torch.arange(width)[None, :] % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).to(torch.float32)
