# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What several nodes need: start and end, parameters, clocks, message conversions."""
