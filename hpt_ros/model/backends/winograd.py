# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""3x3 convolutions by Winograd's algorithm (Lavin and Gray, arXiv 1509.09308), out of matrix products alone.

F(m x m, 3 x 3) makes a tile of m x m outputs out of t x t inputs, t = m + 2, with t^2 multiplications per pair of
channels where the direct way takes 9 m^2: a quarter for m = 4, 1 / 2.25 for m = 2. The transforms before and after are
matrix products too (Kronecker products of the paper's small matrices), and the tiles are collected by `index_select`.

Activations stay in the order (position within the tile, tile, channel) from one convolution to the next, which that
order serves as well as any: a row of channels for each pixel, and one more row that stands for what lies outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

# B^T, G and A^T of arXiv 1509.09308, sections 4.1 (m = 2) and 4.3 (m = 4).
_MATRICES = {
    2: (
        ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        ((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
    4: (
        (
            (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
        ),
        (
            (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
        ),
        ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    ),
}  # fmt: skip


@cache
def _matrices(m: int) -> tuple[Tensor, Tensor, Tensor]:
    to_input, to_kernel, to_output = (torch.tensor(matrix, dtype=torch.float64) for matrix in _MATRICES[m])
    return (
        torch.kron(to_input, to_input).float(),
        torch.kron(to_kernel, to_kernel),
        torch.kron(to_output, to_output).float(),
    )


@dataclass(frozen=True)
class Tiling:
    """How square maps of `side` pixels are cut into tiles of m x m; rows are pixels in one order or another.

    Attributes:
        side: of the maps, in pixels.
        m: side of a tile of outputs.
        frames: maps at once.
    """

    side: int
    m: int
    frames: int

    @property
    def tiles(self) -> int:
        """Tiles of all maps."""
        return self.frames * (-(-self.side // self.m)) ** 2

    @property
    def rows(self) -> int:
        """Rows of maps in tile order; row number `rows` itself stands for what lies outside."""
        return self.m**2 * self.tiles

    def tiled_row(self, frame: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Return the row of pixels in tile order."""
        m, across = self.m, -(-self.side // self.m)
        return (y % m * m + x % m) * self.tiles + (frame * across + y // m) * across + x // m

    def plain_row(self, frame: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Return the row of pixels in the order (frame, y, x)."""
        return (frame * self.side + y) * self.side + x

    def inputs_of_tiles(self, *, tiled: bool) -> Tensor:
        """Return the row that each input of each tile is, in the order (position within t x t, tile)."""
        return self._rows(self.m + 2, -1, tiled=tiled)

    def outputs_of_tiles(self) -> Tensor:
        """Return the plain row of each pixel in tile order; what lies outside is the last row."""
        return self._rows(self.m, 0, tiled=False)

    def pixels(self) -> Tensor:
        """Return the tiled row of each pixel in plain order."""
        frame, y, x = torch.meshgrid(
            torch.arange(self.frames), torch.arange(self.side), torch.arange(self.side), indexing="ij"
        )
        return self.tiled_row(frame, y, x).flatten()

    def _rows(self, size: int, start: int, *, tiled: bool) -> Tensor:
        across = -(-self.side // self.m)
        within, tile = torch.arange(size) + start, torch.arange(across) * self.m
        dy, dx, frame, ty, tx = torch.meshgrid(
            within, within, torch.arange(self.frames), tile, tile, indexing="ij"
        )
        y, x = ty + dy, tx + dx
        row = self.tiled_row(frame, y, x) if tiled else self.plain_row(frame, y, x)
        outside = (y < 0) | (x < 0) | (y >= self.side) | (x >= self.side)
        last = self.rows if tiled else self.frames * self.side**2
        return torch.where(outside, last, row).flatten()


class Scratch:
    """Where convolutions on maps of one tiling and number of channels leave what is between their steps.

    One serves all convolutions of a layer, which follow each other, so that it stays in the cache, and nothing is
    allocated in a step.
    """

    def __init__(self, tiling: Tiling, channels: int, dtype: torch.dtype = torch.float32) -> None:
        """Make room for tiles of at most `channels` channels."""
        size = (tiling.m + 2) ** 2 * tiling.tiles * channels
        self.gathered, self.spread = (torch.empty(size, dtype=dtype) for _ in range(2))


class WinogradConv:
    """A 3x3 convolution, stride 1, zero padding, on maps in tile order."""

    def __init__(self, kernel: Tensor, tiling: Tiling, scratch: Scratch, *, tiled: bool) -> None:
        """Prepare a kernel (C_out, C_in, 3, 3) for maps of `tiling`, which come in tile order or in plain order."""
        self.to_input, to_kernel, self.to_output = _matrices(tiling.m)
        channels_out, channels_in = kernel.shape[:2]
        flat = kernel.to(torch.float64).reshape(-1, 9).T
        self.kernel = (
            (to_kernel @ flat).reshape(-1, channels_out, channels_in).transpose(1, 2).float().contiguous()
        )
        self.index = tiling.inputs_of_tiles(tiled=tiled)
        self.tiling = tiling
        self.scratch = scratch

    def __call__(self, rows: Tensor, out: Tensor, *, add: bool = False) -> None:
        """Convolve rows (R + 1, C_in), the last of which lies outside; write to, or add to, `out` (rows, C_out)."""
        positions, tiles = len(self.to_input), self.tiling.tiles
        channels_in, channels_out = self.kernel.shape[1:]
        count_in, count_out = positions * tiles * channels_in, positions * tiles * channels_out
        gathered, spread = self.scratch.gathered[:count_in], self.scratch.spread[:count_in]
        torch.index_select(rows, 0, self.index, out=gathered.view(-1, channels_in))
        torch.mm(self.to_input, gathered.view(positions, -1), out=spread.view(positions, -1))
        product = self.scratch.gathered[:count_out]  # over what has been read
        torch.bmm(
            spread.view(positions, tiles, -1), self.kernel, out=product.view(positions, tiles, channels_out)
        )
        flat = out.view(len(self.to_output), -1)
        if add:
            flat.addmm_(self.to_output, product.view(positions, -1))
        else:
            torch.mm(self.to_output, product.view(positions, -1), out=flat)
