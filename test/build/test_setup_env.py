# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""tools/setup_env.py: what it says on a machine that lacks something, and when it does work again."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool as a module, of a project folder of its own."""
    (tmp_path / "tools").mkdir()
    for path in (ROOT / "tools").glob("setup_*.py"):
        shutil.copy(path, tmp_path / "tools")
    for name in ("extras.cfg", "requirements-runtime.txt"):
        shutil.copy(ROOT / name, tmp_path)
    copy = tmp_path / "tools" / "setup_env.py"
    monkeypatch.setattr(sys, "path", [*sys.path])  # the tool adds its own folder
    for name in ("setup_machine", "setup_extras", "setup_pins", "setup_torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("setup_env_under_test", copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.STATE.mkdir(parents=True)
    return module


def test_when_the_compiler_is_missing_expect_its_package_named(setup_env: ModuleType, tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "HPT_NO_APT": "1", "MUJOCO_GL": "disable", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "tools" / "setup_env.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "setup: error: a C++ compiler, CMake, make missing on this machine" in done.stderr
    assert "apt-get install g++ cmake make" in done.stderr
    assert "Traceback" not in done.stderr


def test_when_python_is_too_old_expect_what_to_install(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys.modules["setup_machine"], "OLDEST", (3, 98))
    monkeypatch.setattr(sys.modules["setup_machine"], "NEWEST", (3, 99))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        setup_env.SetupError, match=r"wheels exist for Python 3\.10 to 3\.13 only: install one"
    ):
        setup_env.reexecute_with_a_supported_python()


def test_when_a_step_was_done_expect_it_again_only_after_a_change(setup_env: ModuleType) -> None:
    runs: list[str] = []
    for made_from in ("a", "a", "b", "b"):
        setup_env.step("a step", "stamp", made_from, lambda made_from=made_from: runs.append(made_from))
    assert runs == ["a", "b"]


def test_when_a_step_fails_expect_it_tried_again(setup_env: ModuleType) -> None:
    def fail() -> None:
        raise setup_env.SetupError("no")

    setup_env.step("a step", "stamp", "a", lambda: None)
    with pytest.raises(setup_env.SetupError):
        setup_env.step("a step", "stamp", "b", fail)
    runs: list[int] = []
    setup_env.step("a step", "stamp", "a", lambda: runs.append(1))
    assert runs == [1]


def test_when_a_file_changes_or_moves_expect_another_digest(setup_env: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "msgs"
    folder.mkdir()
    (folder / "A.msg").write_text("uint8 a\n")
    digests = [setup_env.digest("x", folder)]
    (folder / "A.msg").write_text("uint8 b\n")
    digests.append(setup_env.digest("x", folder))
    (folder / "A.msg").rename(folder / "B.msg")
    digests.append(setup_env.digest("x", folder))
    digests.append(setup_env.digest("y", folder))
    assert len(set(digests)) == 4


def test_when_a_command_fails_expect_it_named(
    setup_env: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(setup_env.SetupError, match=r"counting failed with exit status 3; see .*log\.txt"):
        setup_env.run(sys.executable, "-c", "print('one two'); raise SystemExit(3)", what="counting")
    assert "one two" in capfd.readouterr().err
    assert "one two" in setup_env.LOG.read_text()


def test_cmake_files_are_pointed_at_this_python_once_and_for_all(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_env, "PYTHON", Path(sys.executable))
    share = setup_env.VENV / "share" / "x" / "cmake"
    share.mkdir(parents=True)
    export = share / "xExport.cmake"
    export.write_text(
        'INCLUDE "/opt/python/cp311-cp311/include/python3.11;'
        "/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include;"
        '/opt/python/cp310-cp310/lib/python3.10/site-packages/numpy/core/include;${_IMPORT_PREFIX}/include"\n'
    )
    setup_env.fix_cmake_files()
    mended = export.read_text()
    include, numpy = sysconfig.get_paths()["include"], np.get_include()
    assert mended == f'INCLUDE "{include};{numpy};{numpy};${{_IMPORT_PREFIX}}/include"\n'
    setup_env.fix_cmake_files()
    assert export.read_text() == mended


def test_when_a_distribution_is_sourced_expect_nothing_of_it(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/kilted/lib/python3.12/site-packages")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/kilted")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/opt/ros/kilted/lib{os.pathsep}/usr/local/cuda/lib64")
    environment = setup_env.environment()
    assert "PYTHONPATH" not in environment
    assert environment["AMENT_PREFIX_PATH"] == str(setup_env.VENV)
    assert environment["LD_LIBRARY_PATH"] == "/usr/local/cuda/lib64"


@pytest.fixture
def installed(setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the tool asks pip for, one list a call, in place of pip itself."""
    calls: list[list[str]] = []
    monkeypatch.setattr(
        setup_env, "pip_install", lambda *names, what, quiet=False: calls.append([*map(str, names)])
    )
    return calls


def test_when_no_extra_is_asked_for_expect_none(setup_env: ModuleType, installed: list[list[str]]) -> None:
    setup_env.install_extras([], "a")
    assert installed == []


def test_when_an_extra_is_asked_for_expect_it_once_and_again_after_a_change(
    setup_env: ModuleType, installed: list[list[str]]
) -> None:
    onnx = ["onnx", "onnxruntime", "onnxscript"]
    setup_env.install_extras(["onnx"], "a")
    setup_env.install_extras(["onnx"], "a")
    assert installed == [onnx]
    setup_env.install_extras([], "b")  # other pins: what was installed once is kept up to date
    assert installed == [onnx, onnx]
    setup_env.install_extras(["diffusion", "onnx"], "b")
    assert installed == [onnx, onnx, ["diffusers"]]


def test_when_installing_an_extra_fails_expect_it_tried_again(
    setup_env: ModuleType, installed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*names: object, what: str, quiet: bool = False) -> None:
        raise setup_env.SetupError("no")

    with monkeypatch.context() as broken:
        broken.setattr(setup_env, "pip_install", fail)
        with pytest.raises(setup_env.SetupError):
            setup_env.install_extras(["diffusion"], "a")
    setup_env.install_extras(["diffusion"], "a")
    assert installed == [["diffusers"]]


def test_when_torch_comes_from_an_index_expect_torchvision_from_there(
    setup_env: ModuleType, installed: list[list[str]]
) -> None:
    (setup_env.STATE / "torch").write_text("https://example.invalid/cpu")
    setup_env.install_extras(["timm"], "a")
    assert installed == [
        ["--no-deps", "--index-url", "https://example.invalid/cpu", "torchvision"],
        ["timm", "torchvision"],
    ]


@pytest.mark.parametrize(("asked", "refused"), [(["openvino", "onx"], "onx"), (["numpy", "tim"], "tim")])
def test_when_a_default_package_is_asked_for_as_an_extra_expect_it_accepted(
    setup_env: ModuleType, tmp_path: Path, asked: list[str], refused: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "tools" / "setup_env.py", *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"the extra {refused!r} is unknown" in done.stderr


def test_when_an_extra_is_unknown_expect_the_known_ones(setup_env: ModuleType, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "tools" / "setup_env.py", "onx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "setup: error: the extra 'onx' is unknown" in done.stderr
    assert "diffusion, efficientnet, export, language, onnx" in done.stderr
    assert done.stderr.rstrip().endswith("did you mean 'onnx'?")


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    done = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True)
    assert {"setup", "setup-libero", "demo", "test", "test-slow", "test-nodes", "test-noble", "lint", "format", "build", "dist", "clean", "help"} == targets
    assert set(re.findall(r"^  make ([a-z-]+) ", done.stdout, re.MULTILINE)) == targets
