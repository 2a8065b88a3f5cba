# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt teleop --joy`: a gamepad as joy_node publishes it moves the arm, begins an episode and keeps it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import Joy
from support.typist import WAIT_S, Typist

from hpt_ros.nodes.common.composition import Composition

BEGIN, SUCCESS = 0, 3  # buttons A and Y


def test_a_gamepad_moves_the_arm_and_keeps_an_episode(tmp_path: Path) -> None:
    person = Typist("--out", str(tmp_path / "bags"), "--joy", "/joy")
    person.wait_for("images: ")
    with Composition() as composition:
        node = composition.add(Node("joy_node", context=composition.context))
        publisher = node.create_publisher(Joy, "/joy", 10)

        def say(forward: float, *pressed: int, until: Callable[[], bool]) -> None:
            """As joy_node repeats it at 20 Hz."""
            end_s = time.monotonic() + WAIT_S
            while not until():
                assert time.monotonic() < end_s, person.text
                buttons = [int(index in pressed) for index in range(11)]
                publisher.publish(Joy(axes=[0.0, forward, 0.0, 0.02, 0.0, 0.0, 0.0, 0.0], buttons=buttons))
                person.read(0.05)

        end_s = time.monotonic() + WAIT_S
        while not publisher.get_subscription_count():
            assert time.monotonic() < end_s
            time.sleep(0.02)
        count = itertools.count()
        say(0.0, until=lambda: next(count) > 10)
        say(0.0, BEGIN, until=lambda: "recording scene" in person.text)
        say(1.0, until=lambda: person.recorded_s() > 1.5)
        say(0.0, SUCCESS, until=lambda: "kept as a success" in person.text)
    person.type("q")
    assert person.end() == 0
    (bag,) = (tmp_path / "bags").iterdir()
    with AnyReader([bag]) as reader:
        (connection,) = [item for item in reader.connections if item.topic == "/joint_states"]
        messages: list[Any] = [
            reader.deserialize(data, item.msgtype) for item, _, data in reader.messages([connection])
        ]
    positions = np.array([message.position for message in messages])
    assert np.ptp(positions, axis=0).max() > 0.05
