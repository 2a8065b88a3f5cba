# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_ros.dataset.statistics import ImageStatistics, aggregate, vector_statistics

_ROWS = arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(-100, 100, width=32))


@given(st.lists(_ROWS, min_size=1, max_size=5))
def test_aggregate_equals_the_statistics_of_all_rows(episodes):
    whole = vector_statistics(np.concatenate(episodes))
    merged = aggregate([{"x": vector_statistics(rows)} for rows in episodes])["x"]
    for key in ("min", "max", "mean", "count"):
        np.testing.assert_allclose(merged[key], whole[key], atol=1e-9)
    np.testing.assert_allclose(merged["std"], whole["std"], atol=1e-5)


@given(st.lists(arrays(np.uint8, (8, 10, 3)), min_size=1, max_size=4))
def test_image_statistics_equal_numpys(images):
    statistics = ImageStatistics()
    for picture in images:
        statistics.add(picture)
    result = statistics.result()
    pixels = np.stack(images).reshape(-1, 3) / 255.0
    for key in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(result[key], getattr(pixels, key)(axis=0).reshape(3, 1, 1), atol=1e-7)
    for key, quantile in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        expected = np.quantile(pixels, quantile, axis=0, method="inverted_cdf").reshape(3, 1, 1)
        np.testing.assert_allclose(result[key], expected, atol=1e-12)
    assert result["count"].tolist() == [len(images)]


def test_large_pictures_are_thinned():
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[::4, ::4] = 90
    statistics = ImageStatistics()
    statistics.add(picture)
    assert statistics.result()["mean"].reshape(-1).tolist() == [90 / 255] * 3


def test_scalars_have_shape_one():
    result = vector_statistics(np.arange(5))
    assert {key: value.shape for key, value in result.items()} == dict.fromkeys(result, (1,))
    assert result["q50"].tolist() == [2.0]
