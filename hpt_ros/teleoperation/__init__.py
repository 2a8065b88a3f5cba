# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A person drives a robot: devices to velocities, velocities to commands within the limits, episodes to bags."""
