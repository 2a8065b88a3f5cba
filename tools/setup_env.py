#!/usr/bin/env python3
# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Make the development environment in .venv: ROS 2 from wheels, pinned packages, hpt_msgs, hpt_ros.

Run by `make`, with any Python 3 of the system and nothing but its standard library. Each step keeps a stamp, the hash
of what it was made from, under .venv/setup/ and is skipped while that hash stays the same. What went wrong is said in
one sentence, with the command that fixes it; the entire output is in .venv/setup/log.txt.

Usage: setup_env.py [EXTRA ...] installs these extras of extras.cfg too. Extras once installed are updated.

Environment variables:
    HPT_DISTRO        kilted (default, in .venv) or jazzy (in .venv-jazzy)
    HPT_LIBS          pinned (default) or noble: NumPy, OpenCV, SciPy ... of Ubuntu 24.04 (in .venv-DISTRO-noble)
    HPT_TORCH         auto (default: the CPU build where no NVIDIA GPU is seen and it can be had), cpu or cuda
    HPT_TORCH_INDEX   package index to take torch from, e.g. https://download.pytorch.org/whl/cu126 for an older driver
    HPT_NO_APT        set to 1: never install system packages, not even as root
    MUJOCO_GL         how the simulation renders: egl (default), osmesa, glfw, or disable (skips the check)
"""

from __future__ import annotations

import collections
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Python's safe-path and isolated modes leave it out

import setup_torch
from setup_extras import default_packages, read_extras, require_known
from setup_machine import (
    NEWEST,
    OLDEST,
    SetupError,
    apt_install,
    check_system,
    may_use_apt,
    reexecute_with_a_supported_python,
    say,
)
from setup_pins import DISTROS, LIBRARIES, merge_constraints, require_one_of, requirement_files, venv_name

ROOT = Path(__file__).resolve().parent.parent
DISTRO = os.environ.get("HPT_DISTRO") or DISTROS[0]
LIBS = os.environ.get("HPT_LIBS") or "pinned"
VENV = ROOT / venv_name(DISTRO, LIBS)
PYTHON = VENV / "bin" / "python"
STATE = VENV / "setup"
LOG = STATE / "log.txt"
CONSTRAINTS = STATE / "constraints.txt"  # of this environment: what the tests hold against what is installed

HEARTBEAT_S = 10.0
PACKAGE_FILES = ("setup.py", "setup.cfg", "pyproject.toml", "extras.cfg")  # what hpt_ros's metadata come from

# What a sourced ROS distribution or another Python environment would leak into ours.
LEAKS = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "PYTHONHOME",
    "PYTHONPATH",
    "ROS_DISTRO",
    "ROS_PYTHON_VERSION",
    "ROS_VERSION",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)


def environment() -> dict[str, str]:
    """The caller's environment without what leaks into the virtual environment, which is the ROS prefix."""
    env = {name: value for name, value in os.environ.items() if name not in LEAKS}
    libraries = [
        part for part in env.pop("LD_LIBRARY_PATH", "").split(os.pathsep) if part and "/opt/ros/" not in part
    ]
    if libraries:
        env["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    env.update(AMENT_PREFIX_PATH=str(VENV), CMAKE_PREFIX_PATH=str(VENV), PIP_DISABLE_PIP_VERSION_CHECK="1")
    return env


def run(*command: object, what: str, quiet: bool = False) -> None:
    """Run a command with its output in the log, saying every now and then that it still runs.

    Raises:
        SetupError: it failed; unless `quiet`, the log's last lines are printed before.
    """
    arguments = [str(word) for word in command]
    started = time.monotonic()
    tail: collections.deque[str] = collections.deque(maxlen=20)
    with LOG.open("a", encoding="utf-8", errors="replace") as log:
        log.write(f"\n$ {' '.join(arguments)}\n")
        log.flush()
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                tail.append(line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        while True:
            reader.join(HEARTBEAT_S)
            if not reader.is_alive():
                break
            last = next((line.strip() for line in reversed(list(tail)) if not line.startswith("WARNING")), "")
            say(f"      {time.monotonic() - started:4.0f} s  {last[:100]}")
        status = process.wait()
    if status:
        sys.stderr.write("" if quiet else "".join(tail))
        raise SetupError(f"{what} failed with exit status {status}; see {LOG}")


def digest(*parts: object) -> str:
    """Hash of texts and of files' contents (a folder: all files below it)."""
    total = hashlib.sha256()
    for part in parts:
        files = [part] if isinstance(part, Path) and part.is_file() else []
        if isinstance(part, Path) and part.is_dir():
            files = sorted(path for path in part.rglob("*") if path.is_file())
        if isinstance(part, Path):
            for path in files:
                total.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
        else:
            total.update(f"{part}\0".encode())
    return total.hexdigest()


def is_done(stamp: str, made_from: str) -> bool:
    """Whether the stamp says that something was made from these same things."""
    path = STATE / stamp
    return path.is_file() and path.read_text() == made_from


def step(title: str, stamp: str, made_from: str, work: Callable[[], None]) -> str:
    """Do `work` unless the stamp says that it was done from the same things; return what it was made from."""
    if is_done(stamp, made_from):
        return made_from
    path = STATE / stamp
    path.unlink(missing_ok=True)
    say(f"  {title} ...")
    started = time.monotonic()
    work()
    path.write_text(made_from)
    say(f"  {title}: done in {time.monotonic() - started:.0f} s")
    return made_from


# --- the steps -----------------------------------------------------------------------------------------------------


def venv_python() -> str:
    """Version and base folder of the Python of .venv; empty if there is none that works and that ROS has wheels for."""
    code = (
        f"import pip, sys; v = sys.version_info[:2]; assert {OLDEST} <= v <= {NEWEST}; "
        "print('{}.{}'.format(*v), sys.base_prefix)"
    )
    if not PYTHON.exists():
        return ""
    done = subprocess.run(
        [str(PYTHON), "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    return done.stdout.strip()


def venv_is_usable() -> bool:
    """Whether .venv works and was made for this folder (its scripts carry the path)."""
    marker = STATE / "venv"
    python = venv_python()
    return bool(python) and (not marker.exists() or marker.read_text() == f"{ROOT} {python}")


def make_venv() -> None:
    """Create .venv, or create it anew where it belongs to another folder or is broken."""
    if VENV.exists():
        say(f"  {VENV.name} was made in another folder or is broken: making it anew")
        shutil.rmtree(VENV)
    say(f"  making {VENV.name} with {sys.executable} (Python {sys.version.split()[0]})")
    done = subprocess.run(
        [sys.executable, "-m", "venv", str(VENV)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError(
            f"'{sys.executable} -m venv' failed ({(done.stderr or done.stdout).strip().splitlines()[-1]}): "
            f"run 'sudo apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv'"
        )


def pip_install(*arguments: object, what: str, quiet: bool = False) -> None:
    """Install packages into .venv at the pinned versions."""
    pip = (PYTHON, "-m", "pip", "install", "--progress-bar=off", "-c", CONSTRAINTS)
    run(*pip, *arguments, what=what, quiet=quiet)


def torch_before() -> str:
    """The index that torch came from last time, "pypi" for the ordinary one, "" if .venv has none."""
    record = STATE / "torch"
    if record.is_file():
        return record.read_text()
    return "pypi" if any(VENV.glob("lib/python*/site-packages/torch-*.dist-info")) else ""


def torch_index() -> str | None:
    """The index that torch was taken from; None for the ordinary one."""
    before = torch_before()
    return None if before in ("", "pypi") else before


def install_packages() -> None:
    """Install torch, the ROS wheels of the distribution and requirements.txt."""
    before = torch_before()
    source = setup_torch.choose(os.environ, gpu=setup_torch.gpu_seen(), before=before)
    say(f"      {setup_torch.announce(source, shutil.disk_usage(VENV).free)}")
    anew = before not in ("", source.index or "pypi")
    taken_from = setup_torch.install(source, "torch", pip_install, anew=anew)
    files = [word for path in requirement_files(ROOT, DISTRO) for word in ("-r", path)]
    pip_install(*files, what="installing the Python packages")
    (STATE / "torch").write_text(taken_from)
    fix_cmake_files()


def install_extras(asked: Iterable[str], packages: str) -> None:
    """Install the extras asked for, and bring those of earlier runs up to date; `packages` is what .venv has else.

    Raises:
        SetupError: pip failed.
    """
    known = read_extras(ROOT / "extras.cfg")
    wanted = [name for name in known if name in asked or (STATE / f"extra-{name}").is_file()]
    made_from = {name: digest(packages, *known[name], ROOT / f"requirements-{name}.txt") for name in wanted}
    due = [name for name in wanted if not is_done(f"extra-{name}", made_from[name])]
    names = sorted({package for name in due for package in known[name]})
    if due:
        say(f"  extras {', '.join(due)} ...")
        if "torchvision" in names:  # it must be of the same build as torch
            source = setup_torch.TorchSource(torch_index(), optional=False, reason="as torch")
            setup_torch.install(source, "torchvision", pip_install, anew=False)
        pip_install(*names, what=f"installing the extras {', '.join(due)}")
    for name in due:
        if (
            file := ROOT / f"requirements-{name}.txt"
        ).is_file():  # of packages that ask for more than they need
            pip_install("--no-deps", "-r", file, what=f"installing the packages of {file.name}")
    for name in due:
        (STATE / f"extra-{name}").write_text(made_from[name])


def fix_cmake_files() -> None:
    """Point the ROS wheels' CMake files at this Python.

    They carry their build machine's folders, /opt/python/cp3xx-cp3xx/..., on which CMake stops with "includes
    non-existent path".
    """
    code = "import numpy, sysconfig; print(sysconfig.get_paths()['include'], numpy.get_include(), sep='\\n')"
    done = subprocess.run(
        [str(PYTHON), "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    include, numpy = done.stdout.split("\n")[:2]
    build_machine = re.compile(
        r"/opt/python/cp3\d+-cp3\d+/(include/python3\.\d+|lib/python3\.\d+/site-packages/numpy/_?core/include)"
    )
    for path in (VENV / "share").rglob("*.cmake"):
        text = path.read_text(encoding="utf-8")
        fixed = build_machine.sub(lambda hit: include if hit[1].startswith("include") else numpy, text)
        if fixed != text:
            path.write_text(fixed, encoding="utf-8")


def build_messages() -> None:
    """Build hpt_msgs and install it into .venv, which is the ROS prefix."""
    build = STATE / "hpt_msgs"
    manifest = build / "install_manifest.txt"
    if manifest.is_file():  # an interface that was removed must not stay importable
        for line in manifest.read_text().splitlines():
            Path(line).unlink(missing_ok=True)
    shutil.rmtree(build, ignore_errors=True)
    jobs = len(os.sched_getaffinity(0))
    run(
        "cmake",
        *("-S", ROOT / "hpt_msgs", "-B", build),
        *(f"-DCMAKE_INSTALL_PREFIX={VENV}", f"-DPython3_EXECUTABLE={PYTHON}"),
        *("-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"),
        what="configuring hpt_msgs",
    )
    run("cmake", "--build", build, f"-j{jobs}", what="building hpt_msgs")
    run("cmake", "--install", build, what="installing hpt_msgs")
    run(PYTHON, "-c", "import hpt_msgs.msg, hpt_msgs.srv, hpt_msgs.action", what="importing hpt_msgs")


def install_hpt_ros() -> None:
    """Install hpt_ros in development mode: the source tree is what runs."""
    run(
        *(PYTHON, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "-e", ROOT),
        what="installing hpt_ros",
    )
    run(PYTHON, "-c", "import hpt_ros, rosbag_tools", what="importing hpt_ros")


def check_rendering() -> None:
    """Render a picture off-screen.

    Raises:
        SetupError: it does not work.
    """
    backend = os.environ.setdefault("MUJOCO_GL", "egl")
    if backend == "disable":
        return
    code = (
        'import mujoco; m = mujoco.MjModel.from_xml_string(\'<mujoco><worldbody><light/><geom size="1"/></worldbody>'
        "</mujoco>'); r = mujoco.Renderer(m, 16, 16); d = mujoco.MjData(m); mujoco.mj_forward(m, d); "
        "r.update_scene(d); assert r.render().any()"
    )
    packages = {
        "egl": ("libegl1", "libgl1-mesa-dri", "libopengl0"),
        "osmesa": ("libosmesa6",),
    }.get(backend, ("libgl1",))
    what = f"rendering with MUJOCO_GL={backend}"
    try:
        try:
            run(PYTHON, "-c", code, what=what)
        except SetupError:
            if not may_use_apt():
                raise
            apt_install(packages)
            run(PYTHON, "-c", code, what=what)
    except SetupError as error:
        raise SetupError(
            f"MuJoCo cannot render off-screen ({error}): run 'sudo apt-get install {' '.join(packages)}', "
            "or set MUJOCO_GL=disable to do without the simulation"
        ) from None


def main() -> int:
    """Make or update .venv; return the exit status."""
    try:
        started = time.monotonic()
        installed_anyway = default_packages(ROOT / "requirements-runtime.txt")
        extras = [name for name in sys.argv[1:] if name not in installed_anyway]  # openvino was an extra once
        require_known(extras, read_extras(ROOT / "extras.cfg"))
        setup_torch.choose(
            os.environ, gpu=False, before=""
        )  # refuses what it cannot use before anything is done
        require_one_of("DISTRO", DISTRO, DISTROS)
        require_one_of("LIBS", LIBS, LIBRARIES)
        usable = venv_is_usable()
        if not usable:
            reexecute_with_a_supported_python()
        if not usable or not (STATE / "rendering").is_file():  # the last step has never been done
            say(f"Setting up {VENV} (a few minutes)")
            check_system()
        if not usable:
            make_venv()
        STATE.mkdir(exist_ok=True)
        (STATE / "venv").write_text(f"{ROOT} {venv_python()}")
        with (STATE / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one `make` at a time
            interpreter = (STATE / "venv").read_text()
            CONSTRAINTS.write_text(merge_constraints(ROOT, LIBS), encoding="utf-8")
            packages = step(
                f"Python packages: ROS 2 {DISTRO.capitalize()}, torch, MuJoCo and tools",
                "packages",
                digest(
                    interpreter,
                    *requirement_files(ROOT, DISTRO),
                    CONSTRAINTS,
                    *setup_torch.read_choice(os.environ),
                ),
                install_packages,
            )
            step("hpt_msgs", "messages", digest(packages, ROOT / "hpt_msgs"), build_messages)
            step(
                "hpt_ros, in development mode",
                "hpt_ros",
                digest(packages, *(ROOT / name for name in PACKAGE_FILES)),
                install_hpt_ros,
            )
            backend = os.environ.get("MUJOCO_GL", "egl")
            step("off-screen rendering", "rendering", digest(packages, backend), check_rendering)
            install_extras(extras, packages)
        took = time.monotonic() - started
        if took > 5.0:
            say(f"Set-up done in {took:.0f} s")
    except SetupError as error:
        fail(str(error))
    except KeyboardInterrupt:
        say("set-up interrupted; run it again to go on where it was")
        return 130
    return 0


def fail(sentence: str) -> NoReturn:
    """Leave with one sentence on standard error and exit status 1."""
    sys.exit(f"setup: error: {sentence}")


if __name__ == "__main__":
    sys.exit(main())
