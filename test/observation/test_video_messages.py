# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Video in messages: every packet in order, from a key frame on, and honest about what is not there."""

from __future__ import annotations

import contextlib
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.embodiments import camera, embodiment, limit, trajectory
from support.refused import refused
from support.tiny_video import packets, picture

from hpt_ros.embodiment import Embodiment, EmbodimentError, ImageSpec, Stream
from hpt_ros.embodiment.messages import stamp_ns
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, ObservationBuffer, StreamDecoder, decode
from hpt_ros.observation.h264 import UNIT, FrameNumbers
from hpt_ros.observation.video import PENDING, video_codec

MS = 1_000_000
START = 1_700_000_000_000 * MS
STREAM = Stream(
    "eye", "image", "/eye", "foxglove_msgs/msg/CompressedVideo", 30.0, 0.2, image=ImageSpec(64, 96)
)
PACKED = dataclasses.replace(STREAM, type="sensor_msgs/msg/CompressedImage")
FFMPEG = dataclasses.replace(STREAM, type="ffmpeg_image_transport_msgs/msg/FFMPEGPacket")


def header(at_ns):
    return SimpleNamespace(stamp=SimpleNamespace(sec=at_ns // 10**9, nanosec=at_ns % 10**9), frame_id="")


def message(data, codec="h264", kind="foxglove", at_ns=START):
    if kind == "foxglove":
        return SimpleNamespace(timestamp=header(at_ns).stamp, frame_id="", data=data, format=codec)
    if kind == "ffmpeg":
        return SimpleNamespace(
            header=header(at_ns),
            width=96,
            height=64,
            encoding=codec,
            pts=0,
            flags=0,
            is_bigendian=False,
            data=data,
        )
    return SimpleNamespace(header=header(at_ns), format=codec, data=data)


def shown(image, index):
    """Whether an image is the picture of that index, as far as the codec keeps it."""
    return np.abs(image.astype(int) - picture(index)).mean() < 6.0


@pytest.mark.parametrize(
    ("stream", "kind", "codec", "text"),
    [
        (STREAM, "foxglove", "h264", "h264"), (STREAM, "foxglove", "hevc", "h265"), (PACKED, "image", "h264", "h264"),
        (PACKED, "image", "hevc", "video/hevc"), (FFMPEG, "ffmpeg", "h264", "libx264"),
        (FFMPEG, "ffmpeg", "hevc", "hevc_nvenc"), (FFMPEG, "ffmpeg", "h264", "h264;yuv420p;bgr8;bgr8"),
    ],
)  # fmt: skip
def test_every_packet_becomes_its_image(stream, kind, codec, text):
    decoder = StreamDecoder(stream)
    images = [decoder.take(message(data, text, kind)) for data in packets(codec)]
    assert decoder.video_size == (64, 96)
    # Called late and in any order: decoding was done when the packets came.
    for index in reversed(range(20)):
        assert shown(images[index](), index), index


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_when_the_beginning_lacks_expect_the_next_key_frame_to_begin(codec):
    decoder, good = StreamDecoder(STREAM), []
    for index, data in enumerate(packets(codec)[3:], 3):
        try:
            good.append((index, decoder.take(message(data, codec))()))
        except InvalidSampleError as error:
            assert "waits for a key frame" in str(error)
            assert index < 8
    assert [index for index, _ in good] == list(range(8, 20))
    assert all(shown(image, index) for index, image in good)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_when_a_packet_is_lost_and_said_expect_the_next_key_frame_to_begin(codec):
    decoder, seen = StreamDecoder(STREAM), []
    for index, data in enumerate(packets(codec)):
        if index == 10:
            decoder.note_loss()
            continue
        try:
            assert shown(decoder.take(message(data, codec))(), index)
            seen.append(index)
        except InvalidSampleError:
            pass
    assert seen == [*range(10), *range(16, 20)]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("lost", [1, 3])
def test_when_the_network_loses_packets_expect_no_image_that_builds_on_them(codec, lost):
    decoder, seen = StreamDecoder(STREAM), []
    for index, data in enumerate(packets(codec)):
        if 10 <= index < 10 + lost:
            continue
        with contextlib.suppress(InvalidSampleError):
            assert shown(decoder.take(message(data, codec))(), index)
            seen.append(index)
    assert seen == [*range(10), *range(16, 20)]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"bf": "2"}, {"bf": "3", "b-pyramid": "normal"}, {"x264-params": "slices=4"}, {"x264-params": "cqm=jvt"},
        {"x264-params": "keyint=8:intra-refresh=1"}, {"profile": "baseline"}, {"x264-params": "ref=5:bframes=0"},
        {"tune": "zerolatency"}, {"x264-params": "open-gop=1:bframes=2"},
    ],
    ids=str,
)  # fmt: skip
def test_frame_numbers_of_complete_streams_lack_none(options):
    numbers = FrameNumbers()
    found = packets("h264", 80, every=30, options={"preset": "medium", **options})
    assert not any(numbers.lacks_one(data) for data in found)
    # ... and of a stream that lacks a picture which others refer to, one.
    numbers = FrameNumbers()
    lacking = [numbers.lacks_one(data) for index, data in enumerate(found) if index not in (2, 3, 4)]
    assert lacking.index(True) in (2, 3, 4)


@given(st.binary(max_size=300))
def test_whatever_units_hold_frame_numbers_are_read_or_passed_over(data):
    numbers = FrameNumbers()
    for start in (b"\0\0\1\x67", b"\0\0\1\x67\x64\0\x0a", b"\0\0\1\x41", b""):
        assert numbers.lacks_one(start + data) in (False, True)


def without_parameters(data):
    """A packet of H.264 without its parameter sets."""
    starts = [found.start() for found in UNIT.finditer(data)]
    units = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
    return b"\0" + b"".join(unit for unit in units if unit[3] & 0x1F not in (7, 8))


@pytest.mark.parametrize("apart", [False, True])
def test_when_parameters_come_once_or_in_a_message_of_their_own_expect_every_later_key_frame_to_begin(apart):
    decoder, seen = StreamDecoder(STREAM), []
    first, *others = packets("h264")
    found = [first, *map(without_parameters, others)]
    if apart:
        parameters = first[: len(first) - len(without_parameters(first))]
        found = [without_parameters(data) for data in found]
        with pytest.raises(InvalidSampleError):
            decoder.take(message(parameters))()
    for index, data in enumerate(found):
        if index == 10:
            continue
        with contextlib.suppress(InvalidSampleError):
            assert shown(decoder.take(message(data))(), index)
            seen.append(index)
    assert seen == [*range(10), *range(16, 20)]


def test_when_a_packet_is_cut_expect_it_and_those_that_build_on_it_refused():
    decoder, seen = StreamDecoder(STREAM), []
    reasons = []
    for index, data in enumerate(packets("h264")):
        try:
            image = decoder.take(message(data[: len(data) // 2] if index == 10 else data))()
            assert shown(image, index)
            seen.append(index)
        except InvalidSampleError as error:
            reasons.append(str(error))
    assert seen == [*range(10), *range(16, 20)]
    assert "cannot be decoded" in reasons[0]
    assert "waits for a key frame" in reasons[1]


def test_when_the_encoder_makes_b_frames_expect_images_after_their_successors():
    decoder = StreamDecoder(STREAM)
    images = [decoder.take(message(data)) for data in packets("h264", b_frames=2, every=12)]
    assert len(images) == 20
    first = images[0]()
    assert shown(first, 0)
    with refused(
        InvalidSampleError, Code.NOT_READY, subject="stream 'eye' (topic /eye)", problem="not there yet:"
    ):
        images[-1]()


def test_when_images_never_come_expect_a_bound_on_what_is_kept():
    decoder = StreamDecoder(STREAM)
    decoder.take(message(packets("h264")[0]))
    waiting = [decoder.take(message(b"")) for _ in range(10 * PENDING)]
    assert len(decoder._video._pending) == PENDING
    with refused(
        InvalidSampleError, Code.NOT_READY, subject="stream 'eye' (topic /eye)", problem="not there yet"
    ):
        waiting[0]()


def test_a_key_frame_is_decoded_by_itself_and_others_say_what_they_lack():
    first, second = packets("h264")[:2]
    assert shown(decode(STREAM, message(first)), 0)
    with refused(
        InvalidSampleError, Code.INVALID, subject="stream 'eye' (topic /eye)", problem="waits for a key frame"
    ):
        decode(STREAM, message(second))


@pytest.mark.parametrize("text", ["av1", "", "vp9"])
def test_when_the_codec_is_another_expect_those_that_can_be_read(text):
    with pytest.raises(DecodeError, match=f"codec '{text}', expected h264 or h265") as caught:
        decode(STREAM, message(b"123", text))
    assert type(caught.value) is DecodeError


@pytest.mark.parametrize("text", ["jpeg", "rgb8; jpeg compressed bgr8", "png", ""])
def test_pictures_are_no_video(text):
    assert video_codec(message(b"", text, "image")) == ""


def test_a_timestamp_in_place_of_a_header_is_the_stamp():
    assert stamp_ns(message(b"", at_ns=START + 7), 1) == START + 7
    assert stamp_ns(message(b"", at_ns=0), 5) == 5


@given(st.lists(st.binary(max_size=120), max_size=6), st.sampled_from(["h264", "hevc"]))
@settings(deadline=None)
def test_whatever_packets_hold_they_are_decoded_or_refused(data, codec):
    decoder = StreamDecoder(STREAM)
    for item in [packets(codec, 2)[0], *data, *(b"\0\0\1\x67" + item for item in data)]:
        with contextlib.suppress(InvalidSampleError):
            assert decoder.take(message(item, codec))().shape == (64, 96, 3)


ROBOT = embodiment(
    "filmed",
    [camera("eye", 64, 96, type_="foxglove_msgs/msg/CompressedVideo", rate_hz=30.0, tolerance_s=0.2)],
    trajectory([limit("a")], rate_hz=10.0, horizon=2),
)


@pytest.mark.parametrize("defer", [False, True])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_ticks_have_the_newest_image_that_was_there(defer, b_frames):
    buffer = ObservationBuffer(ROBOT)
    ticks = []
    for index, data in enumerate(packets("h264", 60, b_frames=b_frames, every=60)):
        at_ns = START + index * 33 * MS
        buffer.push_message("eye", message(data, at_ns=at_ns), at_ns + 5 * MS, defer=defer)
        ticks += buffer.ticks_ready()
    whole = [tick for tick in ticks if not tick.missing]
    assert len(whole) > 15
    for tick in whole:
        index = (tick.stamp_ns - START) // (33 * MS)
        if not b_frames:
            assert shown(tick.arrays["eye"], index), index
        # With B-frames an image comes some packets late: what there is is its own, not another's.
        assert any(shown(tick.arrays["eye"], index - late) for late in range(6 if b_frames else 1))


def test_when_a_key_frame_is_awaited_expect_ticks_to_say_so():
    buffer = ObservationBuffer(ROBOT)
    for index, data in enumerate(packets("h264", 8)[1:]):
        at_ns = START + index * 33 * MS
        buffer.push_message("eye", message(data, at_ns=at_ns), at_ns, defer=True)
    (*_, tick) = buffer.ticks_ready(START + 400 * MS)
    assert "waits for a key frame" in str(tick.missing["eye"].cause)


def test_a_video_stream_takes_no_encoding():
    text = ROBOT.to_yaml().replace("modality: image", "modality: image\n  encoding: bgr8")
    with refused(
        EmbodimentError,
        Code.UNEXPECTED,
        subject="embodiment text, stream 'eye'",
        value="bgr8",
        problem="encoding",
        expected="none",
    ):
        Embodiment.loads(text)
