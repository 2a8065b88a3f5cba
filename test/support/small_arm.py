# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The robot that published models are imported for."""

from __future__ import annotations

from hpt_ros.model.importing import Robot

ROBOT = Robot(name="small_arm", views=2, image_height=32, image_width=48, tasks=())
