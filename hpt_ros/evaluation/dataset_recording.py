# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Episodes of a dataset as recordings that can be replayed: what it has at a tick arrives at that tick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset import Dataset, Episode
from hpt_ros.dataset.layout import join_feature_name, stream_feature
from hpt_ros.dataset.reader import episodes_with_frames
from hpt_ros.evaluation.replay import Arrival, Recording
from hpt_ros.modalities import STATE, Layout
from hpt_ros.observation import TickGrid

FIRST_TICK = 10_000  # of each episode: any but 0, at which simulated time has not begun


def dataset_recordings(dataset: Dataset) -> Iterator[Recording]:
    """Yield every selected episode; each must be replayed before the next one is taken, as their videos are shared."""
    for episode, frames in episodes_with_frames(dataset):
        actions = dataset.action[episode.start : episode.stop].astype(np.float64)
        yield Recording(
            f"episode {episode.index}",
            episode.task,
            {FIRST_TICK + offset: action for offset, action in enumerate(actions)},
            partial(_arrivals, dataset, episode, frames),
        )


def _arrivals(
    dataset: Dataset, episode: Episode, frames: Mapping[str, Iterator[NDArray[np.uint8]]]
) -> Iterator[Arrival]:
    robot = dataset.embodiment
    grid = TickGrid(robot.tick_hz)
    for row in range(episode.start, episode.stop):
        now_ns = grid.time_ns(FIRST_TICK + row - episode.start)
        for modality in robot.modalities:
            offset = 0
            for stream in robot.streams_of(modality.name):
                value: NDArray[Any]
                if modality.video:
                    value = next(frames[stream.name])
                elif modality.layout is Layout.STACKED:
                    value = dataset.arrays[stream_feature(modality.name, stream.name)][row]
                elif modality.layout is Layout.JOINED:
                    vector = (
                        dataset.state
                        if modality.name == STATE
                        else dataset.arrays[join_feature_name(modality.name)]
                    )
                    value = vector[row, offset : offset + len(stream.names)].astype(np.float64)
                    offset += len(stream.names)
                else:
                    continue  # the task's text, which the recording has
                yield Arrival(stream, now_ns, value=value)
