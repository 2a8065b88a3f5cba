# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth in 12 bits, as lerobot 0.6 quantises it: distances come back within half a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.dataset.depth_codes import CODES, DepthCodes


def quantised(depth_mm: np.ndarray, codes: DepthCodes) -> np.ndarray:
    """The formula of lerobot's documentation, forwards."""
    low, high, depth = 1000 * codes.depth_min, 1000 * codes.depth_max, depth_mm.astype(np.float64)
    if codes.use_log:
        shift = 1000 * codes.shift
        low, high, depth = np.log(low + shift), np.log(high + shift), np.log(depth + shift)
    return np.rint((depth - low) / (high - low) * CODES).clip(0, CODES).astype(np.uint16)


@given(
    use_log=st.booleans(),
    low=st.floats(0.0, 1.0),
    span=st.floats(0.5, 20.0),
    depth=st.lists(st.integers(0, 25_000), min_size=1, max_size=40),
)
def test_distances_come_back_within_half_a_step(
    use_log: bool, low: float, span: float, depth: list[int]
) -> None:
    codes = DepthCodes(low, low + span, 3.5, use_log)
    there = np.array(depth, np.uint16)
    back = codes.millimetres(quantised(there, codes)).astype(int)
    within = (there >= 1000 * low + 10) & (there <= 1000 * (low + span))
    # A step is widest at the far end, where the logarithm rises most slowly.
    step = (np.log((low + span + 3.5) / (low + 3.5)) * (low + span + 3.5) if use_log else span) / CODES * 1000
    assert (np.abs(back - there)[within] <= 0.5 * step + 1).all()


def test_what_was_not_measured_stays_so() -> None:
    assert DepthCodes().millimetres(quantised(np.array([0], np.uint16), DepthCodes())).tolist() == [0]
    assert DepthCodes().millimetres(np.array([CODES, 5000])).tolist() == [10_000, 10_000]


@pytest.mark.parametrize(
    "info",
    [
        {"video.depth_min": 3.0, "video.depth_max": 1.0},
        {"video.shift": -1.0},
        *({"video.shift": shift} for shift in (float("inf"), float("nan"), 1e30)),
    ],
)
def test_when_distances_make_no_sense_expect_an_error(info: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="depth from"):
        DepthCodes.from_info(info)
    assert DepthCodes.from_info({"video.use_log": False}) == DepthCodes(use_log=False)


@given(
    use_log=st.booleans(),
    low=st.floats(0.0, 1.0),
    span=st.floats(0.5, 20.0),
    depth=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=40),
)
def test_codes_are_those_of_the_documented_formula(
    use_log: bool, low: float, span: float, depth: list[int]
) -> None:
    codes = DepthCodes(low, low + span, 3.5, use_log)
    there = np.array(depth, np.uint16)
    # One code beside where the distance lies half way between two, and the sum was rounded otherwise.
    assert (np.abs(codes.encode(there).astype(int) - quantised(there, codes).astype(int)) <= 1).all()


def test_what_was_read_is_written_again_as_it_was() -> None:
    codes = DepthCodes()
    every = np.arange(CODES + 1, dtype=np.uint16)
    np.testing.assert_array_equal(codes.encode(codes.millimetres(every)), every)
    assert DepthCodes.from_info(codes.to_info()) == codes


@pytest.mark.parametrize(
    ("from_mm", "to_mm", "most_mm", "rms_mm"),
    [(11, 1000, 1, 0.49), (1001, 4000, 1, 0.69), (4001, 6000, 2, 0.81), (6001, 10_000, 2, 1.15)],
)
def test_the_error_is_what_the_documentation_says(
    from_mm: int, to_mm: int, most_mm: int, rms_mm: float
) -> None:
    """Measures the table of docs/data.md, Depth as a video."""
    depth, codes = np.arange(from_mm, to_mm + 1, dtype=np.uint16), DepthCodes()
    error = codes.millimetres(codes.encode(depth)).astype(int) - depth
    assert np.abs(error).max() == most_mm
    assert np.sqrt((error**2).mean()) == pytest.approx(rms_mm, abs=0.005)
