# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Classes of messages and actions by the names of their types, imported when an embodiment names them."""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

from hpt_ros.embodiment.message_types import MESSAGE_TYPES
from hpt_ros.errors import Code, HptError


class MissingInterfaceError(HptError):
    """A message or action type that an embodiment names is not installed; `expected` is the Python package of it."""


@functools.cache
def interface(type_: str) -> Any:
    """The class of a message or an action, e.g. of "geometry_msgs/msg/Twist".

    Raises:
        ImportError: its package is not installed.
        AttributeError: the package has no such type.
    """
    package, folder, name = type_.split("/")
    return getattr(importlib.import_module(f"{package}.{folder}"), name)


def import_interface(type_: str, subject: str) -> Any:
    """The class of a type; `subject` is what needs it, in errors.

    Raises:
        MissingInterfaceError: it is not installed.
    """
    try:
        return interface(type_)
    except (ImportError, AttributeError) as error:
        package = type_.partition("/")[0]
        debian = f"ros-{os.environ.get('ROS_DISTRO') or 'DISTRO'}-{MESSAGE_TYPES[type_].debian_package}"
        raise MissingInterfaceError(
            Code.NOT_INSTALLED, subject, type_, problem="needs the type {value}", cause=error,
            expected=f"the Python package {package!r}",
            remedy=f"install it ('sudo apt-get install {debian}' with a ROS distribution) or build {package} and "
            "source its workspace",
        ) from error  # fmt: skip
