# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measured pose, of messages as they come."""

from __future__ import annotations

from hpt_ros.embodiment import Embodiment
from hpt_ros.runtime.pose import MeasuredPose
from hpt_ros.sim.messages import stamp_message

ROBOT = Embodiment.loads("""
format: hpt_ros/embodiment/1
name: elbow
tick_hz: 10.0
streams:
  - name: joints
    modality: state
    topic: joint_states
    type: sensor_msgs/msg/JointState
    rate_hz: 50.0
    tolerance_s: 0.1
    joints: [shoulder, elbow]
    fields: [position]
    unit: rad
action:
  horizon: 4
  topic: arm/joint_trajectory
  type: trajectory_msgs/msg/JointTrajectory
  names: [shoulder, elbow]
  limits:
    - {name: shoulder, lower: -1, upper: 1, velocity: 1, acceleration: 1}
    - {name: elbow, lower: -1, upper: 1, velocity: 1, acceleration: 1}
""")


def test_a_message_counts_by_its_topic_and_at_its_stamp() -> None:
    pose = MeasuredPose(ROBOT)
    message = stamp_message(
        5_000_000_000, "", name=["elbow", "shoulder"], position=[0.2, 0.1], velocity=[], effort=[]
    )
    pose.take("other", message, 5_000_000_000)
    assert pose.newest() is None
    pose.take("joint_states", message, 5_100_000_000)
    found = pose.newest()
    assert found is not None
    stamp_ns, position = found
    assert stamp_ns == 5_000_000_000
    assert position.tolist() == [0.1, 0.2]
