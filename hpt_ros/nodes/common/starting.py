# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How rclpy begins, whatever the process's environment."""

from __future__ import annotations

import os
import pwd
import re
import tempfile
from pathlib import Path

import rclpy
from rclpy.logging import get_logging_directory
from rclpy.signals import SignalHandlerOptions

from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.fast_dds import require_profiles

# The ports of DDS end at domain 232 (docs.ros.org, "The ROS_DOMAIN_ID"); Fast DDS ends the process beyond.
LAST_DOMAIN = 232


def begin(words: list[str] | None, context: rclpy.Context) -> None:
    """Initialise rclpy in a context, with no signal handlers of its own.

    Args:
        words: command line; the process's own if None.
        context: one that is not initialised yet.

    Raises:
        HptError: what follows ``--ros-args`` cannot be read, no logs can be retained, or an environment variable of ROS
            or Fast DDS has a value that cannot be.
    """
    _name_log_folder()
    _require_log_folder()
    _require_domain()
    if rclpy.get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        require_profiles()
    try:
        rclpy.init(args=words, context=context, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # RCLError, UnknownROSArgsError, ...: rclpy's have no class in common
        reason = re.sub(r", at \S+:\d+|failed to initialize rcl: ", "", " ".join(str(error).split()))
        raise HptError(
            Code.UNREADABLE, "the arguments after --ros-args", problem=f"cannot be read: {reason.rstrip('.')}",
            remedy="write '-p name:=value', '-r from:=to' or '--params-file file.yaml'",
        ) from error  # fmt: skip


def _require_log_folder() -> None:
    """Check that rcl can keep its logs, without which it does not begin and names a line of its source."""
    try:
        folder = get_logging_directory()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except (OSError, RuntimeError) as error:
        raise HptError(
            Code.UNWRITABLE, "ROS", problem="cannot keep its logs", cause=error,
            remedy="set ROS_LOG_DIR to a folder that can be written",
        ) from error  # fmt: skip


def _require_domain() -> None:
    domain = os.environ.get("ROS_DOMAIN_ID", "")
    if domain and not (domain.isascii() and domain.isdigit() and int(domain) <= LAST_DOMAIN):
        raise HptError(
            Code.OUT_OF_RANGE, "ROS_DOMAIN_ID", domain, expected=f"a whole number from 0 to {LAST_DOMAIN}",
            remedy="correct the environment variable, or unset it",
        )  # fmt: skip


def _name_log_folder() -> None:
    """Let rcl find a folder for its logs where HOME is not set, as in a service: it asks nothing else, and ends."""
    if not any(os.environ.get(name) for name in ("HOME", "ROS_HOME", "ROS_LOG_DIR")):
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # a user of a container, without an entry
            home = tempfile.gettempdir()
        os.environ["ROS_HOME"] = str(Path(home, ".ros"))
