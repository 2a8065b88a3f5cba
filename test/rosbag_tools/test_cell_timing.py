# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cells whose drivers stamp late, early or with a clock of their own, or compress: the dataset is the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml
from support.tiny_robot import MS, START_NS

from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Deployment
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.topic_names import with_names_of
from rosbag_tools.errors import BagError
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag


def cell(**streams):
    return Deployment.loads(yaml.safe_dump({"format": "hpt_ros/deployment/1", "streams": streams}))


def dataset(robot, messages, out, deployment=None, types=None):
    bag = robot.write(out.with_suffix(".bag"), messages, types=types)
    convert([bag], out, robot.embodiment, Options(deployment=deployment))
    return bag, open_dataset(out)


def stamped(robot, topics, stamp_ns):
    """The robot's messages, of which those of some topics are stamped otherwise: a function of stamp and arrival."""
    messages = robot.messages()
    for topic, log_ns, message in messages:
        if topic in topics:
            was = message.header.stamp
            message.header = robot.header(stamp_ns(was.sec * 10**9 + was.nanosec, log_ns))
    return messages


def same(one, other):
    assert one.length == other.length >= 25
    np.testing.assert_array_equal(one.state, other.state)
    np.testing.assert_array_equal(one.action, other.action)


def pictures(data):
    videos = sorted((data.root / "videos").rglob("*.mp4"))
    assert videos
    return [video.read_bytes() for video in videos]


@pytest.mark.parametrize("offset_ms", [-80, 40, 700])
def test_when_stamps_are_off_by_a_known_time_expect_the_dataset_as_if_they_were_right(
    robot, tmp_path, offset_ms
):
    _, right = dataset(robot, robot.messages(), tmp_path / "right")
    messages = stamped(robot, ("/left", "/right", "/joint_states"), lambda stamp, _: stamp + offset_ms * MS)
    offset_s = -offset_ms * 1e-3
    here = cell(**{name: {"stamp_offset_s": offset_s} for name in ("left", "right", "joints")})
    bag, corrected = dataset(robot, messages, tmp_path / "corrected", here)
    same(right, corrected)
    assert pictures(right) == pictures(corrected)
    assert corrected.embodiment == robot.embodiment  # the cell's facts are none of the dataset's
    with Bag.open(bag) as opened:
        found = inspect(opened, with_names_of(opened, robot.embodiment, deployment=here))
    assert 0.0 < found.topics["/left"].delay_s < 0.012


def test_when_a_driver_stamps_with_the_time_since_boot_expect_arrivals_to_count(robot, tmp_path):
    # A zero stamp says "now": its arrival counts without anybody stating so.
    _, unstamped = dataset(
        robot, stamped(robot, ("/left", "/joint_states"), lambda *_: 0), tmp_path / "unstamped"
    )
    boot = stamped(robot, ("/left", "/joint_states"), lambda stamp, _: stamp - START_NS + 10**9)
    with pytest.raises(
        BagError, match="left=arrival joints=arrival, or state time: arrival in the embodiment file"
    ):
        dataset(robot, boot, tmp_path / "refused")
    here = cell(left={"time": "arrival"}, joints={"time": "arrival"})
    _, corrected = dataset(robot, boot, tmp_path / "corrected", here)
    same(unstamped, corrected)
    assert pictures(unstamped) == pictures(corrected)


def test_when_arrivals_are_late_by_a_known_time_expect_the_offset_to_count_too(robot, tmp_path):
    late = [
        (topic, (message.header.stamp.sec * 10**9 + message.header.stamp.nanosec + 60 * MS)
         if topic == "/joint_states" else log_ns, message)
        for topic, log_ns, message in robot.messages()
    ]  # fmt: skip
    late.sort(key=lambda item: item[1])
    for topic, _, message in late:
        if topic == "/joint_states":
            message.header = robot.header(5 * 10**9)  # a driver that stamps all with the same rubbish
    here = cell(joints={"time": "arrival", "stamp_offset_s": -0.06, "tolerance_s": 0.2})
    _, corrected = dataset(robot, late, tmp_path / "corrected", here)
    # Joint b is the time since the bag's start. What comes 60 ms late counts for a tick if it came within 20 ms of it:
    # measured 55 ms before, as joints are stamped 15 ms before each tick and every 20 ms. Nothing is made up of it.
    np.testing.assert_allclose(corrected.state[:, 1] % 0.1, 0.045, atol=1e-4)


def test_when_a_camera_compresses_in_this_cell_expect_the_same_pictures(robot, tmp_path):
    _, raw = dataset(robot, robot.messages(), tmp_path / "raw")
    messages = []
    for topic, log_ns, message in robot.messages():
        if topic == "/left":
            rows = message.data.reshape(16, message.step)[:, : 24 * 3].reshape(16, 24, 3)
            data = cv2.imencode(".png", rows)[1].reshape(-1)  # bgr8, as OpenCV has it
            topic, message = "/left/compressed", robot.make(
                "sensor_msgs/msg/CompressedImage", header=message.header, format="bgr8; png compressed", data=data
            )  # fmt: skip
        messages.append((topic, log_ns, message))
    types = {"/left/compressed": "sensor_msgs/msg/CompressedImage"}
    with pytest.raises(BagError, match="lacks the topic '/left'"):
        dataset(robot, messages, tmp_path / "refused", types=types)
    here = cell(left={"topic": "/left/compressed", "type": "sensor_msgs/msg/CompressedImage"})
    _, compressed = dataset(robot, messages, tmp_path / "compressed", here, types=types)
    same(raw, compressed)
    assert pictures(raw) == pictures(compressed)
    assert compressed.embodiment == robot.embodiment
