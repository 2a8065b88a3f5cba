# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from support.outside import outside_run, outside_site

__all__ = ["outside_run", "outside_site"]
