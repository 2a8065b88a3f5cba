# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Chunks become what was compressed, to the byte, and nothing else: whatever size they claim, in how many frames."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.errors import Code
from rosbag_tools.errors import BagError
from rosbag_tools.reading.safe_decompress import decompress_chunk

CODECS = ("zstd", "lz4")


def packed(content: bytes, codec: str) -> bytes:
    return pa.Codec(codec).compress(content, asbytes=True)


@given(st.binary(min_size=1, max_size=2000), st.sampled_from(CODECS), st.integers(1, 3))
def test_chunks_are_what_was_compressed(content, codec, frames):
    data = packed(content, codec) * (frames if codec == "zstd" else 1)
    expected = content * (frames if codec == "zstd" else 1)
    assert decompress_chunk(memoryview(data), len(expected), codec) == expected


@pytest.mark.parametrize("size", [(4 << 20) - 1, 4 << 20, (4 << 20) + 1])
@pytest.mark.parametrize("codec", CODECS)
def test_however_it_is_read_expect_the_same(codec, size):
    content = np.random.default_rng(1).integers(0, 64, size, np.uint8).tobytes()
    assert decompress_chunk(packed(content, codec), size, codec) == content


@given(st.binary(min_size=2, max_size=500), st.sampled_from(CODECS), st.data())
def test_when_a_chunk_is_larger_than_it_claims_expect_a_refusal(content, codec, data):
    claimed = data.draw(st.integers(1, len(content) - 1))
    with refused(BagError, Code.OUT_OF_RANGE, subject=f"bytes of {codec}", value=claimed):
        decompress_chunk(packed(content, codec), claimed, codec)


@given(st.binary(max_size=500), st.sampled_from(CODECS), st.integers(1, 1000))
def test_when_a_chunk_is_smaller_than_it_claims_expect_no_more_bytes_than_there_are(content, codec, more):
    assert decompress_chunk(packed(content, codec), len(content) + more, codec) == content


@given(st.binary(min_size=1, max_size=500), st.data())
def test_when_a_frame_is_cut_expect_an_error_and_no_bytes(content, data):
    whole = packed(content, "zstd")
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = decompress_chunk(part, len(content), "zstd")
    except OSError:
        return
    assert len(found) < len(content)  # the reader refuses a chunk that has not as many as it claims
