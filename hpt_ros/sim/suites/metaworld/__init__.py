# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Meta-World: fifty tasks of one simulated Sawyer (package metaworld, MIT)."""
