# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_dataset import write_dataset

from hpt_ros.dataset import Dataset, DatasetError, Episode
from hpt_ros.learning import Windows, split_episodes
from hpt_ros.learning.batch_source import BatchSource
from hpt_ros.learning.batches import BatchMaker
from hpt_ros.learning.mixture import mixture_of
from hpt_ros.learning.samples import LAID_OUT, ROUNDS, gather, samples_between, shuffle
from hpt_ros.learning.statistics import training_statistics

from .conftest import make_recipe


def make_episodes(lengths: list[int]) -> tuple[Episode, ...]:
    ends = np.cumsum(lengths).tolist()
    return tuple(
        Episode(i, end - length, end, "", ())
        for i, (length, end) in enumerate(zip(lengths, ends, strict=True))
    )


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 8),
    st.integers(0, 1000),
)
def test_samples_never_cross_an_episode_and_padding_is_marked(
    lengths: list[int], observation_horizon: int, action_horizon: int, seed: int
) -> None:
    episodes = make_episodes(lengths)
    windows = Windows.of(episodes, observation_horizon, action_horizon)
    assert len(windows) == sum(lengths)
    samples = samples_between(0, len(windows), len(windows), (seed,))
    observed, acted, is_pad = windows.rows(samples)
    of_row = np.repeat(np.arange(len(lengths)), lengths)  # the row's episode
    for i, sample in enumerate(samples):
        episode = episodes[of_row[sample]]
        assert set(of_row[observed[i]]) == set(of_row[acted[i]]) == {episode.index}
        assert observed[i, -1] == acted[i, 0] == sample
        expected = [sample + k >= episode.stop for k in range(action_horizon)]
        assert is_pad[i].tolist() == expected
        assert (acted[i][is_pad[i]] == episode.stop - 1).all()
    assert not is_pad.all(axis=1).any()


@given(st.integers(1, 40), st.integers(1, 16), st.integers(0, 2**31))
def test_an_epoch_visits_every_sample_once(count: int, batch_size: int, seed: int) -> None:
    steps = -(-2 * count // batch_size)
    drawn = np.concatenate(
        [samples_between(s * batch_size, (s + 1) * batch_size, count, (seed,)) for s in range(steps)]
    )
    assert sorted(drawn[:count]) == sorted(drawn[count : 2 * count]) == list(range(count))


@given(st.integers(1, 3000), st.lists(st.integers(0, 2**63 - 1), min_size=ROUNDS, max_size=ROUNDS))
def test_an_order_has_each_place_once(count: int, keys: list[int]) -> None:
    order = shuffle(np.arange(count), count, np.array(keys, dtype=np.uint64))
    assert sorted(order) == list(range(count))
    one = np.array([count // 2])
    assert shuffle(one, count, np.array(keys, dtype=np.uint64)) == order[one]


def test_orders_look_random() -> None:
    """Of 5 samples all 120 orders come up as often; of many, neighbours do not stay together."""
    orders = [tuple(samples_between(0, 5, 5, (seed,)).tolist()) for seed in range(12_000)]
    times = np.array([orders.count(order) for order in set(orders)])
    assert len(times) == 120
    assert ((times - 100) ** 2 / 100).sum() < 180  # chi squared with 119 degrees: 1 in 4000 is above
    count = 10 * LAID_OUT
    many = samples_between(0, count, count, (7,))
    assert np.array_equal(np.sort(many), np.arange(count))
    assert np.array_equal(samples_between(300_000, 300_064, count, (7,)), many[300_000:300_064])
    for other in (many[1:], np.arange(count - 1), samples_between(0, count - 1, count, (8,))):
        assert abs(np.corrcoef(many[:-1], other)[0, 1]) < 5 / np.sqrt(count)


def test_memory_does_not_grow_with_the_dataset(dataset: Dataset, tmp_path: Path) -> None:
    """What a batch needs besides the dataset's own vectors and its memory-mapped frames."""
    peaks = []
    for count in (200, 5_000):  # episodes of 100 ticks
        episodes = make_episodes([100] * count)
        path = tmp_path / f"{count}.bin"
        with path.open("wb") as file:
            file.truncate(count * 100 * 2 * 32 * 48 * 3)  # a hole: 5 GB take no room
        frames = np.memmap(path, dtype=np.uint8, mode="r", shape=(count * 100, 2, 32, 48, 3))
        values = np.zeros((count * 100, 3), dtype=np.float32)
        large = Dataset(dataset.root, dataset.embodiment, episodes, values, values, dataset.files)
        mixture = mixture_of(large, 0.01, 0)
        make = BatchMaker(
            mixture, [BatchSource(large, ("image", "state"), frames)], make_recipe(batch_size=64)
        )
        make(0)
        tracemalloc.start()
        for step in range(1, 4):
            make(step)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3 * 5_000 * 8 * 4  # a few numbers an episode, none a tick


def test_the_order_depends_on_the_seed_alone() -> None:
    seventh = samples_between(112, 128, 300, (5,))
    assert np.array_equal(samples_between(112, 128, 300, (5,)), seventh)
    assert not np.array_equal(samples_between(112, 128, 300, (6,)), seventh)
    assert not np.array_equal(samples_between(112, 128, 300, (5,), 1), seventh)
    assert not np.array_equal(
        samples_between(0, 16, 16, (5,)), samples_between(16, 32, 16, (5,))
    )  # a fresh order in each epoch


def test_whole_episodes_are_set_aside(dataset: Dataset) -> None:
    split = split_episodes(dataset, 0.34, seed=3)
    train = {episode.index for episode in split.train}
    validation = {episode.index for episode in split.validation}
    assert len(validation) == 2
    assert not train & validation
    assert train | validation == set(range(6))
    assert split_episodes(dataset, 0.34, seed=3) == split
    assert any(split_episodes(dataset, 0.34, seed=seed) != split for seed in range(10))


@pytest.mark.parametrize(("fraction", "kept"), [(0.0, 0), (0.001, 1), (0.9, 5)])
def test_a_validation_ratio_above_zero_keeps_and_leaves_an_episode(
    dataset: Dataset, fraction: float, kept: int
) -> None:
    assert len(split_episodes(dataset, fraction, seed=0).validation) == kept


def test_when_there_is_one_episode_expect_a_remedy(dataset: Dataset) -> None:
    single = Dataset(
        dataset.root,
        dataset.embodiment,
        dataset.episodes[:1],
        dataset.state[:12],
        dataset.action[:12],
        dataset.files,
    )
    with pytest.raises(
        DatasetError,
        match="has 1 episode to train and validate on, expected 2 or more.*validation_ratio to 0",
    ):
        split_episodes(single, 0.1, seed=0)


def test_statistics_do_not_see_validation_episodes(dataset: Dataset) -> None:
    split = split_episodes(dataset, 0.34, seed=3)
    action, state = dataset.action.copy(), dataset.state.copy()
    for episode in split.validation:
        action[episode.start : episode.stop] = 1e6
        state[episode.start : episode.stop] = -1e6
    spoilt = Dataset(dataset.root, dataset.embodiment, dataset.episodes, state, action, dataset.files)
    clean, seen = training_statistics([(dataset, split)]), training_statistics([(spoilt, split)])
    rows = np.concatenate([dataset.action[episode.start : episode.stop] for episode in split.train])
    for part in ("min", "max", "mean", "std"):
        assert np.array_equal(getattr(seen["action"], part), getattr(clean["action"], part))
        assert np.array_equal(getattr(seen["state"], part), getattr(clean["state"], part))
        assert getattr(clean["action"], part) == pytest.approx(getattr(rows, part)(axis=0), rel=1e-5)


def test_a_batch_holds_the_rows_of_its_samples(dataset: Dataset) -> None:
    frames = np.arange(dataset.length, dtype=np.uint8)[:, None, None, None, None] * np.ones(
        (1, 2, 4, 4, 3), np.uint8
    )
    windows = Windows.of(dataset.episodes, 2, 4)  # episode 0 has rows 0 to 11
    batch = gather(dataset, frames, windows, np.array([0, 11, 12]), ("image", "state"))
    assert batch.inputs["image"][:, :, 0, 0, 0, 0].tolist() == [[0, 0], [10, 11], [12, 12]]
    assert np.array_equal(batch.action[1], dataset.action[[11, 11, 11, 11]])
    assert batch.is_pad.tolist() == [[False] * 4, [False, True, True, True], [False] * 4]
    assert np.array_equal(batch.inputs["state"][2], dataset.state[[12, 12]])


@pytest.mark.parametrize("mode", ["delta", "relative"])
def test_when_the_mode_is_relative_expect_chunks_and_statistics_in_it_and_absolute_data(
    dataset: Dataset, mode: str
) -> None:
    robot = dataset.embodiment
    moded = replace(dataset, embodiment=replace(robot, action=replace(robot.action, mode=mode)))
    windows = Windows.of(moded.episodes, 2, 4)
    samples = np.arange(len(windows))
    absolute = gather(dataset, None, windows, samples, ("state",))
    batch = gather(moded, None, windows, samples, ("state",))
    state = dataset.state[windows.tick(samples)]
    reference = np.repeat(state[:, None], 4, axis=1)
    if mode == "delta":
        reference[:, 1:] = absolute.action[:, :-1]
    np.testing.assert_allclose(batch.action, absolute.action - reference, atol=1e-6)
    np.testing.assert_allclose(
        moded.embodiment.space.from_mode(batch.action, batch.state), absolute.action, atol=1e-6
    )
    statistics = training_statistics([(moded, split_episodes(moded, 0.0, 0))])["action"]
    real = batch.action[~batch.is_pad]
    np.testing.assert_allclose(statistics.min, real.min(0), atol=1e-7)
    np.testing.assert_allclose(statistics.max, real.max(0), atol=1e-7)
    np.testing.assert_allclose(statistics.std, real.std(0), rtol=1e-4)


@pytest.mark.slow
def test_memory_of_a_run_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    """What a process has of its own at its largest, without the files that it maps; each run in a new process."""
    folder = Path(__file__).parent
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        f"sys.path[:0] = [{str(folder)!r}, {str(folder.parent)!r}]\n"
        "from conftest import make_recipe\n"
        "from hpt_ros.dataset import open_dataset\n"
        "from hpt_ros.learning import train\n"
        "from hpt_ros.learning.reporter import Silent\n"
        "class Watch(Silent):\n"
        "    peak = 0\n"
        "    def bar(self, label, done, total, note=''):\n"
        "        own = re.search(r'RssAnon:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "        self.peak = max(self.peak, int(own) if label == 'training' else 0)\n"
        "watch, place = Watch(), Path(sys.argv[1])\n"
        "recipe = make_recipe(iterations=30, log_every=1, validation_every=15)\n"
        "train(open_dataset(place), recipe, place / 'run', cache_root=place / 'cache', report=watch)\n"
        "print(watch.peak * 1024)\n"
    )
    peaks = []
    for length in (40, 900):
        place = tmp_path / str(length)
        write_dataset(place, (length,) * 6)
        done = subprocess.run(
            [sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    frames = 6 * (900 - 40) * 2 * 32 * 48 * 3
    assert peaks[1] - peaks[0] < frames / 2
