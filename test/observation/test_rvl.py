# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth in RVL, against an encoder that is written pixel by pixel."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.refused import refused

from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.errors import Code
from hpt_ros.observation import InvalidSampleError, decode
from hpt_ros.observation.image_size import image_size
from hpt_ros.observation.rvl import decode_rvl

STREAM = Stream(
    "near", "depth", "/near", "sensor_msgs/msg/CompressedImage", 10.0, 0.1, image=ImageSpec(8, 12)
)


class Writer:
    """Nibbles into words, the first one highest."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.word = self.count = 0

    def nibble(self, value: int) -> None:
        self.word = self.word << 4 | value
        self.count += 1
        if self.count == 8:
            self.words.append(self.word)
            self.word = self.count = 0

    def number(self, value: int) -> None:
        while value > 7:
            self.nibble(value & 7 | 8)
            value >>= 3
        self.nibble(value)

    def bytes(self) -> bytes:
        while self.count:
            self.nibble(0)
        return struct.pack(f"<{len(self.words)}I", *self.words)


def encoded(pixels: np.ndarray, *, signed: bool = False) -> bytes:
    """As compressed_depth_image_transport sends it, without its first header."""
    values = pixels.view(np.int16) if signed else pixels
    flat, writer, at, before = values.ravel().tolist(), Writer(), 0, 0
    while at < len(flat):
        start = at
        while at < len(flat) and flat[at] == 0:
            at += 1
        writer.number(at - start)
        start = at
        while at < len(flat) and flat[at] != 0:
            at += 1
        writer.number(at - start)
        for value in flat[start:at]:
            difference = value - before
            writer.number(2 * difference if difference >= 0 else -2 * difference - 1)
            before = value
    return struct.pack("<II", *pixels.shape[::-1]) + writer.bytes()


def message(content: bytes, encoding: str = "16UC1", a: float = 0.0, b: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(
        format=f"{encoding}; compressedDepth rvl", data=struct.pack("<iff", 0, a, b) + content
    )


SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
DISTANCES = st.one_of(st.just(0), st.integers(0, 65_535), st.integers(990, 1010))


@given(arrays(np.uint16, SIZES, elements=DISTANCES), st.booleans())
def test_what_was_encoded_comes_back(pixels, signed):
    found = decode_rvl(encoded(pixels, signed=signed))
    assert found is not None
    np.testing.assert_array_equal(found, pixels)


def test_the_words_of_a_small_image_are_those_of_the_paper():
    # 2 zero, 2 not: 10 (folded 20: 4 and more, 2), 9 (folded 1), then 0 zero and 0 of the padding.
    pixels = np.array([[0, 0, 10, 9]], np.uint16)
    content = struct.pack("<III", 4, 1, 0x22C21000)
    assert encoded(pixels) == content
    np.testing.assert_array_equal(decode_rvl(content), pixels)


def test_a_message_is_depth_in_millimetres_and_its_size_is_known():
    pixels = np.random.default_rng(2).integers(0, 65_536, (8, 12)).astype(np.uint16)
    np.testing.assert_array_equal(decode(STREAM, message(encoded(pixels))), pixels)
    assert image_size(message(encoded(pixels))) == (8, 12)


def test_metres_are_those_of_the_same_numbers_as_png():
    quantised = np.arange(96, dtype=np.uint16).reshape(8, 12)
    # metres = A / (q - B)
    result = decode(STREAM, message(encoded(quantised), "32FC1", 10.0, -10.0))
    expected = np.where(quantised == 0, 0, np.rint(1000 * 10.0 / (quantised + 10.0)))
    np.testing.assert_array_equal(result, expected)


@given(st.integers(1, 60))
def test_when_words_lack_expect_it_refused(cut):
    pixels = np.random.default_rng(2).integers(1, 65_536, (8, 12)).astype(np.uint16)
    with refused(
        InvalidSampleError,
        Code.INVALID,
        subject="stream 'near' (topic /near)",
        problem="do not fill their 12x8 pixels",
    ):
        decode(STREAM, message(encoded(pixels)[: -4 * cut]))


@pytest.mark.parametrize("size", [(0, 12), (8, 0), (2**31, 2**31), (100_000, 100_000)])
def test_when_the_size_cannot_be_expect_it_refused(size):
    with refused(InvalidSampleError, Code.INVALID, subject="stream 'near' (topic /near)"):
        decode(STREAM, message(struct.pack("<II", *size) + bytes(40)))


@given(st.binary(max_size=200), st.integers(0, 20), st.integers(0, 20))
def test_whatever_the_data_are_they_are_decoded_or_refused(data, height, width):
    content = struct.pack("<II", width, height) + data
    try:
        result = decode(STREAM, message(content))
    except InvalidSampleError:
        return
    assert result.shape == (8, 12)
