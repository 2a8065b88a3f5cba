# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where no tick is left since a stream's messages were refused, the remedy is about them, and not about times."""

from __future__ import annotations

import numpy as np
import pytest
from support.tiny_robot import Robot

from hpt_ros.errors import Code
from rosbag_tools.converting.convert import convert
from rosbag_tools.errors import BagError


def without_pixels(message):
    message.height = message.width = message.step = 0
    message.data = np.zeros(0, np.uint8)


def no_image(message):
    message.data = np.frombuffer(b"RIFF....WEBP", np.uint8)


def not_finite(message):
    message.velocity = message.velocity * np.nan


@pytest.mark.parametrize(
    ("topic", "change", "stream"),
    [
        ("/left", without_pixels, "left"),
        ("/right", no_image, "right"),
        ("/joint_states", not_finite, "joints"),
    ],
)
def test_when_all_messages_of_a_stream_are_refused_expect_a_remedy_for_them(tmp_path, topic, change, stream):
    robot = Robot()
    messages = robot.messages(2.0)
    for of, _, content in messages:
        if of == topic:
            change(content)
    bag = robot.write(tmp_path / "bag", messages)
    with pytest.raises(BagError) as caught:
        convert([bag], tmp_path / "out", robot.embodiment)
    assert caught.value.refusal.code is Code.EMPTY
    assert caught.value.refusal.remedy.startswith(
        f"correct what publishes {stream!r}, whose messages were refused"
    )
    assert "--ignore-arrival" not in str(caught.value)
    assert not (tmp_path / "out").exists()
