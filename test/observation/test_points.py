# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.refused import refused

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, decode
from hpt_ros.observation.points import MAX_DISTANCES, far_apart

KINDS = {"f4": 7, "f8": 8}


def stream(points=5):
    return Stream(
        "cloud", "pointcloud", "/cloud", "sensor_msgs/msg/PointCloud2", 10.0, tolerance_s=0.1, points=points
    )


def cloud(points, *, kind="f4", order="xyz", big_endian=False, gap=0, tail=0, rows=1, row_padding=0, lead=0):
    """A PointCloud2 of float (N, 3), its fields in an order, with bytes before, between and after them."""
    mark = ">" if big_endian else "<"
    size = np.dtype(kind).itemsize
    offsets = {name: lead + place * (size + gap) for place, name in enumerate(order)}
    step = lead + 3 * (size + gap) + tail
    width = len(points) // rows
    row_step = width * step + row_padding
    data = np.full(rows * row_step, 0xEE, np.uint8)
    for index, point in enumerate(points):
        start = (index // width) * row_step + (index % width) * step
        for axis, name in enumerate("xyz"):
            at = start + offsets[name]
            data[at : at + size] = np.frombuffer(np.array(point[axis], mark + kind).tobytes(), np.uint8)
    fields = [SimpleNamespace(name=n, offset=offsets[n], datatype=KINDS[kind], count=1) for n in order]
    fields.insert(1, SimpleNamespace(name="intensity", offset=0, datatype=2, count=1))
    return SimpleNamespace(
        height=rows, width=width, fields=fields, is_bigendian=big_endian, point_step=step,
        row_step=row_step, data=data.tobytes(),
    )  # fmt: skip


@given(
    st.data(),
    st.sampled_from(["f4", "f8"]),
    st.permutations("xyz"),
    st.booleans(),
    st.integers(0, 5),
    st.integers(0, 9),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 4),
)
def test_coordinates_are_found_wherever_they_stand(data, kind, order, big_endian, gap, tail, rows, padding):
    points = data.draw(arrays(np.float32, (6, 3), elements=st.floats(-100, 100, width=32)))
    message = cloud(
        points, kind=kind, order=order, big_endian=big_endian, gap=gap, tail=tail, rows=rows, row_padding=padding,
        lead=gap,
    )  # fmt: skip
    result = decode(stream(6), message)
    assert result.dtype == np.float32
    assert result.flags.owndata or result.base is None or result.base.nbytes == result.nbytes
    np.testing.assert_array_equal(result, points)


def test_points_that_are_not_finite_are_dropped():
    points = np.arange(24.0).reshape(8, 3)
    points[1, 0], points[4, 2], points[7, 1] = np.nan, np.inf, -np.inf
    result = decode(stream(5), cloud(points))
    np.testing.assert_array_equal(result, points[[0, 2, 3, 5, 6]])


def test_when_there_are_too_few_points_expect_them_repeated_in_turn():
    points = np.arange(9.0).reshape(3, 3)
    result = decode(stream(8), cloud(points))
    np.testing.assert_array_equal(result, points[[0, 1, 2, 0, 1, 2, 0, 1]])


def test_with_one_row_the_row_step_does_not_matter():
    message = cloud(np.arange(15.0).reshape(5, 3))
    message.row_step = 0
    np.testing.assert_array_equal(decode(stream(5), message), np.arange(15.0).reshape(5, 3))


def test_points_are_chosen_farthest_first():
    # On a line: the first, the far end, then the middles.
    line = np.zeros((9, 3), np.float32)
    line[:, 0] = np.arange(9)
    assert decode(stream(5), cloud(line))[:, 0].tolist() == [0, 8, 4, 2, 6]


@given(arrays(np.float32, (3, 40), elements=st.floats(-1e3, 1e3, width=32)), st.integers(1, 39))
def test_each_point_is_as_far_as_any_from_those_before_it(points, count):
    chosen = far_apart(points, count).astype(np.float64)
    everything = points.T.astype(np.float64)
    assert {tuple(point) for point in chosen.tolist()} <= {tuple(point) for point in everything.tolist()}
    for step in range(1, count):
        gaps = np.linalg.norm(everything[:, None] - chosen[None, :step], axis=2).min(axis=1)
        mine = np.linalg.norm(chosen[step] - chosen[:step], axis=1).min()
        assert mine >= gaps.max() * (1 - 1e-5) - 1e-6


@given(arrays(np.float32, (3, 50), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_the_largest_numbers_give_points_and_no_warning(points):
    chosen = far_apart(points, 7)
    assert chosen.shape == (7, 3)
    assert np.isfinite(chosen).all()


@pytest.mark.parametrize(
    ("number", "count"), [(300_000, 64), (300_000, 512), (20_000, 1024), (300_000, 4096)]
)
def test_of_large_clouds_candidates_are_spread_over_all_points(number, count):
    random = np.random.default_rng(0)
    points = random.normal(size=(3, number)).astype(np.float32)
    points[0] = np.arange(number)  # says which point it was
    first, second = far_apart(points, count), far_apart(points.copy(), count)
    np.testing.assert_array_equal(first, second)
    indices = np.sort(first[:, 0].astype(int))
    assert len(set(indices)) == count
    assert np.diff(indices).max() <= 3 * number / count
    candidates = min(number, max(count, MAX_DISTANCES // count))
    assert set(indices) <= set((np.arange(candidates) * number // candidates).tolist())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 3}, "claims 3 rows"),
        ({"width": 2**32 - 1}, "claims 1 rows of 4294967295 points"),
        ({"height": 2**32 - 1, "width": 2**32 - 1, "point_step": 2**32 - 1}, "check the driver"),
        ({"point_step": 11}, "point_step of 11"),
        ({"point_step": 0}, "point_step of 0"),
        ({"height": 2, "width": 3, "row_step": 1}, "row_step of 1"),
        ({"data": b""}, "0 bytes"),
        ({"width": 0}, "without points"),
    ],
)
def test_when_sizes_do_not_fit_expect_invalid_sample(change, words):
    message = cloud(np.arange(18.0).reshape(6, 3))
    vars(message).update(change)
    with pytest.raises(InvalidSampleError, match=words):
        decode(stream(), message)


def test_when_no_point_is_finite_expect_invalid_sample():
    with refused(
        InvalidSampleError,
        Code.NOT_FINITE,
        subject="stream 'cloud' (topic /cloud)",
        problem="6 points of which none is finite",
    ):
        decode(stream(), cloud(np.full((6, 3), np.nan)))


def test_when_a_double_does_not_fit_a_float_expect_the_point_dropped():
    points = np.arange(18.0).reshape(6, 3)
    points[2, 1] = 1e300
    np.testing.assert_array_equal(decode(stream(5), cloud(points, kind="f8")), np.delete(points, 2, axis=0))


@pytest.mark.parametrize(
    "change", [{"name": "range"}, {"datatype": 5}, {"count": 3}, {"offset": 2**32 - 1, "datatype": 5}]
)
def test_when_a_coordinate_is_missing_or_no_float_expect_the_fields_named(change):
    message = cloud(np.arange(18.0).reshape(6, 3))
    vars(message.fields[2]).update(change)
    with refused(
        DecodeError,
        Code.INVALID,
        subject="stream 'cloud' (topic /cloud)",
        expected="y' as float32 or float64",
    ):
        decode(stream(), message)


def test_when_an_offset_lies_beyond_the_point_expect_invalid_sample():
    message = cloud(np.arange(18.0).reshape(6, 3))
    message.fields[2].offset = 2**32 - 1
    with refused(
        InvalidSampleError,
        Code.INVALID,
        subject="stream 'cloud' (topic /cloud)",
        value=72,
        problem="point_step of 12",
    ):
        decode(stream(), message)
