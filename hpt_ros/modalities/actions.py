# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Past actions: the command at the tick before each observed one."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality

MODALITY = Modality(
    name="actions", layout=Layout.COMMANDS, dtype="float64", network="hpt_ros.model.modalities:Actions"
)
