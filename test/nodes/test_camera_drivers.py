# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What drivers of cameras do that people report: one stamp for all, infrared, images without pixels, encodings.

Reports: realsense-ros 210 and 1027 (stamps stand still), 314 ("Empty frame has arrived"), librealsense 9191.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from policy_rig import Rig, Robot, policy_rig, wait_for
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Empty

from hpt_ros.control import State

# A loaded machine may hold any thread for a while; that is not the fault which a test injects.
PATIENT: dict[str, Any] = {"watchdog__timeout_s": 1.0}
PIXEL = {"rgb8": 3, "mono8": 1, "16UC1": 2}  # bytes


class Cameras(Robot):  # type: ignore[misc]
    """Its images are of any encoding, and may be without pixels or stamped by a clock that stands."""

    stopped: Time | None = None
    empty = False

    def _publish_images(self) -> None:
        if not self.camera_on:
            return
        self.pictures += 1
        height, width = (0, 0) if self.empty else self.size
        step = width * PIXEL[self.encoding]
        for publisher in self.cameras:
            message = Image(height=height, width=width, step=step, encoding=self.encoding)
            message.data = (self.pictures.to_bytes(4, "little") + bytes(height * step))[: height * step]
            message.header.stamp = self.stopped or self._now()
            publisher.publish(message)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig(Cameras) as made:
        made.start(**PATIENT)
        made.until_moving()
        yield made


def latched(rig: Rig) -> str:
    assert rig.node is not None
    assert rig.node.runtime is not None
    return str(rig.node.runtime.controller.latched)


def test_when_a_camera_loses_its_colours_while_moving_expect_rest_within_limits_and_a_fault(rig: Rig) -> None:
    rig.robot.encoding = "mono8"
    rig.until(State.FAULT)
    rig.until_rest()
    rig.check_limits()
    assert "stream 'front' (topic /front_camera/image_raw) have no colours any more; restore the" in latched(
        rig
    )
    wait_for(lambda: rig.robot.statuses[-1].reason == "input_changed", "its code in the status")


def test_when_a_cameras_stamps_stand_still_while_moving_expect_that_said_and_not_its_age_alone(
    rig: Rig,
) -> None:
    rig.robot.stopped = rig.robot._now()
    rig.until(State.FAULT)
    rig.until_rest()
    rig.check_limits()
    assert "has the same stamp in its last" in latched(rig)
    assert rig.node is not None
    assert rig.node.clear_fault()[0]
    wait_for(lambda: rig.robot.statuses[-1].reason == "stream_stamps", "its code while it waits")
    rig.robot.stopped = None
    rig.until_moving()


def test_when_images_come_without_pixels_for_a_moment_expect_motion_again_without_a_fault(rig: Rig) -> None:
    node = rig.node
    assert node is not None
    rig.robot.empty = True
    rig.until(State.HOLDING)
    rig.robot.empty = False
    rig.until(State.RUNNING)
    assert node.counters()["faults"] == 0
    assert node.counters()["invalid_messages"]
    rig.check_limits()


def test_when_an_encoding_becomes_unusable_while_moving_expect_the_latched_fault_to_name_it(rig: Rig) -> None:
    rig.robot.encoding = "16UC1"
    rig.until(State.FAULT)
    assert "16UC1" in latched(rig)
    assert latched(rig).startswith("held for more than 1 s: stream 'front' is")


def test_when_a_stop_is_published_best_effort_expect_rest_within_limits_and_latched(rig: Rig) -> None:
    """Pinned: a phone's or a bridge's stop, sent best effort, was not heard."""
    stop = rig.robot.create_publisher(Empty, "policy_node/stop", qos_profile_sensor_data)
    wait_for(lambda: stop.get_subscription_count(), "a subscription that fits")
    stop.publish(Empty())
    rig.until(State.FAULT)
    rig.until_rest()
    rig.check_limits()
    assert "published on ~/stop" in latched(rig)
