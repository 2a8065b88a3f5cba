# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Is a dataset fit to learn from? Measures, checks and a page of both."""
