# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What makes chunks of actions: trained policies, baselines, and what a caller may ask of any of them."""
