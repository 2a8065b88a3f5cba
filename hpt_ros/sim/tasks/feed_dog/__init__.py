# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scoop kibble from a bin and pour it into the dog's bowl."""
