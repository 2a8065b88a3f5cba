# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measured pose, of messages as they come."""

from __future__ import annotations

from support.embodiments import embodiment, joints, limit, trajectory

from hpt_ros.runtime.pose import MeasuredPose
from hpt_ros.sim.messages import stamp_message

ROBOT = embodiment(
    "elbow",
    [joints(("shoulder", "elbow"), topic="joint_states", unit="rad")],
    trajectory([limit("shoulder"), limit("elbow")], topic="arm/joint_trajectory"),
)


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
