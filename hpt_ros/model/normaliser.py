# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Limits normalisation of actions, states and other vectors, with the names of the published files.

Formula (liruiw/HPT at 549433f): scale = 2 / (max - min), offset = -1 - scale * min, so that min maps to -1 and
max to 1. A dimension whose range is below 1e-4 is only shifted: scale 1, offset -min.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hpt_ros.errors import Code, HptError

MIN_RANGE = 1e-4


class NormaliserError(HptError):
    """Statistics are missing, of the wrong size, or no numbers."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of one feature over the training data, per dimension, in the feature's own units."""

    min: npt.NDArray[np.float32]
    max: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Statistics:
        """Compute the statistics of samples (N, D)."""
        samples = np.asarray(values, dtype=np.float64)
        if samples.ndim != 2 or samples.shape[0] == 0:
            raise NormaliserError(
                Code.WRONG_SHAPE, "statistics", samples.shape,
                problem="need samples of shape (N, D), N > 0, but got {value}", remedy="pass such",
            )  # fmt: skip
        return cls(
            *(
                np.asarray(figure, dtype=np.float32)
                for figure in (samples.min(0), samples.max(0), samples.mean(0), samples.std(0))
            )
        )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Sequence[float]], *, where: str) -> Statistics:
        """Read {"min": [...], "max": [...], "mean": [...], "std": [...]}; other keys are left alone."""
        missing = [name for name in ("min", "max", "mean", "std") if name not in mapping]
        if missing:
            raise NormaliserError(
                Code.MISSING, where, problem=f"lacks {', '.join(missing)}",
                remedy="compute the statistics again",
            )  # fmt: skip
        return cls(*(np.asarray(mapping[name], dtype=np.float32) for name in ("min", "max", "mean", "std")))

    def widen(self, other: Statistics) -> Statistics:
        """Return these with limits that hold those of others too; mean and deviation stay."""
        return Statistics(
            np.minimum(self.min, other.min), np.maximum(self.max, other.max), self.mean, self.std
        )

    def check(self, dim: int, *, where: str) -> None:
        """Raise unless every array is (dim,), finite, and min <= max."""
        for name in ("min", "max", "mean", "std"):
            array = getattr(self, name)
            if array.shape != (dim,):
                raise NormaliserError(
                    Code.INVALID, f"{where}, {name}, shape", array.shape, expected=f"({dim},)",
                    remedy="use statistics of the same embodiment",
                )  # fmt: skip
            if not np.isfinite(array).all():
                raise NormaliserError(
                    Code.NOT_FINITE, f"{where}, {name}", problem="holds a value that is no finite number",
                    remedy="clean the data",
                )  # fmt: skip
        if (self.min > self.max).any():
            index = int(np.argmax(self.min > self.max))
            raise NormaliserError(
                Code.OUT_OF_RANGE, where, self.min[index],
                problem=f"has min {{value}} above max {self.max[index]:g} in dimension {index}",
                remedy="compute the statistics again",
            )  # fmt: skip


class LimitsNormaliser(nn.Module):
    """Affine map of one feature between its own units and [-1, 1]. NaN until statistics are set or loaded."""

    scale: Tensor
    offset: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        for name in ("scale", "offset"):
            self.register_buffer(name, torch.full((dim,), torch.nan))
        self.input_stats = nn.Module()
        for name in ("min", "max", "mean", "std"):
            self.input_stats.register_buffer(name, torch.full((dim,), torch.nan))

    def set_statistics(self, statistics: Statistics, *, where: str) -> None:
        """Take the statistics of the training data; `where` names them in errors."""
        statistics.check(self.dim, where=where)
        span = statistics.max.astype(np.float64) - statistics.min
        moving = span >= MIN_RANGE
        scale = np.where(moving, 2.0 / np.where(moving, span, 1.0), 1.0)
        offset = np.where(moving, -1.0, 0.0) - scale * statistics.min
        with torch.no_grad():
            self.scale.copy_(torch.as_tensor(scale))
            self.offset.copy_(torch.as_tensor(offset))
            for name in ("min", "max", "mean", "std"):
                self.input_stats.get_buffer(name).copy_(torch.as_tensor(getattr(statistics, name)))

    @property
    def statistics(self) -> Statistics:
        """What was set or loaded."""
        stored = (self.input_stats.get_buffer(name) for name in ("min", "max", "mean", "std"))
        return Statistics(*(tensor.detach().cpu().numpy().copy() for tensor in stored))

    @property
    def ready(self) -> bool:
        """Whether statistics have been set or loaded."""
        return bool(torch.isfinite(self.scale).all() and torch.isfinite(self.offset).all())

    def normalise(self, x: Tensor) -> Tensor:
        """Map (..., D) in raw units to normalised units."""
        return x * self.scale + self.offset

    def unnormalise(self, x: Tensor) -> Tensor:
        """Map (..., D) in normalised units to raw units; the inverse of `normalise`."""
        return (x - self.offset) / self.scale


class Normaliser(nn.Module):
    """The normalisers of an embodiment's features, under the published names `params_dict.{action,state}`."""

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.params_dict = nn.ModuleDict({name: LimitsNormaliser(dim) for name, dim in dims.items()})

    def __getitem__(self, name: str) -> LimitsNormaliser:
        module = self.params_dict[name]
        assert isinstance(module, LimitsNormaliser)
        return module

    @property
    def dims(self) -> dict[str, int]:
        """The features, with the dimension of each."""
        return {name: self[name].dim for name in self.params_dict}

    @property
    def statistics(self) -> dict[str, Statistics]:
        """The statistics of every feature."""
        return {name: self[name].statistics for name in self.params_dict}

    def set_statistics(self, statistics: Mapping[str, Statistics]) -> None:
        """Take statistics for every feature; keys are exactly those of `dims`."""
        if set(statistics) != set(self.params_dict):
            raise NormaliserError(
                Code.INVALID, "statistics", problem=f"are given for {sorted(statistics)}",
                expected=f"{sorted(self.params_dict)}", remedy="give exactly those",
            )  # fmt: skip
        for name, figures in statistics.items():
            self[name].set_statistics(figures, where=f"the statistics of {name!r}")

    def require_ready(self) -> None:
        """Raise unless all statistics are there."""
        for name in self.params_dict:
            if not self[name].ready:
                raise NormaliserError(
                    Code.NOT_READY, f"the normaliser of {name!r}", problem="has no statistics yet",
                    remedy="call Policy.set_statistics with those of the training data, or load a checkpoint",
                )  # fmt: skip
