# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot: a MuJoCo scene made of primitive shapes, its task, and a scripted teleoperator."""
