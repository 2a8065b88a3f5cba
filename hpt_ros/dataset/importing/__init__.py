# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Datasets of other formats (LeRobot v2 and v3, RLDS) to datasets of this project."""
