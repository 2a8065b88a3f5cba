# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Read robot recordings (rosbags), cut episodes and convert them to LeRobot v3 datasets."""

__version__ = "0.1.0"
