# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Studies: grids of training runs, what each of them does in closed loop, and what they show together."""
