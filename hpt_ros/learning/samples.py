# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which samples there are, in which order they are drawn, and the batch that they make.

Everything is a pure function of the seed and the step, so a run that is resumed draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset import Dataset, DatasetError, Episode
from hpt_ros.dataset.layout import features_of, joined_feature, stream_feature
from hpt_ros.embodiment.windows import action_window, observation_window
from hpt_ros.modalities import MODALITIES, STATE, Layout


@dataclass(frozen=True, slots=True)
class Split:
    """Episodes to learn from and episodes kept aside; no episode is in both."""

    train: tuple[Episode, ...]
    validation: tuple[Episode, ...]


def split_episodes(
    dataset: Dataset, validation_share: float, seed: int, episodes: tuple[Episode, ...] | None = None
) -> Split:
    """Set whole episodes aside for validation, since neighbouring ticks of one episode are nearly equal.

    Args:
        dataset: at least one episode; at least two when `validation_share` is above 0.
        validation_share: 0 to below 1; any share above 0 keeps at least one episode, and leaves at least one.
        seed: the choice depends on it and on the number of episodes alone.
        episodes: those to split; all of the dataset if None.

    Raises:
        DatasetError: too few episodes.
    """
    episodes = dataset.episodes if episodes is None else episodes
    count = len(episodes)
    if count < (2 if validation_share > 0 else 1):
        raise DatasetError(
            f"dataset {str(dataset.root)!r} has {count} episodes, but {2 if validation_share > 0 else 1} or more were "
            "expected to train and validate; record more, or set validation_share to 0"
        )
    kept = 0 if validation_share == 0 else min(max(1, round(count * validation_share)), count - 1)
    aside = set(np.random.default_rng([seed, 1]).permutation(count)[:kept].tolist())
    return Split(
        tuple(episode for place, episode in enumerate(episodes) if place not in aside),
        tuple(episode for place, episode in enumerate(episodes) if place in aside),
    )


@dataclass(frozen=True, slots=True)
class Windows:
    """All samples of some episodes: sample i is tick ``tick[i]`` of an episode of rows first[i] .. last[i]."""

    tick: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    observation_horizon: int
    action_horizon: int

    @staticmethod
    def of(episodes: tuple[Episode, ...], observation_horizon: int, action_horizon: int) -> Windows:
        """Every tick of every episode is one sample."""
        lengths = [episode.length for episode in episodes]
        return Windows(
            np.concatenate([np.arange(episode.start, episode.stop, dtype=np.int64) for episode in episodes]),
            np.repeat(np.array([episode.start for episode in episodes], dtype=np.int64), lengths),
            np.repeat(np.array([episode.stop - 1 for episode in episodes], dtype=np.int64), lengths),
            observation_horizon,
            action_horizon,
        )

    def __len__(self) -> int:
        return len(self.tick)

    def rows(
        self, samples: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of the dataset: observed (B, T), acted (B, horizon), and is_pad (B, horizon)."""
        observed = observation_window(self.tick[samples], self.observation_horizon, self.first[samples])
        acted, is_pad = action_window(self.tick[samples], self.action_horizon, self.last[samples])
        return observed, acted, is_pad


def samples_between(
    start: int,
    stop: int,
    count: int,
    seed: tuple[int, ...],
    member: int = 0,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """The samples that are drawn at places start .. stop - 1 of an endless order: epochs, each in an order of its own.

    Args:
        start, stop: places, from 0.
        count: number of samples, and length of an epoch.
        seed: of the order.
        member: number of the dataset in a mixture; each has an order of its own.
        weights: (count,), of sum above 0; an epoch has each sample as often as its weight says, rounded up or down at
            random. Once each if None.
    """
    epochs, places = np.divmod(np.arange(start, stop), count)
    found = np.empty(stop - start, dtype=np.int64)
    for epoch in np.unique(epochs).tolist():
        random = np.random.default_rng([*seed, epoch, member])
        order = random.permutation(count)
        if weights is not None:  # systematic sampling: evenly spaced points over the weights laid end to end
            points = (np.arange(count) + random.random()) * (weights.sum() / count)
            order = np.minimum(np.searchsorted(np.cumsum(weights), points, side="right"), count - 1)[order]
        here = epochs == epoch
        found[here] = order[places[here]]
    return found


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch in raw units: what the policy's `loss` takes."""

    inputs: dict[str, NDArray[Any]]  # a key per modality, see `gather`
    action: NDArray[np.float32]  # (B, horizon, Da), in the action's mode
    is_pad: NDArray[np.bool_]  # (B, horizon)
    state: NDArray[np.float32]  # (B, D), at the tick of the first action: what a mode is relative to


def gather(
    dataset: Dataset,
    frames: NDArray[np.uint8] | None,
    windows: Windows,
    samples: NDArray[np.int64],
    modalities: Sequence[str],
    *,
    features: Mapping[str, NDArray[Any]] | None = None,
) -> Batch:
    """Copy the rows of some samples out of memory and the memory maps.

    Args:
        dataset: opened.
        frames: uint8 (N, V, H, W, 3); may be None where no sample needs it.
        windows: of the episodes that the samples are of.
        samples: (B,) indices of `windows`.
        modalities: the policy's.
        features: modality to cached features (N, V, cells, width), which stand in for its pictures.

    Returns:
        Inputs by their names (`hpt_ros.modalities`), T ticks each, oldest first: joined vectors float32 (B, T, D),
        arrays side by side (B, T, streams, *sample) such as ``image`` uint8 (B, T, V, H, W, 3) or ``image_features``
        (B, T, V, cells, width); ``actions`` float32 (B, T, Da), the commands at the tick before each, or what holding
        would have commanded where there is none; ``task`` int64 (B,), of `Dataset.tasks`.

    Raises:
        DatasetError: a modality that the dataset does not have.
    """
    observed, acted, is_pad = windows.rows(samples)
    inputs: dict[str, NDArray[Any]] = {}
    for name in modalities:
        modality, there = MODALITIES[name], bool(dataset.embodiment.streams_of(name))
        if features is not None and name in features:
            inputs[modality.inputs[0]] = features[name][observed]
        elif modality.layout is Layout.COMMANDS:
            inputs[name] = previous_actions(dataset, observed, windows.first[samples])
        elif modality.layout is Layout.TEXT:
            inputs[modality.input] = dataset.task_index[windows.tick[samples]]
        elif modality.layout is Layout.JOINED and there:
            inputs[modality.input] = joined_vectors(dataset, name)[observed]
        elif modality.video and there and frames is not None:
            inputs[modality.input] = frames[observed]
        elif modality.layout is Layout.STACKED and there and not modality.video:
            inputs[modality.input] = side_by_side(dataset, name, observed)
        else:
            raise DatasetError(
                f"dataset {str(dataset.root)!r} has nothing for the modality {name!r} that the policy wants; its "
                f"features are {', '.join(features_of(dataset.embodiment))}: take that stem out of the recipe"
            )
    state = dataset.state[windows.tick[samples]]
    return Batch(inputs, actions_in_mode(dataset, acted, state), is_pad, state)


def actions_in_mode(
    dataset: Dataset, rows: NDArray[np.int64], state: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Chunks as the policy is to predict them; datasets hold absolute actions.

    Args:
        dataset: opened.
        rows: of the actions, (B, horizon).
        state: (B, D), at the tick of the first action.

    Returns:
        float32 (B, horizon, Da), in the mode of the embodiment's action; of continuous joints never absolute.

    Raises:
        EmbodimentError: they are not the absolute actions, and the pose of what is commanded is not observed.
    """
    absolute: NDArray[np.float32] = dataset.action[rows]
    robot = dataset.embodiment
    if robot.space.predicted_as_held:
        return absolute
    return robot.space.to_mode(absolute, state).astype(np.float32)


def previous_actions(
    dataset: Dataset, observed: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The command at the tick before each observed one, float32 (B, T, Da).

    Before an episode's first tick there was none: then it is what holding still would have commanded, the measured
    pose (of twists: zero).

    Args:
        dataset: opened.
        observed: rows (B, T).
        first: first row (B,) of each sample's episode.

    Raises:
        EmbodimentError: the pose of what is commanded is not observed.
    """
    at_start = observed == first[:, None]
    actions: NDArray[np.float32] = dataset.action[np.where(at_start, observed, observed - 1)]
    actions[at_start] = dataset.embodiment.space.holding(dataset.state[observed[at_start]])
    return actions


def joined_vectors(dataset: Dataset, modality: str) -> NDArray[np.float32]:
    """Vectors of a modality whose streams are joined, float32 (N, D), raw units."""
    return dataset.state if modality == STATE else dataset.arrays[joined_feature(modality)]


def side_by_side(dataset: Dataset, modality: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows, of any shape, of all streams of a modality that is no video: rows' shape + (streams, *sample)."""
    names = [stream_feature(modality, stream.name) for stream in dataset.embodiment.streams_of(modality)]
    return np.stack([dataset.arrays[name][rows] for name in names], axis=rows.ndim)
