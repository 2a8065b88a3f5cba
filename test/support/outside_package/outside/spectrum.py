# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A modality: the loudness of each band of a contact microphone, (bands,)."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality

MODALITY = Modality(
    name="spectrum",
    layout=Layout.STACKED,
    dtype="float32",
    network="hpt_ros.model.modalities:Arrays",
    message_types={
        "std_msgs/msg/Float32MultiArray": "hpt_ros.embodiment.message_types.float_multi_array:decode_array"
    },
)
