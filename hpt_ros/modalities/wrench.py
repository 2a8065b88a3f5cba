# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Forces in N and torques in N m, of all sensors one vector."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality

MODALITY = Modality(
    name="wrench",
    layout=Layout.JOINED,
    dtype="float64",
    network="hpt_ros.model.modalities:Vector",
    sizes=("wrench_dim",),
    example=(6,),
    note="N and N m, in the frame of the sensor",
)
