# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags with video topics: they are inspected, proposed and converted as cameras are."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg
from support.tiny_robot import MS, START_NS, Robot
from support.tiny_video import packets, picture

from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from rosbag_tools.bootstrap.first_embodiment import write_first_embodiment
from rosbag_tools.converting.convert import convert
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag

FOXGLOVE, FFMPEG = "foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
DEFINITIONS = {
    FOXGLOVE: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
    FFMPEG: "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
    "bool is_bigendian\nuint8[] data\n",
}


@pytest.fixture(scope="module")
def filmed() -> Robot:
    robot = Robot()
    for name, text in DEFINITIONS.items():
        robot.store.register(get_types_from_msg(text, name))
    return robot


def video(robot, type_, data, index):
    stamp = START_NS + index * 100 * MS - 7 * MS
    content = np.frombuffer(data, np.uint8)
    if type_ == FOXGLOVE:
        time = robot.header(stamp).stamp
        return robot.make(FOXGLOVE, timestamp=time, frame_id="eye", data=content, format="h264")
    if type_ == FFMPEG:
        return robot.make(
            FFMPEG, header=robot.header(stamp), width=96, height=64, encoding="h264;yuv420p;bgr8;bgr8", pts=index,
            flags=0, is_bigendian=False, data=content,
        )  # fmt: skip
    return robot.make(COMPRESSED, header=robot.header(stamp), format="h264", data=content)


def filming(robot, path, type_, first=0):
    """A bag whose left camera is a video that begins with that packet of its stream."""
    messages = [item for item in robot.messages() if item[0] != "/left"]
    for index, data in enumerate(packets("h264", 30 + first, every=8)[first:]):
        at_ns = START_NS + index * 100 * MS - 3 * MS
        messages.append(("/film", at_ns, video(robot, type_, data, index)))
    return robot.write(path, sorted(messages, key=lambda item: item[1]), types={"/film": type_})


@pytest.mark.parametrize("type_", [FOXGLOVE, FFMPEG, COMPRESSED])
def test_a_video_topic_is_proposed_as_a_camera_and_converts(filmed, tmp_path, type_):
    path = filming(filmed, tmp_path / "bag", type_)
    with Bag.open(path) as bag:
        assert not [note for note in inspect(bag).topics["/film"].notes if "decoded" in note]
        text = write_first_embodiment(bag, name="tiny").text
    film = next(stream for stream in Embodiment.loads(text).image_streams if stream.topic == "film")
    assert film.type == type_
    assert "the camera gives 96x64" in text
    report = convert([path], tmp_path / "dataset", Embodiment.loads(text))
    assert report.episodes[0].whole > 20
    assert not report.episodes[0].refused
    dataset = open_dataset(tmp_path / "dataset")
    assert dataset.length == report.kept


def test_when_a_recording_begins_between_key_frames_expect_ticks_from_the_next_one_on(filmed, tmp_path):
    path = filming(filmed, tmp_path / "bag", FOXGLOVE, first=3)
    with Bag.open(path) as bag:
        robot = Embodiment.loads(write_first_embodiment(bag, name="tiny").text)
    report = convert([path], tmp_path / "dataset", robot)
    dropped = report.episodes[0].dropped["film"]
    assert "waits for a key frame" in dropped.most_frequent
    assert 3 <= dropped.ticks <= 7


def test_when_the_codec_cannot_be_read_expect_inspect_and_init_to_say_so(filmed, tmp_path):
    messages = filmed.messages()
    time = filmed.header(START_NS).stamp
    for index in range(30):
        message = filmed.make(FOXGLOVE, timestamp=time, frame_id="", data=np.zeros(9, np.uint8), format="av1")
        messages.append(("/film", START_NS + index * 100 * MS, message))
    path = filmed.write(
        tmp_path / "bag", sorted(messages, key=lambda item: item[1]), types={"/film": FOXGLOVE}
    )
    with Bag.open(path) as bag:
        (note,) = [note for note in inspect(bag).topics["/film"].notes if "decoded" in note]
        text = write_first_embodiment(bag).text
    assert "codec 'av1', expected h264 or h265" in note
    assert "codec 'av1'" in text


def test_pictures_of_the_test_are_told_apart():
    assert np.abs(picture(0).astype(int) - picture(1)).mean() > 6.0
