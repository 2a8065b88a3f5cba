# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""tools/setup_pins.py: which versions an environment gets, and where environments lie."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool as a module."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    for name in ("setup_machine", "setup_pins"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("setup_pins")


def _requirements(text: str) -> list[Requirement]:
    lines = (line.partition(" #")[0] for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("distro", ["kilted", "jazzy"])
@pytest.mark.parametrize("libraries", ["pinned", "noble"])
def test_make_and_the_tool_put_an_environment_into_one_place(
    pins: ModuleType, distro: str, libraries: str
) -> None:
    done = subprocess.run(
        ["make", "-n", "-C", str(ROOT), "demo", f"DISTRO={distro}", f"LIBS={libraries}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{pins.venv_name(distro, libraries)}/bin/hpt demo" in done.stdout
    assert f"HPT_DISTRO={distro} HPT_LIBS={libraries} python3 tools/setup_env.py" in done.stdout


def test_environments_lie_side_by_side(pins: ModuleType) -> None:
    names = [pins.venv_name(distro, libraries) for distro in pins.DISTROS for libraries in pins.LIBRARIES]
    assert names[0] == ".venv"
    assert len(set(names)) == 4


@pytest.mark.parametrize("variable", ["DISTRO", "LIBS"])
def test_when_a_name_is_unknown_expect_the_known_ones(variable: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "setup_env.py"],
        env={"PATH": "/usr/bin:/bin", f"HPT_{variable}": "humble"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"setup: error: {variable}=humble is unknown: use {variable}= one of " in done.stderr
    assert not (ROOT / ".venv-humble").exists()


def test_when_a_later_layer_names_a_package_expect_its_versions_alone(
    pins: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "constraints.txt").write_text(
        '# all\nnumpy==2.4.6; python_version >= "3.11"\nnumpy==2.2.6; python_version < "3.11"\nPyYAML==6.0.3\n'
    )
    (tmp_path / "later.txt").write_text("Numpy==1.26.4  # Noble's\n")
    monkeypatch.setitem(pins.LIBRARIES, "noble", ("constraints.txt", "later.txt"))
    assert pins.merge_constraints(tmp_path, "pinned").splitlines()[1:] == [
        'numpy==2.4.6; python_version >= "3.11"',
        'numpy==2.2.6; python_version < "3.11"',
        "PyYAML==6.0.3",
    ]
    assert pins.merge_constraints(tmp_path, "noble").splitlines()[1:] == ["Numpy==1.26.4", "PyYAML==6.0.3"]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_the_libraries_of_noble_have_one_version_each(pins: ModuleType, python: str) -> None:
    here = {"python_version": python}
    found = [r for r in _requirements(pins.merge_constraints(ROOT, "noble")) if not r.marker or r.marker.evaluate(here)]
    versions = {canonicalize_name(r.name): str(r.specifier) for r in found}
    assert len(versions) == len(found)
    assert versions["numpy"] == "==1.26.4"
    assert versions["opencv-python-headless"] == "==4.6.0.66"
    assert versions["torch"] == "==2.13.0"


def _versions(text: str, python: str) -> dict[str, str]:
    """What each pinned package is pinned to on a Python, by PEP 503 name."""
    here = {"python_version": python}
    found = [r for r in _requirements(text) if not r.marker or r.marker.evaluate(here)]
    return {canonicalize_name(r.name): str(r.specifier) for r in found}


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_a_pinned_version_supports_every_python_it_is_pinned_for(pins: ModuleType, python: str) -> None:
    """Judged by what is installed: a version that wants a newer Python than the oldest needs a marker and an older one."""
    pinned = _versions(pins.merge_constraints(ROOT, "pinned"), python)
    refused, judged = [], 0
    for distribution in importlib.metadata.distributions():
        name, wanted = canonicalize_name(distribution.name), distribution.metadata["Requires-Python"]
        if wanted and pinned.get(name) == f"=={distribution.version}":
            judged += 1
            if not SpecifierSet(wanted).contains(f"{python}.99"):
                refused.append(f"{name}{pinned[name]} wants Python {wanted}")
    assert refused == []
    assert judged > 50


def test_what_pip_adds_to_a_distribution_differs_from_the_pins_only_for_its_numpy() -> None:
    """One package, one version, but for those that are compiled for NumPy 2 or ask for it; those are older, not newer."""
    pinned = _versions((ROOT / "constraints.txt").read_text(), "3.12")
    added = _versions((ROOT / "constraints-distribution.txt").read_text(), "3.12")
    noble = _versions((ROOT / "constraints-noble.txt").read_text(), "3.12")
    assert added.keys() <= pinned.keys()
    assert {name for name in added if added[name] != pinned[name]} == {"ml-dtypes", "numpy", "pyarrow", "zarr"}
    for name in ("ml-dtypes", "pyarrow", "zarr"):
        older, newer = added[name].removeprefix("=="), pinned[name].removeprefix("==")
        assert SpecifierSet(f"<{newer}").contains(older), name
    assert SpecifierSet(added["numpy"]).contains(noble["numpy"].removeprefix("=="))
    asked = _requirements((ROOT / "requirements-distribution.txt").read_text().replace("-c ", "# "))
    assert {canonicalize_name(requirement.name) for requirement in asked} <= added.keys()


@pytest.mark.slow
@pytest.mark.parametrize(("distro", "libraries"), [("kilted", "pinned"), ("jazzy", "pinned"), ("jazzy", "noble")])
def test_pip_finds_versions_that_fit_together(
    pins: ModuleType, distro: str, libraries: str, tmp_path: Path
) -> None:
    """Pinned: Noble's pytest beside a plugin that colcon asks for and that wants a newer one."""
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(pins.merge_constraints(ROOT, libraries), encoding="utf-8")
    files = [str(word) for path in pins.requirement_files(ROOT, distro) for word in ("-r", path)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--target",
         str(tmp_path / "nowhere"), "--constraint", str(constraints), *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
