# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Statistics of the training data, which the normaliser takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset import Dataset
from hpt_ros.dataset.layout import stream_feature
from hpt_ros.learning.samples import Split, Windows, actions_in_mode, joined_vectors
from hpt_ros.modalities import Layout
from hpt_ros.model import Statistics

BLOCK_ROWS = 1024  # ticks read at a time: an hour of point clouds does not fit into memory


def training_statistics(
    dataset: Dataset, split: Split, modalities: Sequence[str] | None = None
) -> dict[str, Statistics]:
    """Statistics over the training episodes alone.

    Args:
        dataset: opened.
        split: its `train` episodes count.
        modalities: the policy's; all that the dataset has if None.

    Returns:
        "action" (in its mode), and of the modalities that are normalised those that are in the dataset: of joined
        vectors, and over the last axis of all arrays of a modality (of point clouds the axes, over all points).
    """
    robot = dataset.embodiment
    statistics = {"action": _actions(dataset, split)}
    for modality in robot.modalities:
        key = modality.name
        if not modality.normalised or (modalities is not None and key not in modalities):
            continue
        if modality.layout is Layout.JOINED:
            statistics[key] = _over(joined_vectors(dataset, key), split)
        elif modality.layout is Layout.STACKED:
            names = [stream_feature(key, stream.name) for stream in robot.streams_of(key)]
            blocks = (block for name in names for block in _blocks(dataset.arrays[name], split))
            statistics[key] = merged(blocks)
    return statistics


def merged(blocks: Iterable[NDArray[np.float32]]) -> Statistics:
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


def _actions(dataset: Dataset, split: Split) -> Statistics:
    """Of actions in their mode: of those that are absolute once each, otherwise of all chunks' real steps."""
    robot = dataset.embodiment
    if robot.space.predicted_as_held:
        return _over(dataset.action, split)
    windows = Windows.of(split.train, robot.observation_horizon, robot.action.horizon)

    def blocks() -> Iterable[NDArray[np.float32]]:
        for start in range(0, len(windows), BLOCK_ROWS):
            samples = np.arange(start, min(start + BLOCK_ROWS, len(windows)), dtype=np.int64)
            _, acted, is_pad = windows.rows(samples)
            yield actions_in_mode(dataset, acted, dataset.state[windows.tick[samples]])[~is_pad]

    return merged(blocks())


def _over(values: NDArray[np.float32], split: Split) -> Statistics:
    return Statistics.of(np.concatenate([values[episode.start : episode.stop] for episode in split.train]))


def _blocks(values: NDArray[np.float32], split: Split) -> Iterable[NDArray[np.float32]]:
    """Samples (N, D) of arrays (ticks, ..., D), a part of an episode at a time."""
    for episode in split.train:
        for start in range(episode.start, episode.stop, BLOCK_ROWS):
            yield values[start : min(start + BLOCK_ROWS, episode.stop)].reshape(-1, values.shape[-1])
