# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a dataset."""

from __future__ import annotations

from hpt_ros.errors import HptError


class DatasetError(HptError):
    """A dataset is incomplete, damaged, of another version or robot, or cannot be written."""


class DatasetExistsError(DatasetError):
    """The folder that a dataset should go to is there already."""
