# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a policy predicts over a few validation episodes, beside what was recorded and seen; for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.dataset import Episode
from hpt_ros.embodiment import Embodiment
from hpt_ros.learning.batch_source import BatchSource
from hpt_ros.learning.mixture import Mixture
from hpt_ros.learning.samples import Windows
from hpt_ros.model import MultiPolicy, Policy
from hpt_ros.report.images import thumbnail

CHUNKS = 24  # of an episode that are predicted and drawn
IMAGES = 6  # of an episode and view
MOST_VIEWS = 3
MOST_ROBOTS = 8
BATCH = 8


@dataclass(frozen=True, slots=True)
class Predicted:
    """An episode as it was recorded and as the policy would have gone on from some of its ticks.

    Attributes:
        robot: that it is of.
        episode: its number in the dataset.
        task: its text.
        recorded: (N, A) actions.
        ticks: (C,) from which a chunk was predicted.
        chunks: (C, K, A) absolute actions; NaN beyond the episode's end.
        images: view to its frames at `shown`, as JPEG files.
        shown: ticks of the images.
    """

    robot: Embodiment
    episode: int
    task: str
    recorded: NDArray[np.float64]
    ticks: NDArray[np.int64]
    chunks: NDArray[np.float64]
    images: dict[str, list[bytes]]
    shown: tuple[int, ...]


def predict_episodes(
    policy: MultiPolicy, mixture: Mixture, sources: Sequence[BatchSource]
) -> list[Predicted]:
    """Predict over the first validation episodes: two of a single dataset, else one of each robot."""
    found: list[Predicted] = []
    seen: set[str] = set()
    count = 2 if len(mixture.members) == 1 else 1
    for member, source in zip(mixture.members, sources, strict=True):
        if member.embodiment in seen or len(seen) >= MOST_ROBOTS:
            continue
        seen.add(member.embodiment)
        single = policy.single(member.embodiment)
        found += [predict_episode(single, source, episode) for episode in member.split.validation[:count]]
    return found


def predict_episode(policy: Policy, source: BatchSource, episode: Episode) -> Predicted:
    """Predict from evenly spaced ticks of an episode; the policy must be in evaluation mode."""
    robot = source.dataset.embodiment
    windows = Windows.of((episode,), robot.observation_horizon, robot.action.horizon)
    ticks = np.unique(np.linspace(0, episode.length - 1, CHUNKS).round().astype(np.int64))
    chunks = []
    for begin in range(0, len(ticks), BATCH):
        batch = source.batch(windows, ticks[begin : begin + BATCH])
        with torch.inference_mode():
            predicted = policy.predict(batch.inputs).float().cpu().numpy()
        absolute = np.asarray(robot.space.from_mode(predicted, batch.state), dtype=np.float64)
        absolute[batch.is_pad] = np.nan
        chunks.append(absolute)
    shown = tuple(np.unique(np.linspace(0, episode.length - 1, IMAGES).round().astype(np.int64)).tolist())
    images: dict[str, list[bytes]] = {}
    if source.frames is not None:
        for view, stream in enumerate(robot.image_streams[:MOST_VIEWS]):
            images[stream.name] = [thumbnail(source.frames[episode.start + tick, view]) for tick in shown]
    recorded = source.dataset.action[episode.start : episode.stop].astype(np.float64)
    return Predicted(
        robot, episode.index, episode.task, recorded, ticks, np.concatenate(chunks), images, shown
    )
