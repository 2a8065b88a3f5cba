# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Proprioception: positions, velocities, poses and whatever else is measured of the robot, as one vector."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality

MODALITY = Modality(
    name="state",
    layout=Layout.JOINED,
    dtype="float64",
    network="hpt_ros.model.modalities:Vector",
    linear=True,
    sizes=("state_dim",),
    example=(14,),
)
