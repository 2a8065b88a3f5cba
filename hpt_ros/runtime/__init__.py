# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a policy node does without ROS: observations in, inference, chunks on their way to the controller."""
