# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tactile arrays: each sensor's values, (length,), in its driver's unit."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality

MODALITY = Modality(
    name="tactile",
    layout=Layout.STACKED,
    dtype="float32",
    network="hpt_ros.model.modalities:Arrays",
    message_types=dict.fromkeys(
        ("std_msgs/msg/Float32MultiArray", "std_msgs/msg/Float64MultiArray"),
        "hpt_ros.embodiment.message_types.float_multi_array:decode_array",
    ),
    sizes=("tactile_arrays", "tactile_values"),
    example=(2, 16),
    note="CHECK ME: touch? It may be a command, or a state",
)
