# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Chunks to a continuous reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.refused import refused

from hpt_ros.control import Chunk, ChunkError, ChunkQueue, QueueConfig
from hpt_ros.errors import Code

S = 1_000_000_000
DT_S = 0.1
NO_STEP = np.zeros(2, dtype=bool)
values = hnp.arrays(np.float64, st.tuples(st.integers(2, 12), st.just(2)), elements=st.floats(-3, 3))


def line(horizon: int, slope: float, at_ns: int, offset: float = 0.0, number: int = 0) -> Chunk:
    rows = offset + slope * (at_ns / S + DT_S * np.arange(horizon))
    return Chunk(at_ns, DT_S, np.stack([rows, -rows], axis=1), number)


@given(values)
def test_curve_passes_through_its_actions_and_stays_between_neighbours(rows):
    chunk = Chunk(5 * S, DT_S, rows)
    for index in range(chunk.horizon):
        np.testing.assert_allclose(chunk.at(chunk.time_ns(index)).position, rows[index], atol=1e-9)
    for index in range(chunk.horizon - 1):
        low, high = np.minimum(rows[index], rows[index + 1]), np.maximum(rows[index], rows[index + 1])
        for part in (0.1, 0.35, 0.5, 0.77):
            position = chunk.at(chunk.time_ns(index) + int(part * DT_S * S)).position
            assert (position >= low - 1e-9).all()
            assert (position <= high + 1e-9).all()


@given(values)
def test_velocity_is_the_derivative_of_position_and_continuous(rows):
    chunk = Chunk(0, DT_S, rows)
    h = 1000  # ns
    for time_ns in range(3_000_000, chunk.end_ns - h, 7_000_001):
        numeric = (chunk.at(time_ns + h).position - chunk.at(time_ns - h).position) * S / (2 * h)
        np.testing.assert_allclose(chunk.at(time_ns).velocity, numeric, atol=2e-2)
    for index in range(1, chunk.horizon):
        before, after = chunk.at(chunk.time_ns(index) - 10).velocity, chunk.at(chunk.time_ns(index)).velocity
        np.testing.assert_allclose(before, after, atol=1e-3)


def test_when_actions_lie_on_a_sine_expect_its_velocity():
    times = DT_S * np.arange(20)
    chunk = Chunk(0, DT_S, np.sin(times)[:, None])
    for time_s in np.arange(0.3, 1.2, 0.013):
        reference = chunk.at(round(time_s * S))
        assert reference.position[0] == pytest.approx(np.sin(time_s), abs=1e-4)
        assert reference.velocity[0] == pytest.approx(np.cos(time_s), abs=5e-3)


def test_when_chunk_is_not_finite_expect_error_that_says_where():
    rows = np.zeros((4, 2))
    rows[2, 1] = np.nan
    with refused(
        ChunkError, Code.NOT_FINITE, subject="a chunk", problem="value nan for action 2, dimension 1"
    ):
        Chunk(0, DT_S, rows)


@pytest.mark.parametrize("shape", [(4,), (0, 2), (1, 2, 2)])
def test_when_chunk_has_wrong_shape_expect_error(shape):
    with refused(ChunkError, Code.WRONG_SHAPE, subject="a chunk's shape", expected="(horizon, dim)"):
        Chunk(0, DT_S, np.zeros(shape))


def test_when_chunk_is_late_expect_its_start_dropped_and_time_kept():
    queue = ChunkQueue(QueueConfig(start_fade_s=0.0), NO_STEP)
    chunk = line(10, 1.0, 0)
    assert queue.start(chunk, 250_000_000, np.zeros(2), np.zeros(2)) == 3
    reference = queue.at(250_000_000)
    assert reference is not None
    np.testing.assert_allclose(reference.position, [0.25, -0.25])
    assert queue.remaining(250_000_000) == 7


@pytest.mark.parametrize(
    ("time_ns", "late"), [(0, 0), (100_000_000, 1), (100_000_002, 2), (S, 10), (2 * S, 10)]
)
def test_actions_before_a_time(time_ns, late):
    assert line(10, 1.0, 0).actions_before(time_ns) == late


def test_when_wholly_late_or_older_expect_refused():
    queue = ChunkQueue(QueueConfig(), NO_STEP)
    queue.start(line(10, 1.0, S), S, np.zeros(2), np.zeros(2))
    assert queue.merge(line(10, 1.0, 0), 3 * S) is None
    assert queue.merge(line(20, 1.0, S - 1), S) is None
    assert queue.merge(line(10, 1.0, S + 1), S + 2) == 0


def test_when_used_up_expect_none():
    queue = ChunkQueue(QueueConfig(), NO_STEP)
    assert queue.at(0) is None
    queue.start(line(10, 1.0, 0), 0, np.zeros(2), np.zeros(2))
    assert queue.at(900_000_000) is not None
    assert queue.at(900_000_001) is None


def test_when_half_is_left_expect_request_and_earlier_when_latency_is_long():
    queue = ChunkQueue(QueueConfig(), NO_STEP)
    assert queue.wants_chunk(0, 0.0)
    queue.start(line(10, 1.0, 0), 0, np.zeros(2), np.zeros(2))
    assert not queue.wants_chunk(400_000_000, 0.0)
    assert queue.wants_chunk(401_000_000, 0.0)
    assert queue.wants_chunk(100_000_000, 0.85)


chunks_in_a_row = st.lists(
    st.tuples(st.integers(10_000_000, 700_000_000), st.floats(-1, 1), st.floats(-1, 1)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(chunks_in_a_row, st.sampled_from([0.05, 0.2, 0.5]), st.booleans())
def test_when_chunks_follow_each_other_however_fast_expect_position_and_velocity_without_a_jump(
    chunks, fade_s, ensemble
):
    queue = ChunkQueue(QueueConfig(fade_s=fade_s, start_fade_s=fade_s, ensemble=ensemble), NO_STEP)
    queue.start(line(16, 0.3, 0), 0, np.array([0.2, 0.1]), np.array([0.5, 0.0]))
    now = 0
    for wait, slope, offset in chunks:
        reference = queue.at(now + wait)
        if reference is None:
            return
        now += wait
        assert queue.merge(line(16, slope, now - 5_000_000, offset), now) is not None
        after = queue.at(now)
        assert after is not None
        np.testing.assert_allclose(after.position, reference.position, atol=1e-9)
        np.testing.assert_allclose(after.velocity, reference.velocity, atol=1e-9)
        previous, h = after, 10_000
        for step in range(1, 40):
            here = queue.at(now + step * h)
            assert here is not None
            moved = (here.position - previous.position) * S / h
            np.testing.assert_allclose(moved, (here.velocity + previous.velocity) / 2, atol=1e-2)
            previous = here
        now += 39 * h


def test_when_faded_expect_the_new_chunk_alone():
    queue = ChunkQueue(QueueConfig(fade_s=0.2), NO_STEP)
    queue.start(line(16, 0.0, 0), 0, np.zeros(2), np.zeros(2))
    new = line(16, 0.5, 500_000_000, 0.1)
    queue.at(500_000_000)
    queue.merge(new, 500_000_000)
    middle, end = queue.at(600_000_000), queue.at(700_000_000)
    assert middle is not None
    assert end is not None
    assert 0.0 < middle.position[0] < new.at(600_000_000).position[0]
    assert (end.position == new.at(700_000_000).position).all()


def test_when_dimension_is_a_gripper_expect_each_action_held_and_never_averaged():
    queue = ChunkQueue(QueueConfig(start_fade_s=0.2), np.array([False, True]))
    rows = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 1.0], [0.3, 1.0]])
    queue.start(Chunk(0, DT_S, rows), 0, np.zeros(2), np.zeros(2))
    seen = set()
    for time_ns in range(0, 300_000_000, 3_000_000):
        reference = queue.at(time_ns)
        assert reference is not None
        seen.add(float(reference.position[1]))
        assert reference.position[1] == (1.0 if time_ns >= 200_000_000 else 0.0)
        assert reference.velocity[1] == 0.0
    queue.merge(Chunk(50_000_000, DT_S, rows * [1.0, 0.5]), 300_000_000)
    after = queue.at(301_000_000)
    assert after is not None
    assert after.position[1] == 0.5
    assert seen == {0.0, 1.0}


@settings(max_examples=50)
@given(values, st.integers(0, 250), st.integers(1, 250), st.booleans())
def test_when_a_dimension_is_sent_further_ahead_expect_it_that_much_earlier_and_the_others_as_without(
    rows, ahead_ms, step_ms, gripper
):
    step, chunk = np.array([False, gripper]), Chunk(5 * S, DT_S, rows)
    ahead_ns = np.array([0, ahead_ms * 1_000_000])
    queue, plain = ChunkQueue(QueueConfig(), step, ahead_ns), ChunkQueue(QueueConfig(), step)
    assert queue.longest_ns == ahead_ms * 1_000_000
    for one in (queue, plain):
        one.start(chunk, 5 * S - 10 * S, np.zeros(2), np.zeros(2))  # its fade is long over
    for time_ns in range(5 * S, chunk.end_ns + 1, step_ms * 1_000_000):
        reference, usual = queue.at(time_ns), plain.at(time_ns)
        assert reference is not None
        assert usual is not None
        assert reference.position[0] == usual.position[0]
        assert reference.velocity[0] == usual.velocity[0]
        later_ns = time_ns + int(ahead_ns[1])
        curve = chunk.at(min(later_ns, chunk.end_ns))
        expected = chunk.hold_at(later_ns)[1] if gripper else curve.position[1]
        assert reference.position[1] == expected
        # Beyond the chunk's end nothing moves on.
        assert reference.velocity[1] == (0.0 if gripper or later_ns > chunk.end_ns else curve.velocity[1])


def test_when_ensembled_expect_acts_average_of_all_chunks():
    decay = 0.7
    queue = ChunkQueue(
        QueueConfig(ensemble=True, ensemble_decay=decay, fade_s=0.1, start_fade_s=0.0), NO_STEP
    )
    heights = [0.0, 1.0, 4.0]
    for index, height in enumerate(heights):
        chunk = Chunk(index * 100_000_000, DT_S, np.full((16, 2), height), index)
        now = index * 100_000_000
        if index == 0:
            queue.start(chunk, now, np.zeros(2), np.zeros(2))
        else:
            queue.merge(chunk, now)
        assert queue.at(now) is not None
    reference = queue.at(400_000_000)  # all have risen, none falls yet
    assert reference is not None
    weights = np.exp(-decay * np.arange(3))
    np.testing.assert_allclose(reference.position, (weights @ heights) / weights.sum(), atol=1e-12)
    np.testing.assert_allclose(reference.velocity, 0.0, atol=1e-12)


def test_when_older_chunks_have_ended_expect_the_newest_alone_to_its_end():
    queue = ChunkQueue(QueueConfig(ensemble=True, fade_s=0.1, start_fade_s=0.0), NO_STEP)
    queue.start(line(6, 0.0, 0), 0, np.zeros(2), np.zeros(2))
    new = line(16, 0.5, 300_000_000, 0.1)
    queue.merge(new, 300_000_000)
    for time_ns in (510_000_000, 1_000_000_000, new.end_ns):
        reference = queue.at(time_ns)
        assert reference is not None
        np.testing.assert_allclose(reference.position, new.at(time_ns).position, atol=1e-9)
    assert queue.at(new.end_ns + 1) is None


def test_when_ensembled_expect_the_gripper_of_the_newest_chunk():
    queue = ChunkQueue(QueueConfig(ensemble=True), np.array([False, True]))
    rows = np.zeros((16, 2))
    queue.start(Chunk(0, DT_S, rows), 0, np.zeros(2), np.zeros(2))
    queue.merge(Chunk(100_000_000, DT_S, rows + np.array([0.0, 1.0])), 100_000_000)
    reference = queue.at(110_000_000)
    assert reference is not None
    assert reference.position[1] == 1.0
