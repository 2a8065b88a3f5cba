# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The error of a policy's configuration, for all files that hold parts of it."""

from __future__ import annotations

from hpt_ros.errors import HptError


class ConfigError(HptError):
    """The parts of a policy's configuration do not fit together."""
