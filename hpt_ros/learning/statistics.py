# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Statistics of the training data, which the normaliser takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset import Dataset
from hpt_ros.dataset.layout import stream_feature
from hpt_ros.dataset.metadata import read_image_sizes
from hpt_ros.learning.mixture import Member
from hpt_ros.learning.samples import Split, Windows, actions_in_mode, join_vectors
from hpt_ros.modalities import MODALITIES, Layout
from hpt_ros.model import Statistics
from hpt_ros.model.normaliser import MIN_RANGE

BLOCK_ROWS = 1024  # ticks read at a time: an hour of point clouds does not fit into memory
STATISTICS = ("limits", "quantiles")
QUANTILES = (0.01, 0.99)
# Quantiles want all values at once: of more than these, an evenly spread part is looked at.
QUANTILE_ROWS = 1 << 18


def training_statistics(
    data: Sequence[tuple[Dataset, Split]], modalities: Sequence[str] | None = None, kind: str = "limits"
) -> dict[str, Statistics]:
    """Statistics over the training episodes alone.

    Args:
        data: datasets of one robot, opened; of each split the `train` episodes count.
        modalities: the policy's; all that the datasets have if None.
        kind: one of `STATISTICS`; with "quantiles", `min` and `max` are the `QUANTILES`, but where these are the same
            number (a gripper that is seldom closed) the limits.

    Returns:
        "action" (in its mode), and of the modalities that are normalised those that are in the dataset: of joined
        vectors, and over the last axis of all arrays of a modality (of point clouds the axes, over all points).
    """
    first = data[0][0]
    names = ["action"] + [
        modality.name
        for modality in first.embodiment.modalities
        if modality.normalised and (modalities is None or modality.name in modalities)
    ]
    statistics: dict[str, Statistics] = {}
    for name in names:
        limits = merge_statistics(block for dataset, split in data for block in _values(dataset, split, name))
        statistics[name] = limits
        if kind == "quantiles":
            blocks = [block for dataset, split in data for block in _values(dataset, split, name)]
            every = -(-sum(map(len, blocks)) // QUANTILE_ROWS)
            some = np.concatenate([block[::every] for block in blocks])
            low, high = np.quantile(some, QUANTILES, axis=0).astype(np.float32)
            moving = high - low >= MIN_RANGE
            statistics[name] = Statistics(
                np.where(moving, low, limits.min), np.where(moving, high, limits.max), limits.mean, limits.std
            )
    return statistics


def retain(statistics: Mapping[str, Statistics], members: Sequence[Member], kind: str) -> dict[str, Any]:
    """What a checkpoint keeps of one embodiment's training data; beside quantiles, what the limits would have been."""
    figures: dict[str, Any] = {
        name: {part: getattr(values, part).tolist() for part in ("min", "max", "mean", "std")}
        for name, values in statistics.items()
    }
    if kind != "limits":
        limits = training_statistics([(m.dataset, m.split) for m in members], list(statistics))
        for name, values in limits.items():
            figures[name] |= {"limits": {"min": values.min.tolist(), "max": values.max.tolist()}}
    sizes: dict[str, list[Any]] = {}
    for member in members:
        for stream, found in read_image_sizes(member.dataset.root).items():
            there = sizes.setdefault(stream, [])
            there += [size for size in found if size not in there]
    return figures | {"samples": sum(len(member.windows) for member in members), "image_sizes": sizes}


def merge_statistics(blocks: Iterable[NDArray[np.float32]]) -> Statistics:
    """Statistics of blocks (N_i, D) of samples that together are too many to be held, as if they were one array."""
    count, low, high = 0, np.array(np.inf), np.array(-np.inf)
    mean, squares = np.array(0.0), np.array(0.0)
    for block in blocks:
        samples = block.astype(np.float64)
        low, high = np.minimum(low, samples.min(0)), np.maximum(high, samples.max(0))
        # Chan et al.: the sum of squared distances from the mean, of two parts together.
        own, total = samples.mean(0), count + len(samples)
        squares = squares + samples.var(0) * len(samples) + (own - mean) ** 2 * count * len(samples) / total
        mean, count = mean + (own - mean) * len(samples) / total, total
    std = np.sqrt(squares / count)
    return Statistics(*(np.asarray(figure, dtype=np.float32) for figure in (low, high, mean, std)))


def _values(dataset: Dataset, split: Split, name: str) -> Iterable[NDArray[np.float32]]:
    """What is normalised under a name, in blocks (N, D) of the training episodes."""
    robot = dataset.embodiment
    if name == "action" and not robot.space.predicted_as_held:
        return _chunks(dataset, split)  # all chunks' real steps, since they are relative
    if name == "action":
        return _blocks(dataset.action, split)
    if MODALITIES[name].layout is Layout.JOINED:
        return _blocks(join_vectors(dataset, name), split)
    features = [stream_feature(name, stream.name) for stream in robot.streams_of(name)]
    return (block for feature in features for block in _blocks(dataset.arrays[feature], split))


def _chunks(dataset: Dataset, split: Split) -> Iterable[NDArray[np.float32]]:
    robot = dataset.embodiment
    windows = Windows.of(split.train, robot.observation_horizon, robot.action.horizon)
    for start in range(0, len(windows), BLOCK_ROWS):
        samples = np.arange(start, min(start + BLOCK_ROWS, len(windows)), dtype=np.int64)
        _, acted, is_pad = windows.rows(samples)
        yield actions_in_mode(dataset, acted, dataset.state[windows.tick(samples)])[~is_pad]


def _blocks(values: NDArray[np.float32], split: Split) -> Iterable[NDArray[np.float32]]:
    """Samples (N, D) of arrays (ticks, ..., D), a part of an episode at a time."""
    for episode in split.train:
        for start in range(episode.start, episode.stop, BLOCK_ROWS):
            yield values[start : min(start + BLOCK_ROWS, episode.stop)].reshape(-1, values.shape[-1])
