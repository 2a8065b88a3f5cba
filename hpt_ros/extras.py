# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Libraries that may be absent: optional extras, imported only when named, and ROS 2.

What an extra consists of is in extras.cfg, its versions are in constraints.txt.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from hpt_ros.errors import Code, HptError

EXTRAS = (
    "diffusion",
    "efficientnet",
    "export",
    "language",
    "onnx",
    "ray",
    "rerun",
    "rlds",
    "sentence",
    "suites",
    "timm",
    "transformers",
    "umi",
)
# What these extras bring beside their section of extras.cfg: packages that ask for older libraries than they need.
_UNDEMANDING = {"suites": "requirements-suites.txt"}
_ROS = frozenset({"ament_index_python", "launch", "launch_ros", "rclpy", "rosidl_runtime_py"})
_ROS_INTERFACES = ("_msgs", "_srvs", "_interfaces")


class MissingExtraError(HptError):
    """A library that this feature needs is not installed, or cannot be imported."""


def require_extra(module: str, *, extra: str, what: str) -> ModuleType:
    """Import and return a module of an optional extra.

    Args:
        module: what to import, e.g. "onnxruntime".
        extra: the extra that brings it, one of `EXTRAS`.
        what: what needs it, for the error, e.g. "the backend 'onnxruntime'".

    Raises:
        MissingExtraError: it is not installed, or fails at import; the sentence says what installs it.
    """
    if extra not in EXTRAS:
        raise ValueError(f"{extra!r} is no extra; use one of {', '.join(EXTRAS)}")
    command = f"'make setup EXTRAS={extra}', or 'pip install .[{extra}]',"
    if file := _UNDEMANDING.get(extra):
        command = (
            f"'make setup EXTRAS={extra}', or 'pip install .[{extra}] && pip install --no-deps -c constraints.txt "
            f"-r {file}',"
        )
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        lacks = error.name or module
        raise MissingExtraError(
            Code.NOT_INSTALLED, what, lacks, problem="needs the package {value}, which is not installed",
            remedy=f"run {command} in hpt_ros's source folder",
        ) from error  # fmt: skip
    except (ImportError, OSError, RuntimeError) as error:  # e.g. a torchvision of another torch
        raise MissingExtraError(
            Code.NOT_INSTALLED, what, module, problem="needs {value}, which is installed but cannot be imported",
            remedy=f"install the versions that belong together with {command} in hpt_ros's source folder", cause=error,
        ) from error  # fmt: skip


def missing_module(error: ModuleNotFoundError, *, what: str) -> HptError | None:
    """Explain why `what` cannot be imported, or return None where a module of hpt_ros itself is missing (a bug).

    Args:
        error: of an import.
        what: what was imported for, e.g. "'hpt run'".
    """
    package = (error.name or "").partition(".")[0]
    if not package or package in ("hpt_ros", "rosbag_tools"):
        return None
    if package in _ROS or package.endswith(_ROS_INTERFACES):
        return HptError(
            Code.NOT_INSTALLED, what, error.name, problem="needs ROS 2, and this Python has no module {value}",
            remedy="source a Jazzy or Kilted workspace in which colcon has built hpt_msgs and hpt_ros, or run "
            "'make setup' in hpt_ros's source folder, which takes ROS 2 from wheels",
        )  # fmt: skip
    return HptError(
        Code.NOT_INSTALLED, what, package, problem="needs the package {value}, which is not installed",
        remedy="install hpt_ros with what it needs, by 'pip install .' in its source folder, or, beside a ROS "
        "distribution, as docs/installation.md says",
    )  # fmt: skip
