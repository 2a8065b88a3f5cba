# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an output commands: the kinds of quantities, and what each is to `hpt_ros.embodiment.action_space`."""

from __future__ import annotations

JOINT_POSITION, CARTESIAN_POSE, CARTESIAN_TWIST = "joint_position", "cartesian_pose", "cartesian_twist"
JOINT_VELOCITY, BASE_VELOCITY = "joint_velocity", "base_velocity"
KINDS = (JOINT_POSITION, CARTESIAN_POSE, CARTESIAN_TWIST, JOINT_VELOCITY, BASE_VELOCITY)
CARTESIAN = frozenset({CARTESIAN_POSE, CARTESIAN_TWIST})  # of a tool, whose pose is measured
JOINTS = frozenset({JOINT_POSITION, JOINT_VELOCITY})  # of named joints, whose positions are measured
# Actions that are velocities and are integrated to positions, in which they are limited.
INTEGRATED = frozenset({CARTESIAN_TWIST, JOINT_VELOCITY})
# Actions that are velocities: absolute in every mode, zero at rest.
VELOCITIES = INTEGRATED | {BASE_VELOCITY}

TWIST_ELEMENTS = ("vx", "vy", "vz", "wx", "wy", "wz")
AXES = ("x", "y", "z")
