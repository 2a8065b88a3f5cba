# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""HPT (heterogeneous pre-trained transformer, arXiv 2409.20537) policies on real robots with ROS 2."""

__version__ = "0.1.0"
