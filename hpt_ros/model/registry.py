# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the registries of this room share: an entry that says where its class is, which is imported when it is built."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import Any

from hpt_ros.errors import Code
from hpt_ros.model.config_error import ConfigError


def load_class(location: str) -> Any:
    """Return what a location names, e.g. "hpt_ros.model.heads:MlpHead"."""
    module, _, name = location.partition(":")
    return getattr(importlib.import_module(module), name)


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
