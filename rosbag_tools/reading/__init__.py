# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags read: files, storages, topics, messages, episodes, and what inspection finds in them."""
