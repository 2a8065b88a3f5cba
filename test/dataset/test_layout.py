# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Names of features, and rows of ``meta/episodes`` there and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_senses import Senses

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import (
    DATA_PATH,
    FILES_PER_CHUNK,
    EpisodeRow,
    Feature,
    FileIndex,
    VideoStart,
    features_of,
    statistics_columns,
    statistics_from_columns,
)
from hpt_ros.dataset.tables import Record

# Names of files sort up to chunk 999: 100 TB of data files.
INDICES = st.builds(FileIndex, st.integers(0, 998), st.integers(0, FILES_PER_CHUNK - 1))


def test_features_are_one_per_picture_array_and_cloud_and_one_vector_of_states_and_of_wrenches() -> None:
    assert features_of(Senses().embodiment) == {
        "observation.images.left": Feature("image", "left", "video", (16, 24, 3)),
        "observation.images.right": Feature("image", "right", "video", (16, 24, 3)),
        "observation.depth.near": Feature("depth", "near", "uint16", (12, 16)),
        "observation.tactile.finger": Feature("tactile", "finger", "float32", (5,)),
        "observation.pointcloud.cloud": Feature("pointcloud", "cloud", "float32", (6, 3)),
        "observation.state": Feature("state", "", "float32", (4,)),
        "observation.wrench": Feature("wrench", "", "float32", (6,)),
        "action": Feature("action", "", "float32", (2,)),
    }


@given(index=INDICES)
def test_files_are_counted_on_through_chunks_and_sort_in_that_order(index: FileIndex) -> None:
    following = index.after()
    assert following > index
    assert 0 <= following.file < FILES_PER_CHUNK
    assert index.path(DATA_PATH) < following.path(DATA_PATH)


@given(
    data=INDICES,
    video=INDICES,
    first=st.integers(0, 10**6),
    length=st.integers(1, 10**5),
    fps=st.integers(1, 240),
)
def test_a_row_comes_back_from_its_columns_and_ends_on_a_frame(
    data: FileIndex, video: FileIndex, first: int, length: int, fps: int
) -> None:
    key = "observation.images.left"
    row = EpisodeRow(7, ("push",), length, 30, 30 + length, data, {key: VideoStart(video, first / fps)})
    columns = row.to_columns(fps)
    assert set(EpisodeRow.column_names([key])) <= set(columns)
    assert EpisodeRow.from_columns(Record("row 7", columns), [key]) == row
    assert columns[f"videos/{key}/to_timestamp"] == (first + length) / fps


def test_when_a_column_is_missing_expect_its_name() -> None:
    columns = EpisodeRow(0, ("push",), 1, 0, 1, FileIndex(0, 0), {}).to_columns(10)
    del columns["data/file_index"]
    with pytest.raises(
        DatasetError, match="row 7 has no 'data/file_index', expected a whole number from 0 on"
    ):
        EpisodeRow.from_columns(Record("row 7", columns), [])


def test_statistics_come_back_from_their_columns() -> None:
    statistics: dict[str, dict[str, Any]] = {
        "observation.images.left": {"mean": np.zeros(3).tolist()},
        "action": {"count": [4]},
    }
    columns = {"length": 4, **statistics_columns(statistics)}
    assert statistics_from_columns(columns) == statistics
