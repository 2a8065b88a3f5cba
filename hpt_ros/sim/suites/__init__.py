# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks that others wrote, as environments: a sub-package each, whose packages are in the extra `suites`."""
