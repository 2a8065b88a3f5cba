"""Which samples there are, in which order they are drawn, and the batch that they make.

Everything is a pure function of the seed and the step, so a run that is resumed draws what it would have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.windows import action_window, observation_window
from hpt_ros.learning.dataset import Dataset, DatasetError, Episode


@dataclass(frozen=True, slots=True)
class Split:
    """Episodes to learn from and episodes kept aside; no episode is in both."""

    train: tuple[Episode, ...]
    validation: tuple[Episode, ...]


def split_episodes(dataset: Dataset, validation_share: float, seed: int) -> Split:
    """Set whole episodes aside for validation, since neighbouring ticks of one episode are nearly equal.

    Args:
        dataset: at least one episode; at least two when `validation_share` is above 0.
        validation_share: 0 to below 1; any share above 0 keeps at least one episode, and leaves at least one.
        seed: the choice depends on it and on the number of episodes alone.

    Raises:
        DatasetError: too few episodes.
    """
    count = len(dataset.episodes)
    if count < (2 if validation_share > 0 else 1):
        raise DatasetError(
            f"dataset {str(dataset.root)!r} has {count} episodes, but {2 if validation_share > 0 else 1} or more were "
            "expected to train and validate; record more, or set validation_share to 0"
        )
    kept = 0 if validation_share == 0 else min(max(1, round(count * validation_share)), count - 1)
    aside = set(np.random.default_rng([seed, 1]).permutation(count)[:kept].tolist())
    return Split(
        tuple(episode for place, episode in enumerate(dataset.episodes) if place not in aside),
        tuple(episode for place, episode in enumerate(dataset.episodes) if place in aside),
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


def samples_at(step: int, batch_size: int, count: int, seed: int) -> NDArray[np.int64]:
    """Samples of batch number `step` (from 0): epochs of a fresh permutation each, one running into the next."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, places = np.divmod(positions, count)
    orders = {int(e): np.random.default_rng([seed, 2, int(e)]).permutation(count) for e in np.unique(epochs)}
    return np.array([orders[int(e)][p] for e, p in zip(epochs, places, strict=True)], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch in raw units."""

    image: NDArray[np.uint8]  # (B, T, V, H, W, 3) RGB
    state: NDArray[np.float32]  # (B, T, D)
    action: NDArray[np.float32]  # (B, horizon, Da)
    is_pad: NDArray[np.bool_]  # (B, horizon)


def gather(
    dataset: Dataset, frames: NDArray[np.uint8], windows: Windows, samples: NDArray[np.int64]
) -> Batch:
    """Copy the rows of some samples out of memory and the memory map."""
    observed, acted, is_pad = windows.rows(samples)
    return Batch(frames[observed], dataset.state[observed], dataset.action[acted], is_pad)
