# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Fetch: three tasks of one simulated arm (package gymnasium-robotics, MIT)."""
