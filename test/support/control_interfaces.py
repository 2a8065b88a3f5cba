# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""control_msgs for tests: that of a ROS distribution, or a stand-in built from test/support/control_msgs.

No wheel has the package. The stand-in has the fields' names and types of the parts that are used here, is built once
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

SOURCE = Path(__file__).resolve().parent / "control_msgs"
# As the loader of messages looks for them: those that others depend on first.
LIBRARIES = (
    "rosidl_generator_c",
    "rosidl_typesupport_fastrtps_c",
    "rosidl_typesupport_introspection_c",
    "rosidl_typesupport_c",
    "rosidl_generator_py",
)


def provide() -> Path | None:
    """Make control_msgs importable in this process.

    Returns:
        The prefix that the stand-in was built to; None if the real package is there.
    """
    if importlib.util.find_spec("control_msgs") is not None:
        return _prefix() if any(str(_prefix()) in path for path in sys.path) else None
    prefix = _built()
    # The middleware looks for these by name, and takes those that are loaded. Wheels of ROS must be imported before:
    # they say where the libraries are that these need.
    import rclpy  # noqa: F401

    for name in LIBRARIES:
        ctypes.CDLL(str(prefix / "lib" / f"libcontrol_msgs__{name}.so"), mode=ctypes.RTLD_GLOBAL)
    sys.path.append(str(_packages(prefix)))
    os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join(
        filter(None, (os.environ.get("AMENT_PREFIX_PATH", ""), str(prefix)))
    )
    return prefix


def _prefix() -> Path:
    parts = [path.read_bytes() for path in sorted(SOURCE.rglob("*")) if path.is_file()]
    return Path(sys.prefix) / "setup" / f"control_msgs-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}"


def _packages(prefix: Path) -> Path:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return prefix / "lib" / version / "site-packages"


def _built() -> Path:
    prefix = _prefix()
    prefix.parent.mkdir(exist_ok=True)
    with prefix.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs
        done = prefix / "done"
        if not done.is_file():
            _build(prefix)
            done.touch()
    return prefix


def _build(prefix: Path) -> None:
    build, environment = prefix.with_suffix(".build"), {**os.environ}
    environment["AMENT_PREFIX_PATH"] = environment["CMAKE_PREFIX_PATH"] = sys.prefix
    environment["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), environment["PATH"]))
    for command in (
        ["cmake", "-S", str(SOURCE), "-B", str(build), f"-DCMAKE_INSTALL_PREFIX={prefix}",
         f"-DPython3_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=MinSizeRel", "-DBUILD_TESTING=OFF",
         f"-DCMAKE_INSTALL_RPATH={prefix}/lib;{sys.prefix}/lib"],
        ["cmake", "--build", str(build), f"-j{len(os.sched_getaffinity(0))}"],
        ["cmake", "--install", str(build)],
    ):  # fmt: skip
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
