# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Statistics of features per episode and over all, in the form that LeRobotDataset v3.0 keeps them.

A feature's statistics are ``min, max, mean, std, count`` and the quantiles ``q01, q10, q50, q90, q99``; vectors have
shape (dim,), images, scaled to 0..1 per channel, (3, 1, 1); ``count`` is the number of frames, shape (1,).
Depth has one of each for all pixels, shape (1, 1), or (1, 1, 1) where it is stored as a video, and point clouds one per
axis, (1, 3): either broadcasts to the feature's own shape, at a thousandth of the size of a figure for every pixel.
Over episodes, as LeRobot does: exact for all but the quantiles, which are means weighted by count, and depth, whose
episodes count by their frames although the fraction of measured pixels may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.layout import COUNTERS, Feature

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
FeatureStatistics = dict[str, NDArray[Any]]
# Shape of a figure of modalities that have not one for each element.
_SHAPES: Mapping[str, tuple[int, ...]] = {"image": (3, 1, 1), "depth": (1, 1), "pointcloud": (1, 3)}

# Images wider or higher than this are thinned before counting, as LeRobot does (300 px down to about 150).
_THIN_ABOVE_PX, _THIN_TO_PX = 300, 150
_QUANTILE_POINTS = 1 << 20


def statistics_shapes(features: Mapping[str, Feature]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shape of each figure of an episode's statistics, by column of the data and name of the figure."""
    shapes = {
        name: (1, 1, 1) if feature.coded else _SHAPES.get(feature.modality, feature.shape)
        for name, feature in features.items()
    }
    shapes |= dict.fromkeys(COUNTERS, (1,))
    return {
        name: {**dict.fromkeys(("min", "max", "mean", "std", *QUANTILES), shape), "count": (1,)}
        for name, shape in shapes.items()
    }


def vector_statistics(values: NDArray[Any]) -> FeatureStatistics:
    """Return the statistics of an episode's rows, (length, dim) or (length,) for a scalar feature."""
    rows = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    result = {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([len(rows)]),
    }
    return result | dict(zip(QUANTILES, np.quantile(rows, list(QUANTILES.values()), axis=0), strict=True))


@dataclass
class ImageStatistics:
    """Statistics of images from a histogram per channel: exact, and as small for an hour as for a second."""

    frames: int = 0
    _histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 256), np.int64))

    def add(self, *images: NDArray[np.uint8]) -> None:
        """Count images of one size, uint8 (height, width, 3)."""
        height, width = images[0].shape[:2]
        step = max(1, max(height, width) // _THIN_TO_PX) if max(height, width) >= _THIN_ABOVE_PX else 1
        parts = [image[::step, ::step] for image in images]
        thinned = np.concatenate(parts) if len(parts) > 1 else np.ascontiguousarray(parts[0])
        for channel in range(
            3
        ):  # unlike NumPy's, it lets other threads run; its floats count to 16 Mi exactly
            counts = cv2.calcHist([thinned], [channel], None, [256], [0, 256])
            self._histogram[channel] += counts.reshape(-1).astype(np.int64)
        self.frames += len(images)

    def result(self) -> FeatureStatistics:
        """Return the statistics; at least one image must have been added."""
        levels = np.arange(256) / 255.0
        weights = self._histogram / self._histogram.sum(axis=1, keepdims=True)
        mean = weights @ levels
        variance = np.maximum(weights @ levels**2 - mean**2, 0.0)
        seen = self._histogram > 0
        cumulated = np.cumsum(weights, axis=1)
        result = {
            "min": levels[np.argmax(seen, axis=1)],
            "max": levels[255 - np.argmax(seen[:, ::-1], axis=1)],
            "mean": mean,
            "std": np.sqrt(variance),
        }
        for key, quantile in QUANTILES.items():
            result[key] = levels[np.argmax(cumulated >= quantile - 1e-12, axis=1)]
        shaped: FeatureStatistics = {key: value.reshape(3, 1, 1) for key, value in result.items()}
        shaped["count"] = np.array([self.frames])
        return shaped


@dataclass
class DepthStatistics:
    """Statistics of the measured pixels of depth images, in mm, with so many axes; zeros without any."""

    frames: int = 0
    axes: int = 2
    _histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1 << 16, np.int64))

    def add(self, *images: NDArray[np.uint16]) -> None:
        """Count images, uint16 (height, width), mm."""
        for depth_mm in images:
            counts = np.bincount(depth_mm.reshape(-1))
            self._histogram[: len(counts)] += counts
        self.frames += len(images)

    def result(self) -> FeatureStatistics:
        """Return the statistics."""
        histogram = self._histogram.copy()
        histogram[0] = 0  # nothing was measured there
        levels = np.flatnonzero(histogram)
        counts = histogram[levels]
        if not len(levels):
            levels, counts = np.zeros(1, np.int64), np.ones(1, np.int64)
        mean = (counts @ levels) / counts.sum()
        result = {
            "min": levels[0],
            "max": levels[-1],
            "mean": mean,
            "std": np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()),
        }
        cumulated = np.cumsum(counts) / counts.sum()
        for key, quantile in QUANTILES.items():
            result[key] = levels[np.argmax(cumulated >= quantile - 1e-12)]
        shaped: FeatureStatistics = {
            key: np.full((1,) * self.axes, float(value)) for key, value in result.items()
        }
        shaped["count"] = np.array([self.frames])
        return shaped


def depth_statistics(images: NDArray[np.uint16]) -> FeatureStatistics:
    """Return the statistics of depth images (length, height, width), mm, over measured pixels; zeros without any."""
    statistics = DepthStatistics()
    for image in images:
        statistics.add(image)
    return statistics.result()


def array_statistics(arrays: NDArray[Any]) -> FeatureStatistics:
    """Return the statistics of arrays (length, ..., D) per element of the last axis, as of point clouds per coordinate.

    Quantiles are over `_QUANTILE_POINTS` rows, evenly spread.
    """
    length, width = len(arrays), arrays.shape[-1]
    rows = arrays.reshape(length, -1, width)
    total = np.zeros((2, width))
    count = length * rows.shape[1]
    for row in rows:
        total[0] += row.sum(axis=0, dtype=np.float64)
    mean = total[0] / count
    for row in rows:
        total[1] += ((row - mean) ** 2).sum(axis=0)
    result: FeatureStatistics = {
        "min": np.min([row.min(axis=0) for row in rows], axis=0),
        "max": np.max([row.max(axis=0) for row in rows], axis=0),
        "mean": mean,
        "std": np.sqrt(total[1] / count),
    }
    every = -(-count // _QUANTILE_POINTS)
    sample = rows.reshape(-1, width)[::every].astype(np.float64)
    for key, quantile in QUANTILES.items():
        result[key] = np.quantile(sample, quantile, axis=0)
    # One axis for each but the first: it broadcasts to what a sample is.
    shape = (*(1,) * (arrays.ndim - 2), width)
    result = {key: value.astype(np.float64).reshape(shape) for key, value in result.items()}
    result["count"] = np.array([length])
    return result


def aggregate(episodes: Sequence[Mapping[str, FeatureStatistics]]) -> dict[str, FeatureStatistics]:
    """Return the statistics over episodes from those of each; all must have the same features."""
    return {name: _aggregate_feature([episode[name] for episode in episodes]) for name in episodes[0]}


def _aggregate_feature(parts: Sequence[FeatureStatistics]) -> FeatureStatistics:
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    total = counts.sum()

    def weigh(key: str) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = np.tensordot(
            counts / total, np.stack([part[key] for part in parts]), axes=1
        )
        return mean

    mean = weigh("mean")
    spread = np.stack([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    result: FeatureStatistics = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(np.tensordot(counts / total, spread, axes=1)),
        "count": np.array([int(total)]),
    }
    for key in QUANTILES:
        result[key] = weigh(key)
    return result


def to_lists(statistics: Mapping[str, FeatureStatistics]) -> dict[str, dict[str, Any]]:
    """Return the same as lists, for JSON."""
    return {name: {key: value.tolist() for key, value in part.items()} for name, part in statistics.items()}
