# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""control_msgs and tf2_msgs for tests: those of a ROS distribution, or stand-ins built from test/support.

No wheel has the packages. A stand-in has the fields' names and types of the parts that are used here, is built once
as hpt_msgs is, beside the environment's other builds, and goes over the same middleware.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
# As the loader of messages looks for them: those that others depend on first.
LIBRARIES = (
    "rosidl_generator_c",
    "rosidl_typesupport_fastrtps_c",
    "rosidl_typesupport_introspection_c",
    "rosidl_typesupport_c",
    "rosidl_generator_py",
)


def provide(package: str = "control_msgs") -> Path | None:
    """Make a package of messages importable in this process.

    Args:
        package: a folder beside this file.

    Returns:
        The prefix that the stand-in was built to; None if the real package is there.
    """
    if importlib.util.find_spec(package) is not None:
        return _prefix(package) if any(str(_prefix(package)) in path for path in sys.path) else None
    prefix = _built(package)
    # The middleware looks for these by name, and takes those that are loaded. Wheels of ROS must be imported before:
    # they say where the libraries are that these need.
    import rclpy  # noqa: F401

    for name in LIBRARIES:
        ctypes.CDLL(str(prefix / "lib" / f"lib{package}__{name}.so"), mode=ctypes.RTLD_GLOBAL)
    sys.path.append(str(_packages(prefix)))
    os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join(
        filter(None, (os.environ.get("AMENT_PREFIX_PATH", ""), str(prefix)))
    )
    return prefix


def _prefix(package: str) -> Path:
    parts = [path.read_bytes() for path in sorted((SOURCES / package).rglob("*")) if path.is_file()]
    return Path(sys.prefix) / "setup" / f"{package}-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}"


def _packages(prefix: Path) -> Path:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return prefix / "lib" / version / "site-packages"


def _built(package: str) -> Path:
    prefix = _prefix(package)
    prefix.parent.mkdir(exist_ok=True)
    with prefix.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs
        done = prefix / "done"
        if not done.is_file():
            _build(package, prefix)
            done.touch()
    return prefix


def _build(package: str, prefix: Path) -> None:
    build, environment = prefix.with_suffix(".build"), {**os.environ}
    environment["AMENT_PREFIX_PATH"] = environment["CMAKE_PREFIX_PATH"] = sys.prefix
    environment["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), environment["PATH"]))
    for command in (
        ["cmake", "-S", str(SOURCES / package), "-B", str(build), f"-DCMAKE_INSTALL_PREFIX={prefix}",
         f"-DPython3_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=MinSizeRel", "-DBUILD_TESTING=OFF",
         f"-DCMAKE_INSTALL_RPATH={prefix}/lib;{sys.prefix}/lib"],
        ["cmake", "--build", str(build), f"-j{len(os.sched_getaffinity(0))}"],
        ["cmake", "--install", str(build)],
    ):  # fmt: skip
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
