# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The error of this package."""

from __future__ import annotations

from hpt_ros.errors import HptError


class BagError(HptError):
    """A bag cannot be read, lacks what is needed, or cannot be converted."""


class TruncatedBagError(BagError):
    """A bag ends before its index: its recorder was killed, or the copy was cut short."""


class DamagedMessageError(BagError):
    """A message does not fit its type: only its topic is concerned."""
