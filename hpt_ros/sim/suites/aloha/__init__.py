# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ALOHA: two ViperX arms hand a cube over (models of package gym-aloha, Apache-2.0)."""
