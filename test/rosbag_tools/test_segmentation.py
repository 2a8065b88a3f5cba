# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cutting an episode at gaps, at changes of task and at rests, against a plain description of what should stay."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.embodiments import embodiment, joints, limit, trajectory

from hpt_ros.cli.convert import IDLE_S
from hpt_ros.dataset.conversion_report import EpisodeReport
from hpt_ros.dataset.layout import STATE
from hpt_ros.observation import Tick
from hpt_ros.observation.time_series import NEVER_SEEN
from rosbag_tools.converting.resample import Row
from rosbag_tools.converting.segmentation import MIN_SPAN_S, REST_KEPT_S, Spans, minimum_ticks

ROBOT = embodiment(
    "one_joint", [joints("a", unit="rad")], trajectory([limit("a", 1000.0)], rate_hz=50.0), task="turn"
)
MOVE, STAY, GAP = "move", "stay", "gap"
MINIMUM, KEPT = 10, 5  # ticks: a second, and half of one


def rows_of(pieces):
    """Rows of (what, ticks, task) pieces; the joint's place counts its motions."""
    rows, place = [], 0.0
    for what, ticks, task in pieces:
        for _ in range(ticks):
            place += 0.05 * (what == MOVE)
            state = np.array([place])
            missing = {"joints": NEVER_SEEN} if what == GAP else {}
            tick = Tick(
                len(rows),
                len(rows) * 100_000_000,
                {},
                {"state": state},
                {},
                missing,
                texts={"language": task},
            )
            rows.append(Row(tick, None if missing else state, missing))
    return rows


def cut(rows, longest_rest_s):
    """Index of the first row and number of rows of each span that was kept, and the report."""
    entry = EpisodeReport("bag", "", "e", "turn", "", "unknown")
    spans = Spans(Path("unused"), "s", ROBOT, entry, task="turn", longest_rest_s=longest_rest_s)
    for row in rows:
        spans.add(row)
    episodes = spans.finish()
    kept = [span for span in entry.spans if span.ticks >= MINIMUM]
    assert [episode.length for episode in episodes] == [span.ticks for span in kept]
    for episode, span in zip(episodes, kept, strict=True):
        first = span.start_ns // 100_000_000
        want = [rows[first + step].tick.state[0] for step in range(span.ticks)]
        np.testing.assert_array_equal(episode.vectors[STATE][:, 0], np.array(want, np.float32))
    return [(span.start_ns // 100_000_000, span.ticks) for span in kept], entry


def described(rows, longest):
    """The same in plain words: whole stretches of one task, less the insides of their long rests."""
    whole = [row for row in rows if not row.missing]
    stretches: list[list[Row]] = []
    before: Row | None = None
    for row in whole:
        follows = before is not None and row.tick.index == before.tick.index + 1
        if not follows or row.tick.task != before.tick.task:
            stretches.append([])
        stretches[-1].append(row)
        before = row
    found = []
    for stretch in stretches:
        moved = [False] + [
            later.tick.state[0] != earlier.tick.state[0] for earlier, later in itertools.pairwise(stretch)
        ]
        spans: list[list[Row]] = [[]]
        at = 0
        for moves, run in itertools.groupby(zip(moved, stretch, strict=True), key=lambda item: item[0]):
            part = [row for _, row in run]
            at += len(part)
            if moves or len(part) <= longest:
                spans[-1] += part
                continue
            if spans[-1]:
                spans[-1] += part[:KEPT]
            spans.append(part[-KEPT:] if at < len(stretch) else [])
        found += spans
    return [(span[0].tick.index, len(span)) for span in found if len(span) >= MINIMUM]


PIECES = st.lists(
    st.tuples(st.sampled_from([MOVE, MOVE, STAY, STAY, GAP]), st.integers(1, 40), st.sampled_from(["a", "a", "b"])),
    max_size=12,
)  # fmt: skip


@given(PIECES, st.sampled_from([1.0, 1.5, 2.0, math.inf]))
def test_spans_are_what_is_described_and_every_tick_is_accounted_for(pieces, longest_rest_s):
    rows = rows_of(pieces)
    found, entry = cut(rows, longest_rest_s)
    assert found == described(rows, longest_rest_s * 10)
    dropped = sum(item.ticks for item in entry.dropped.values())
    assert entry.ticks == len(rows)
    assert entry.kept + entry.too_short + entry.idle + dropped == len(rows)
    assert entry.kept == sum(length for _, length in found)
    if math.isinf(longest_rest_s):
        assert entry.idle == 0


@given(PIECES)
def test_no_kept_span_rests_longer_than_asked_or_leaps_over_a_gap(pieces):
    rows = rows_of(pieces)
    spans, _ = cut(rows, 2.0)
    for first, length in spans:
        assert not any(row.missing for row in rows[first : first + length])
        assert len({row.tick.task for row in rows[first : first + length]}) == 1
        still = [
            one.tick.state[0] == two.tick.state[0] for one, two in itertools.pairwise(rows[first : first + length])
        ]  # fmt: skip
        longest = max((len(list(run)) for same, run in itertools.groupby(still) if same), default=0)
        assert longest <= 20


def test_the_stated_defaults_are_those_in_use():
    assert minimum_ticks(ROBOT) == MINIMUM == round(MIN_SPAN_S * ROBOT.tick_hz)
    assert round(REST_KEPT_S * ROBOT.tick_hz) == KEPT
    text = Path(__file__).parents[2].joinpath("docs/data.md").read_text()
    for stated in (f"{MIN_SPAN_S:g} s", f"({IDLE_S:g} if S is left out", "half a second on either side"):
        assert stated in text


@pytest.mark.parametrize(("length", "kept"), [(MINIMUM - 1, []), (MINIMUM, [(0, MINIMUM)])])
def test_a_span_must_be_a_second_long(length, kept):
    found, entry = cut(rows_of([(MOVE, length, "a")]), math.inf)
    assert found == kept
    assert entry.too_short == (0 if kept else length)
