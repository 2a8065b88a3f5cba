# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task as a text; a policy reads its embedding."""

from __future__ import annotations

from hpt_ros.modalities.base import Layout, Modality, Shape, Sized


def sample(stream: Sized) -> Shape:
    """Return (): a text has no axes."""
    return ()


MODALITY = Modality(
    name="language",
    layout=Layout.TEXT,
    dtype="str",
    network="hpt_ros.model.modalities:Language",
    sample=sample,
    inputs=("language", "task"),
    normalised=False,
    holds=True,
    note="CHECK ME: the task's text; episodes are split where it changes",
)
