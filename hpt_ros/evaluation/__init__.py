# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Rollouts of any policy in any environment through runtime and control, and what they show."""
