# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files of outcomes: there and back, and what is none."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.outcomes import (
    Outcomes,
    Provenance,
    arm_of,
    read_outcomes,
    resume_episodes,
    write_outcomes,
)
from hpt_ros.evaluation.rollout import EpisodeResult

PROVENANCE = Provenance(
    "feed_dog", "1", "3.9.0", "feed_dog", "ab" * 32, 0.05, 13.0, 0.0, 0.0, 0.0, "standard", "", "0.1"
)
FLOATS = st.floats(allow_nan=False, width=64)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
EPISODES = st.builds(
    EpisodeResult,
    seed=st.integers(0, 2**31),
    success=st.booleans(),
    progress=FLOATS,
    duration_s=FLOATS,
    detail=TEXT,
    fault=TEXT,
    holds=st.integers(0, 99),
    counters=st.dictionaries(TEXT, st.integers(0, 2**40), max_size=3),
    refused=st.integers(0, 99),
    arc_length=FLOATS,
    peak_jerk=FLOATS,
    limits_used=FLOATS,
    inference_s=FLOATS,
)


@given(st.lists(EPISODES, max_size=4, unique_by=lambda episode: episode.seed))
def test_what_is_written_is_read(tmp_path_factory, episodes):
    path = tmp_path_factory.mktemp("outcomes") / "a.parquet"
    written = Outcomes(PROVENANCE, tuple(sorted(episodes, key=lambda item: item.seed)))
    write_outcomes(path, written)
    assert read_outcomes(path) == written
    assert resume_episodes(path, PROVENANCE) == written.episodes


def test_an_evaluation_of_something_else_does_not_go_on_there(tmp_path):
    path = tmp_path / "a.parquet"
    assert resume_episodes(path, PROVENANCE) == ()
    write_outcomes(path, Outcomes(PROVENANCE, ()))
    for change in ({"policy": "hold"}, {"inference_s": 0.1}, {"environment_version": "2"}):
        with pytest.raises(HptError, match=next(iter(change))):
            resume_episodes(path, replace(PROVENANCE, **change))


def test_what_is_no_file_of_outcomes_is_refused_in_one_sentence(tmp_path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    garbage = tmp_path / "garbage.parquet"
    garbage.write_bytes(b"PAR1 and nothing of it")
    for path in (other, garbage, tmp_path / "missing.parquet", tmp_path):
        with pytest.raises(HptError) as refused:
            read_outcomes(path)
        assert repr(str(path)) in str(refused.value)


def test_no_half_a_file_is_left_where_writing_fails(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with refused(HptError, Code.UNWRITABLE, subject="a.parquet"):
        write_outcomes(file / "a.parquet", Outcomes(PROVENANCE, ()))
    target = tmp_path / "folder.parquet"
    target.mkdir()
    with refused(HptError, Code.UNWRITABLE, subject="folder.parquet"):
        write_outcomes(target, Outcomes(PROVENANCE, ()))
    assert sorted(tmp_path.iterdir()) == [file, target]


@given(EPISODES, st.booleans())
def test_arms_have_the_scenes_in_the_order_asked_for(episode, success):
    episodes = (replace(episode, seed=5, success=success), replace(episode, seed=2, success=not success))
    assert arm_of([Outcomes(PROVENANCE, episodes)], [2, 5]) == [[float(not success), float(success)]]
