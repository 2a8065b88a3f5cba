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
from hpt_ros.dataset.layout import features_of, join_feature_name, stream_feature
from hpt_ros.embodiment.windows import action_window, observation_window
from hpt_ros.errors import Code, format_count
from hpt_ros.modalities import MODALITIES, STATE, Layout

LAID_OUT = 1 << 16  # samples of which an epoch's order is made at once: half a megabyte, a millisecond
ROUNDS = 6  # of the Feistel network that orders samples: three look random (Luby and Rackoff, 1988), and some to spare


@dataclass(frozen=True, slots=True)
class Split:
    """Episodes to learn from and episodes held out; no episode is in both."""

    train: tuple[Episode, ...]
    validation: tuple[Episode, ...]


def split_episodes(
    dataset: Dataset, validation_ratio: float, seed: int, episodes: tuple[Episode, ...] | None = None
) -> Split:
    """Set complete episodes aside for validation, since neighbouring ticks of one episode are nearly equal.

    Args:
        dataset: at least one episode; at least two when `validation_ratio` is above 0.
        validation_ratio: 0 to below 1; any share above 0 keeps at least one episode, and leaves at least one.
        seed: the choice depends on it and on the number of episodes alone.
        episodes: those to split; all of the dataset if None.

    Raises:
        DatasetError: too few episodes.
    """
    episodes = dataset.episodes if episodes is None else episodes
    count = len(episodes)
    if count < (2 if validation_ratio > 0 else 1):
        least = 2 if validation_ratio > 0 else 1
        raise DatasetError(
            Code.OUT_OF_RANGE, f"dataset {str(dataset.root)!r}", count,
            problem=f"has {format_count(count, 'episode')} to train and validate on", expected=f"{least} or more",
            remedy="record more, or set validation_ratio to 0",
        )  # fmt: skip
    kept = 0 if validation_ratio == 0 else min(max(1, round(count * validation_ratio)), count - 1)
    aside = set(np.random.default_rng([seed, 1]).permutation(count)[:kept].tolist())
    return Split(
        tuple(episode for index, episode in enumerate(episodes) if index not in aside),
        tuple(episode for index, episode in enumerate(episodes) if index in aside),
    )


@dataclass(frozen=True, slots=True)
class Windows:
    """All samples of E episodes: each tick is one, in the order of the episodes. It holds nothing of single ticks."""

    starts: NDArray[np.int64]  # (E,), first row of each
    ends: NDArray[np.int64]  # (E,), number of samples up to its last
    observation_horizon: int
    action_horizon: int

    @staticmethod
    def of(episodes: tuple[Episode, ...], observation_horizon: int, action_horizon: int) -> Windows:
        """Every tick of every episode is one sample."""
        return Windows(
            np.array([episode.start for episode in episodes], dtype=np.int64),
            np.cumsum([episode.length for episode in episodes], dtype=np.int64),
            observation_horizon,
            action_horizon,
        )

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def episode(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of the samples' episodes, (B,)."""
        return np.searchsorted(self.ends, samples, side="right")

    def tick(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the dataset (B,) that the samples are of."""
        of = self.episode(samples)
        lengths = np.diff(self.ends, prepend=0)
        return self.starts[of] + samples - (self.ends - lengths)[of]

    def first(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """First rows (B,) of the samples' episodes."""
        return self.starts[self.episode(samples)]

    def rows(
        self, samples: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of the dataset: observed (B, T), acted (B, horizon), and is_pad (B, horizon)."""
        of, tick = self.episode(samples), self.tick(samples)
        last = self.starts + np.diff(self.ends, prepend=0) - 1
        observed = observation_window(tick, self.observation_horizon, self.starts[of])
        acted, is_pad = action_window(tick, self.action_horizon, last[of])
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

    Neither its time nor its memory grows with the number of samples, unless there are weights.

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
        here = epochs == epoch
        if count <= LAID_OUT:
            found[here] = random.permutation(count)[places[here]]
        else:
            found[here] = shuffle(places[here], count, random.integers(0, 1 << 63, ROUNDS, dtype=np.uint64))
        if weights is not None:  # systematic sampling: evenly spaced points over the weights laid end to end
            points = (found[here] + random.random()) * (weights.sum() / count)
            found[here] = np.minimum(np.searchsorted(np.cumsum(weights), points, side="right"), count - 1)
    return found


def shuffle(places: NDArray[np.int64], count: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where each position goes in a random order of `count` things, without laying out the order.

    A Feistel network permutes the numbers of an even number of bits, at most four times as many as `count`; one that
    falls outside is permuted again until it falls inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
    2002). The round function is the finaliser of SplitMix64 (Steele et al., 2014).

    Of a few things some orders are likelier than others; of thousands nobody can tell.

    Args:
        places: of 0 .. count - 1.
        count: at least 1.
        keys: one for each round.
    """
    half = np.uint64(max(1, -(-(count - 1).bit_length() // 2)))
    mask = np.uint64((1 << int(half)) - 1)
    found = places.astype(np.uint64)
    outside = np.ones(len(found), dtype=bool)
    while outside.any():
        left, right = found[outside] >> half, found[outside] & mask
        for key in keys:
            left, right = right, left ^ (_mix(right ^ key) & mask)
        found[outside] = left << half | right
        outside = found >= np.uint64(count)
    return found.astype(np.int64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)


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
            inputs[name] = previous_actions(dataset, observed, windows.first(samples))
        elif modality.layout is Layout.TEXT:
            inputs[modality.input] = dataset.task_index[windows.tick(samples)]
        elif modality.layout is Layout.JOINED and there:
            inputs[modality.input] = join_vectors(dataset, name)[observed]
        elif modality.video and there and frames is not None:
            inputs[modality.input] = frames[observed]
        elif modality.layout is Layout.STACKED and there and not modality.video:
            inputs[modality.input] = side_by_side(dataset, name, observed)
        else:
            raise DatasetError(
                Code.MISSING, f"dataset {str(dataset.root)!r}", name,
                problem="has nothing for the modality {value} that the policy wants; its features are "
                f"{', '.join(features_of(dataset.embodiment))}", remedy="take that stem out of the recipe",
            )  # fmt: skip
    state = dataset.state[windows.tick(samples)]
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
    actions[at_start] = dataset.embodiment.space.states.action(dataset.state[observed[at_start]])
    return actions


def join_vectors(dataset: Dataset, modality: str) -> NDArray[np.float32]:
    """Vectors of a modality whose streams are joined, float32 (N, D), raw units."""
    return dataset.state if modality == STATE else dataset.arrays[join_feature_name(modality)]


def side_by_side(dataset: Dataset, modality: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows, of any shape, of all streams of a modality that is no video: rows' shape + (streams, *sample)."""
    names = [stream_feature(modality, stream.name) for stream in dataset.embodiment.streams_of(modality)]
    return np.stack([dataset.arrays[name][rows] for name in names], axis=rows.ndim)
