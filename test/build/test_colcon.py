# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""colcon builds, links and tests the package, and says so where hpt_msgs was overlooked.

Pinned: `--symlink-install` ended in FileNotFoundError, since setup.py read files relative to the build folder;
`colcon test` was green with no test run; `hpt` was not on PATH in a sourced workspace.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import hpt_ros

ROOT = Path(__file__).resolve().parents[2]
PREFIXES = os.environ.get("AMENT_PREFIX_PATH") or sys.prefix  # where this run has its hpt_msgs from


def _colcon(
    verb: str, folder: Path, *arguments: object, messages: Path | str = PREFIXES
) -> subprocess.CompletedProcess[str]:
    """A verb of colcon on hpt_ros alone; `messages` are the prefixes in which hpt_msgs is looked for."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COLCON_"))}
    env["AMENT_PREFIX_PATH"] = str(messages)
    command = (
        *(sys.executable, "-m", "colcon", "--log-base", folder / "log", verb, "--base-paths", "."),
        *("--build-base", folder / "build", "--install-base", folder / "install"),
    )
    return subprocess.run(
        [*map(str, command), *map(str, arguments)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def _imported_from(folder: Path, python_path: Path) -> list[str]:
    code = (
        "import hpt_ros; from hpt_ros.resources import config_file; print(hpt_ros.__file__);"
        "print(config_file('embodiments/feed_dog.yaml'))"
    )
    env = {**os.environ, "PYTHONPATH": str(python_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("linked", [True, False], ids=["symlink-install", "install"])
def test_when_it_is_built_expect_executables_and_files(linked: bool, tmp_path: Path) -> None:
    built = _colcon("build", tmp_path, *(["--symlink-install"] if linked else []))
    assert built.returncode == 0, built.stderr
    prefix = tmp_path / "install" / "hpt_ros"
    executables = prefix / "lib" / "hpt_ros"
    assert {"hpt", "policy_node", "recorder_node", "sim_node"} <= {
        path.name for path in executables.iterdir()
    }
    # what `ros2 run` and launch files start has the libraries of the Python that ran colcon, with nothing activated
    assert all(
        path.read_text().splitlines()[0] == f"#!{sys.executable}"
        for path in executables.iterdir()
        if not path.is_symlink()
    )
    shipped = prefix / "share" / "hpt_ros" / "config" / "embodiments" / "feed_dog.yaml"
    assert shipped.read_bytes() == (ROOT / "config" / "embodiments" / "feed_dog.yaml").read_bytes()
    assert shipped.is_symlink() == linked
    (site,) = [tmp_path / "build" / "hpt_ros"] if linked else prefix.glob("lib/python*/site-packages")
    assert all(line.startswith(str(site)) for line in _imported_from(tmp_path, site))
    sourced = subprocess.run(
        ["bash", "-c", 'source install/local_setup.bash && command -v hpt && hpt --version'],
        cwd=tmp_path, env={"PATH": os.defpath, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (sourced.returncode, sourced.stderr) == (0, "")
    assert sourced.stdout.splitlines() == [str(prefix / "bin" / "hpt"), f"hpt_ros {hpt_ros.__version__}"]


def test_when_it_is_tested_expect_results_of_the_tests(tmp_path: Path) -> None:
    assert _colcon("build", tmp_path).returncode == 0
    # what it runs by default is the whole suite, but for slow tests: one file stands for it
    tested = _colcon("test", tmp_path, "--pytest-args", "test/embodiment/test_windows.py")
    assert tested.returncode == 0, tested.stderr
    results = ElementTree.parse(tmp_path / "build" / "hpt_ros" / "pytest.xml").getroot()
    (suite,) = results.iter("testsuite")
    assert int(suite.get("tests", "0")) > 0
    defaults = yaml.safe_load((ROOT / "colcon_defaults.yaml").read_text())
    assert defaults["test"]["pytest-args"] == ["-m", "not slow"]


def test_when_the_messages_were_overlooked_expect_the_command_that_finds_them(tmp_path: Path) -> None:
    built = _colcon("build", tmp_path, messages=tmp_path)
    assert built.returncode != 0
    assert "hpt_ros: error: the package hpt_msgs is not built" in built.stderr
    assert f"run 'colcon build --base-paths src {ROOT / 'hpt_msgs'}'" in built.stderr
