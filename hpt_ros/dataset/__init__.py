# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset v3.0 on disk: read, write, append, statistics, quality, import of other formats."""

from __future__ import annotations

from hpt_ros.dataset.errors import DatasetError, DatasetExistsError
from hpt_ros.dataset.reader import Dataset, Episode, open_dataset
from hpt_ros.dataset.writer import DatasetWriter, write_dataset

__all__ = [
    "Dataset",
    "DatasetError",
    "DatasetExistsError",
    "DatasetWriter",
    "Episode",
    "open_dataset",
    "write_dataset",
]
