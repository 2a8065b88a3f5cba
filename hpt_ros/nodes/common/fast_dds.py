# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The environment variable from which Fast DDS takes its profiles: its name changed between ROS distributions."""

from __future__ import annotations

import importlib.metadata
import os
from xml.etree import ElementTree

from hpt_ros.errors import Code, HptError

NEWER = "FASTDDS_DEFAULT_PROFILES_FILE"  # Fast DDS 3: Kilted and later
OLDER = "FASTRTPS_DEFAULT_PROFILES_FILE"  # Fast DDS 2: Jazzy, which ignores the newer name without a word
FIRST_RCLPY_WITH_FAST_DDS_3 = 8  # Jazzy has 7.1, Kilted 9.1


def profiles_variable() -> str:
    """Name the variable that the Fast DDS of this ROS distribution reads."""
    try:
        major = int(importlib.metadata.version("rclpy").split(".")[0])
    except importlib.metadata.PackageNotFoundError:  # built by hand: not one of the old ones
        return NEWER
    return OLDER if major < FIRST_RCLPY_WITH_FAST_DDS_3 else NEWER


def two_machines_file() -> str:
    """Name, below ``config/dds``, the profiles for a policy on another machine: Fast DDS 3 renamed an element."""
    return "two_machines_jazzy.xml" if profiles_variable() == OLDER else "two_machines.xml"


def has_profiles() -> bool:
    """Tell whether this process was given profiles under a name that its Fast DDS reads."""
    return any(os.environ.get(name) for name in _list_accepted())


def require_profiles() -> None:
    """Look whether the files of profiles that this process was given can be read: Fast DDS goes on without.

    Raises:
        HptError: one is not there, or is not XML.
    """
    for name in _list_accepted():
        if not (path := os.environ.get(name, "")):
            continue
        subject = f"{name}={path}"
        remedy = "correct the path, or unset the variable; profiles are in share/hpt_ros/config/dds"
        try:
            ElementTree.parse(path)
        except OSError as error:
            raise HptError(
                Code.NOT_FOUND, subject, path, problem=f"cannot be read ({error.strerror})", remedy=remedy
            ) from error
        except ElementTree.ParseError as error:
            raise HptError(
                Code.UNREADABLE, subject, path, problem=f"is not XML ({error})", remedy=remedy
            ) from error


def _list_accepted() -> tuple[str, ...]:
    return (OLDER,) if profiles_variable() == OLDER else (NEWER, OLDER)  # Fast DDS 3 takes the older name too
