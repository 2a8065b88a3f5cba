# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the registries of this room share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from hpt_ros.errors import Code
from hpt_ros.model.config_error import ConfigError

T = TypeVar("T")


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


def narrow(config: Any, kind: type[T]) -> T:
    """Return a configuration as the kind that its reader needs; another one is a programmer's mistake."""
    if not isinstance(config, kind):
        raise TypeError(f"{type(config).__name__} in place of {kind.__name__}")
    return config
