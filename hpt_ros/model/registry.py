# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the registries of this room share."""

from __future__ import annotations

from collections.abc import Collection

from hpt_ros.errors import Code
from hpt_ros.model.config_error import ConfigError


def require_name(name: str, registry: Collection[str], what: str) -> None:
    """Refuse a name that a registry does not have.

    Args:
        name: that was given.
        registry: the names that there are.
        what: kind of thing, e.g. "head".

    Raises:
        ConfigError: it is unknown.
    """
    if name not in registry:
        raise ConfigError(Code.UNKNOWN, f"the {what}", name, known=tuple(registry))
