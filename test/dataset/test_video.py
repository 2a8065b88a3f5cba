# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Encoding in a thread gives the same bytes, passes errors on, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import av
import numpy as np
import pytest

from hpt_ros.dataset import DatasetWriter
from hpt_ros.dataset.statistics import ImageStatistics
from hpt_ros.dataset.video import AHEAD, BackgroundWriter, SegmentWriter


def frames(count=3 * AHEAD):
    random = np.random.default_rng(1)
    return [np.repeat(random.integers(0, 255, (16, 3, 3), np.uint8), 8, axis=1) for _ in range(count)]


def encoders():
    return [thread for thread in threading.enumerate() if thread.name == "hpt-encoder"]


# Of frames as small as these, 227 are handed over together.
@pytest.mark.parametrize("count", [1, 3 * AHEAD, 2 * 227, 500])
def test_a_thread_gives_the_same_bytes(tmp_path, count):
    for name, kind in (("plain", SegmentWriter), ("thread", BackgroundWriter)):
        writer = kind(tmp_path / f"{name}.mp4", 10, 16, 24)
        for frame in frames(count):
            writer.add(frame)
        writer.close()
    one_by_one = ImageStatistics()
    for frame in frames(count):
        one_by_one.add(frame)
    for name, values in writer.statistics.result().items():
        np.testing.assert_array_equal(values, one_by_one.result()[name])
    assert (tmp_path / "plain.mp4").read_bytes() == (tmp_path / "thread.mp4").read_bytes()
    with av.open(str(tmp_path / "thread.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == count
    assert not encoders()


def test_when_a_frame_cannot_be_encoded_expect_the_error_and_no_thread(tmp_path):
    writer = BackgroundWriter(tmp_path / "a.mp4", 10, 16, 24)
    wrong = np.zeros((16, 24), np.uint8)

    def encode():
        for _ in range(10 * AHEAD):  # the error comes with a later frame, or at the end
            writer.add(wrong)
        writer.close()

    with pytest.raises(ValueError, match="numpy array"):
        encode()
    writer.abort()
    assert not encoders()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given_up", [False, True])
def test_when_the_end_is_said_first_expect_the_file_as_ever_or_none(tmp_path, given_up):
    writers = [BackgroundWriter(tmp_path / f"{name}.mp4", 10, 16, 24) for name in "ab"]
    for frame in frames():
        for writer in writers:
            writer.add(frame)
    for writer in writers:
        writer.end()
    for writer in writers:
        writer.abort() if given_up else writer.close()
    assert not encoders()
    if given_up:
        assert list(tmp_path.iterdir()) == []
        return
    for name in "ab":
        with av.open(str(tmp_path / f"{name}.mp4")) as container:
            assert sum(1 for _ in container.decode(video=0)) == 3 * AHEAD


def test_when_an_episode_is_given_up_expect_no_thread_and_no_file(robot, tmp_path):
    with DatasetWriter(tmp_path / "d", robot.embodiment) as writer:
        episode = writer.episode("t")
        images = {f"observation.images.{name}": np.zeros((16, 24, 3), np.uint8) for name in ("left", "right")}
        episode.add({**images, "observation.state": np.zeros(4), "action": np.zeros(2)})
        assert len(encoders()) == 2
        episode.abort()
        assert not encoders()
        assert list(writer.segments.iterdir()) == []


ENCODE = """
    import hashlib, sys
    from pathlib import Path
    import av
    import numpy as np
    from hpt_ros.dataset.video import COLOUR, DEPTH, SegmentWriter
    for height, width in ((16, 24), (16, 16), (48, 50), (48, 52)):
        random = np.random.default_rng(1)
        for encoding in (COLOUR, DEPTH):
            colour = encoding is COLOUR
            shape, top, dtype = ((height, width, 3), 256, np.uint8) if colour else ((height, width), 4096, np.uint16)
            frames = [random.integers(0, top, shape, dtype) for _ in range(4)]
            path = Path(sys.argv[1])
            writer = SegmentWriter(path, 10, height, width, encoding)
            for number in range(20):
                writer.add(np.roll(frames[number // 5], number, 1))
            writer.close()
            with av.open(str(path)) as container:
                decoded = b"".join(
                    frame.to_ndarray(format=encoding.pixel_format).tobytes() for frame in container.decode(video=0)
                )
            print(height, width, encoding.name, hashlib.sha256(path.read_bytes() if colour else decoded).hexdigest())
"""


def test_whatever_lay_in_memory_expect_the_same_bytes_of_colour_and_the_same_depth(tmp_path):
    """glibc fills what is allocated and freed with the complement of MALLOC_PERTURB_; 0 leaves it as it is."""
    found = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(ENCODE), str(tmp_path / "a.mp4")],
            env=os.environ | {"MALLOC_PERTURB_": filling}, check=True, capture_output=True, text=True,
        ).stdout
        for filling in ("0", "1", "200")
    ]  # fmt: skip
    assert found[0].count("\n") == 8
    assert found == [found[0]] * 3
