# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy node in a cell whose drivers stamp late, early or with a clock of their own, or compress their images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from policy_rig import NS, ROBOT, Robot, policy_rig, wait_for
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from hpt_ros.control import State
from hpt_ros.embodiment import Deployment
from hpt_ros.policies.loading import LoadedPolicy

ALL = ("front", "wrist", "joints")


def in_cell(rig: Any, **streams: dict[str, Any]) -> LoadedPolicy:
    deployment = Deployment.loads(yaml.safe_dump({"format": "hpt_ros/deployment/1", "streams": streams}))
    return LoadedPolicy(rig.policy, deployment.over(ROBOT), "", 1)


@pytest.mark.parametrize(
    ("clock_off_s", "timing"),
    [
        (0.6, {"stamp_offset_s": -0.6}),
        (-0.8, {"stamp_offset_s": 0.8}),
        (-1.0e6, {"time": "arrival"}),
    ],
)
def test_when_the_cell_states_how_stamps_are_off_expect_motion_within_the_limits(clock_off_s, timing):
    with policy_rig() as rig:
        rig.robot.clock_off_s = clock_off_s
        node = rig.start(loaded=in_cell(rig, **dict.fromkeys(ALL, timing)))
        rig.until_moving()
        rig.check_limits()
        # What the policy sees is on the node's clock.
        age_s = (node.get_clock().now().nanoseconds - rig.policy.seen[-1].stamp_ns) / NS
        assert -0.1 < age_s < 5.0
        values = {item.key: item.value for item in wait_for(lambda: joints_of(rig), "diagnostics").values}
        assert abs(float(values["delay median [s]"])) < 0.3
        if "time" not in timing:  # the stated offset is no licence for any other
            rig.robot.clock_off_s += 2.0
            rig.until(State.FAULT)


def joints_of(rig: Any) -> Any:
    found = [item for item in rig.robot.diagnostics if item.name.endswith("stream joints") and item.values]
    return found[-1] if found else None


class Compressing(Robot):  # type: ignore[misc]
    """Its front camera has a compressed topic only, as many drivers are set up where bandwidth is scarce."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.destroy_publisher(self.cameras[0])
        self.cameras[0] = Encoder(
            self.create_publisher(CompressedImage, "front/compressed", qos_profile_sensor_data)
        )


class Encoder:
    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher

    def publish(self, image: Image) -> None:
        pixels = np.frombuffer(bytes(image.data), np.uint8).reshape(image.height, image.width, 3)
        message = CompressedImage(format="rgb8; jpeg compressed bgr8", header=image.header)
        message.data = cv2.imencode(".jpg", pixels)[1].tobytes()
        self._publisher.publish(message)


def test_when_a_camera_compresses_in_this_cell_expect_motion():
    with policy_rig(Compressing) as rig:
        front = {"topic": "/front/compressed", "type": "sensor_msgs/msg/CompressedImage"}
        rig.start(loaded=in_cell(rig, front=front))
        rig.until_moving()
        rig.check_limits()
