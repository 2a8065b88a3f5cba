# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the machine must have before .venv can be made: a supported Python, compilers, headers, EGL.

Used by setup_env.py, with any Python 3 of the system and nothing but its standard library.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 13)  # the ROS wheels exist for CPython 3.10 to 3.13


class SetupError(Exception):
    """One sentence: what is wrong, and the command that fixes it."""


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def reexecute_with_a_supported_python() -> None:
    """Continue under a supported Python if the one that runs this is not.

    Raises:
        SetupError: there is none on PATH.
    """
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in (12, 11, 13, 10):
        other = shutil.which(f"python3.{minor}")
        if (
            other
            and subprocess.run(
                [other, "-c", "import venv, ensurepip"], capture_output=True, check=False
            ).returncode
            == 0
        ):
            say(f"  {sys.executable} is Python {sys.version.split()[0]}; using {other}")
            os.execv(other, [other, *sys.argv])
    raise SetupError(
        f"{sys.executable} is Python {sys.version.split()[0]}, but ROS 2's wheels exist for Python 3.10 to 3.13 only: "
        "install one of these (on Debian and Ubuntu e.g. 'apt-get install python3.12 python3.12-venv python3.12-dev') "
        "and run 'make PYTHON=python3.12 ...'"
    )


def loads(library: str) -> bool:
    """Whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_system_packages() -> dict[str, str]:
    """What the build and the simulation need from the system and do not find: Debian package -> what it is."""
    of_system = sys.base_prefix == "/usr"
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    missing = {}
    for tools, package, why in (
        ((os.environ.get("CXX") or "g++", "c++", "clang++"), "g++", "a C++ compiler"),
        (("cmake",), "cmake", "CMake"),
        (("make",), "make", "make"),
    ):
        if not any(shutil.which(tool) for tool in tools):
            missing[package] = why
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        missing[f"{python}-dev" if of_system else "python-headers"] = "Python's C headers"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing[f"{python}-venv" if of_system else "python-ensurepip"] = "Python's venv and ensurepip"
    backend = os.environ.get("MUJOCO_GL", "egl")
    if backend == "egl" and not loads("libEGL.so.1"):
        missing["libegl1"] = "EGL (off-screen rendering)"
        missing["libgl1-mesa-dri"] = "Mesa's drivers"
    if backend == "egl" and not loads("libOpenGL.so.0") and not loads("libGL.so.1"):
        missing["libopengl0"] = (
            "OpenGL"  # EGL alone makes contexts, but PyOpenGL wants OpenGL's functions too
        )
    if backend == "osmesa" and not loads("libOSMesa.so.8") and not loads("libOSMesa.so.6"):
        missing["libosmesa6"] = "OSMesa (software rendering)"
    return missing


def may_use_apt() -> bool:
    """Whether system packages may be installed without asking: as root (a container, CI), unless HPT_NO_APT=1."""
    return os.geteuid() == 0 and os.environ.get("HPT_NO_APT") != "1" and shutil.which("apt-get") is not None


def apt_install(packages: Iterable[str]) -> None:
    """Install Debian packages.

    Raises:
        SetupError: apt-get failed.
    """
    names = sorted(packages)
    say(f"  installing system packages as root: {' '.join(names)} (HPT_NO_APT=1 forbids it)")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-qy", "--no-install-recommends", *names],
    ):
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.stderr.write(done.stdout[-2000:])
            raise SetupError(f"'{' '.join(command)}' failed with exit status {done.returncode}")


def check_system() -> None:
    """Make sure that compilers, headers and rendering libraries are there.

    Raises:
        SetupError: something is missing and may not be installed from here.
    """
    missing = missing_system_packages()
    if missing and may_use_apt() and not any(name.startswith("python-") for name in missing):
        apt_install(missing)
        missing = missing_system_packages()
    incomplete = [why for name, why in missing.items() if name.startswith("python-")]
    if incomplete:
        raise SetupError(
            f"{sys.executable} lacks {' and '.join(incomplete)}: "
            "install a complete Python 3.10 to 3.13 and run 'make PYTHON=/path/to/its/python3 ...'"
        )
    if missing:
        raise SetupError(
            f"{', '.join(missing.values())} missing on this machine: run 'sudo apt-get install {' '.join(missing)}'"
        )
