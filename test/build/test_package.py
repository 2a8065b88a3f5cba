# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The package's metadata agree: package.xml, setup.py, requirements.txt, constraints.txt and the code itself."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import catkin_pkg.changelog
import catkin_pkg.package
import pytest
import setuptools  # noqa: F401 - provides distutils on Python 3.12 and newer
from module_imports import imports_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.checkout import git_words

import hpt_ros
import rosbag_tools
from hpt_ros.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
SITE = sysconfig.get_paths()["purelib"]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")

# Imported name -> rosdep key, and -> requirement, where they differ from the name.
ROSDEP = {
    "cv2": "python3-opencv",
    "huggingface_hub": "python3-huggingface-hub-pip",
    "mujoco": "python3-mujoco-pip",
    "rosbags": "python3-rosbags-pip",
    **{name: f"python3-{name}" for name in ("argcomplete", "jinja2", "matplotlib", "numpy", "rich", "scipy", "torch", "yaml")},
}
WITHOUT_ROSDEP_KEY = {"av", "openvino", "pyarrow", "safetensors", "tensorboardX"}  # named in package.xml's comment and CONTRIBUTING.md
WHEEL = {
    "google": "protobuf",
    "cv2": "opencv-python-headless",
    "rclpy": "ros-rclpy",
    "rerun": "rerun-sdk",
    "yaml": "pyyaml",
}


def _package_xml(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path).getroot()


def _texts(root: ElementTree.Element, *tags: str) -> set[str]:
    return {(element.text or "").strip() for tag in tags for element in root.iter(tag)}


@pytest.fixture
def distribution(monkeypatch: pytest.MonkeyPatch) -> Any:
    from distutils.core import run_setup  # how colcon reads a setup.py as well

    monkeypatch.chdir(ROOT)
    return run_setup("setup.py", script_args=["--quiet"], stop_after="commandline")


def _lines(path: Path) -> list[Requirement]:
    lines = [line.partition(" #")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line.strip() and not line.startswith(("#", "-r ", "-c "))]


def _runtime() -> list[Requirement]:
    return _lines(ROOT / "requirements-runtime.txt")


def _requirements() -> list[str]:
    assert "\n-r requirements-runtime.txt\n" in (ROOT / "requirements.txt").read_text()
    return [requirement.name for requirement in (*_lines(ROOT / "requirements.txt"), *_runtime())]


def _constraints() -> list[Requirement]:
    return _lines(ROOT / "constraints.txt")


def _extra_ranges() -> dict[str, list[Requirement]]:
    parser = configparser.ConfigParser(allow_no_value=True, delimiters=("\0",))
    parser.read_string((ROOT / "extras.cfg").read_text())
    return {extra: [Requirement(line) for line in parser[extra]] for extra in parser.sections()}


def _extras() -> dict[str, list[str]]:
    return {extra: [line.name for line in lines] for extra, lines in _extra_ranges().items()}


def _undemanding(extra: str) -> list[Requirement]:
    """What an extra brings whose own requirements are not looked at."""
    file = ROOT / f"requirements-{extra}.txt"
    return _lines(file) if file.is_file() else []


def _pins(python: str, constraints: Iterable[Requirement]) -> dict[str, str]:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}  # the rest as here
    pins: dict[str, str] = {}
    for constraint in constraints:
        assert re.fullmatch(r"==[\w.]+", str(constraint.specifier)), f"{constraint} is not an exact version"
        if constraint.marker is None or constraint.marker.evaluate(environment):
            name = canonicalize_name(constraint.name)
            assert name not in pins, f"{name} has two versions for Python {python}"
            pins[name] = str(constraint.specifier).removeprefix("==")
    return pins


def _imported() -> set[str]:
    """Top-level names that the shipped packages and launch files import, the project's own left out."""
    names = set()
    for folder in ("hpt_ros", "rosbag_tools", "launch"):
        for path in (ROOT / folder).rglob("*.py"):
            found = imports_of(path.read_text(encoding="utf-8"), "hpt_ros.x", is_package=False)
            names |= {name.partition(".")[0] for _, name in found}
    # triton comes with torch, or not (hpt_ros/mujoco_engine.py); libero is where requirements-libero.txt is installed
    return names - {"hpt_ros", "rosbag_tools", "triton", "libero", "__future__"} - set(sys.stdlib_module_names)


def _of_extras() -> set[str]:
    """Top-level modules that only extras bring."""
    wanted = {name for names in _extras().values() for name in names} - set(_requirements())
    wanted |= {line.name for extra in EXTRAS for line in _undemanding(extra)}
    modules = {wheel: module for module, wheel in WHEEL.items()}
    return {modules.get(name, name.replace("-", "_")) for name in wanted}


def test_package_xml_and_setup_py_agree(distribution: Any) -> None:
    xml = _package_xml(ROOT / "package.xml")
    assert xml.get("format") == "3"
    assert _texts(xml, "name") == {distribution.metadata.name} == {"hpt_ros"}
    assert _texts(xml, "version") == {distribution.metadata.version}
    assert _texts(xml, "license") == {distribution.metadata.license} == {"Apache-2.0"}
    assert _texts(xml, "build_type") == {"ament_python"}


def test_all_versions_are_one() -> None:
    messages = _package_xml(ROOT / "hpt_msgs" / "package.xml")
    ours = _package_xml(ROOT / "package.xml")
    versions = _texts(ours, "version") | _texts(messages, "version")
    assert versions == {hpt_ros.__version__} == {rosbag_tools.__version__}


def test_every_entry_point_exists(distribution: Any) -> None:
    scripts = distribution.entry_points["console_scripts"]
    assert len(scripts) == 6
    for script in scripts:
        _, module, function = re.fullmatch(r"(\w+) = ([\w.]+):(\w+)", script).groups()
        source = ROOT / f"{module.replace('.', '/')}.py"
        assert source.is_file(), f"{script}: {source} does not exist"
        assert re.search(rf"^def {function}\(", source.read_text(), re.MULTILINE), (
            f"{script}: no {function}()"
        )


def test_every_executable_of_a_launch_file_is_installed(distribution: Any) -> None:
    installed = {script.split(" = ")[0] for script in distribution.entry_points["console_scripts"]}
    named = {
        name
        for path in (ROOT / "launch").glob("*.py")
        for name in re.findall(r'node\(context, "(\w+)"', path.read_text())
    }
    assert named
    assert named <= installed


def test_configuration_and_launch_files_are_installed(distribution: Any) -> None:
    installed = {
        Path(target, Path(source).name).as_posix()
        for target, files in distribution.data_files
        for source in files
    }
    for folder in ("config", "launch"):
        files = [
            path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        ]
        assert files
        assert {f"share/hpt_ros/{path.relative_to(ROOT).as_posix()}" for path in files} <= installed
    assert "share/ament_index/resource_index/packages/hpt_ros" in installed
    assert "share/hpt_ros/package.xml" in installed


def test_scenes_and_shipped_checkpoints_are_package_data(distribution: Any) -> None:
    command = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    shipped = {Path(folder, name).as_posix() for _, folder, _, names in command.data_files for name in names}
    files = [*(ROOT / "hpt_ros" / "sim").glob("*.xml"), *(ROOT / "hpt_ros" / "data").rglob("*.*"),
             *(ROOT / "hpt_ros").rglob("templates/*")]
    wanted = {path.relative_to(ROOT).as_posix() for path in files if path.is_file()}
    assert wanted
    assert wanted <= shipped


def test_every_python_package_is_installed(distribution: Any) -> None:
    folders = {path.parent for name in ("hpt_ros", "rosbag_tools") for path in (ROOT / name).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(distribution.packages)


def test_package_xml_names_what_the_code_imports() -> None:
    declared = _texts(_package_xml(ROOT / "package.xml"), "depend", "exec_depend")
    imported = _imported()
    assert {"rclpy", "numpy", "torch"} <= imported
    assert {ROSDEP.get(name, name) for name in imported - WITHOUT_ROSDEP_KEY - _of_extras()} <= declared


def test_package_xml_names_nothing_that_the_code_does_not_import() -> None:
    declared = _texts(_package_xml(ROOT / "package.xml"), "depend", "exec_depend")
    assert declared == declared & {ROSDEP.get(name, name) for name in _imported()}
    interfaces = [
        path.read_text()
        for folder in ("msg", "srv", "action")
        for path in (ROOT / "hpt_msgs" / folder).iterdir()
    ]
    used = {name for text in interfaces for name in re.findall(r"^(\w+)/\w+ ", text, re.MULTILINE)}
    # action_msgs: every action is made with its goal identifiers and states
    assert _texts(_package_xml(ROOT / "hpt_msgs" / "package.xml"), "depend") == used | {"action_msgs"}


@pytest.mark.parametrize("folder", ["", "hpt_msgs"])
def test_package_xml_is_complete(folder: str) -> None:
    package, complaints = catkin_pkg.package.parse_package(str(ROOT / folder)), []
    package.validate(warnings=complaints)
    assert complaints == []
    assert package.licenses[0].file == "LICENSE"
    assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert package.urls
    assert package.authors


@pytest.mark.parametrize("folder", ["", "hpt_msgs"])
def test_the_maintainer_exists(folder: str) -> None:
    people = (ROOT / folder / "package.xml").read_text()
    assert set(re.findall(r'email="(.*?)"', people)) <= set(git_words("log", "--format=%ae"))


@pytest.mark.parametrize("folder", ["", "hpt_msgs"])
def test_changelogs_for_bloom_hold_the_versions_of_the_changelog(folder: str) -> None:
    theirs = catkin_pkg.changelog.get_changelog_from_path(str(ROOT / folder), folder or "hpt_ros")
    ours = re.findall(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert ours
    released = {version: date for version, date in ours if date != "unreleased"}
    assert {str(version): str(date.date()) for version, date, _ in theirs.foreach_version()} == released
    assert ("\nForthcoming\n---" in theirs.rst) == ("unreleased" in dict(ours).values())


def test_requirements_name_what_the_code_imports() -> None:
    # ROS 2 has files of its own; launch is only in a ROS distribution; hpt_msgs is built here.
    ros = {"launch", "launch_ros", "rclpy", "ament_index_python", "rosidl_runtime_py", "builtin_interfaces"}
    ours = {
        name
        for name in _imported() - ros - _of_extras()
        if not name.endswith(("_msgs", "_srvs", "_interfaces"))
    }
    assert {canonicalize_name(WHEEL.get(name, name)) for name in ours} <= {
        canonicalize_name(n) for n in _requirements()
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_exact_version_for_each_python(python: str) -> None:
    wanted = {*_requirements(), *(name for names in _extras().values() for name in names)}
    wanted |= {line.name for extra in EXTRAS for line in _undemanding(extra)}
    assert {canonicalize_name(name) for name in wanted} <= _pins(python, _constraints()).keys()


@pytest.mark.parametrize("distro", ["jazzy", "kilted"])
def test_the_ros_wheels_of_a_distribution_are_all_pinned_and_apart_from_the_rest(distro: str) -> None:
    wheels = _pins("3.12", _lines(ROOT / f"requirements-{distro}.txt"))
    assert {"ros-rclpy", "ros-rmw-fastrtps-cpp", "ros-common-interfaces", "ros-ament-cmake"} <= wheels.keys()
    assert all(name.startswith("ros-") for name in wheels)
    assert not [constraint.name for constraint in _constraints() if constraint.name.startswith("ros-")]


def _distributions(names: Iterable[str]) -> dict[str, str]:
    """The installed ones of these and of all that they need: name to version."""
    found: dict[str, str] = {}
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = distribution.version.partition("+")[0]
        if name != "torch":  # its CUDA build requires its own libraries at its own exact versions
            needs = [Requirement(line) for line in distribution.requires or ()]
            waiting += [
                canonicalize_name(need.name)
                for need in needs
                if need.marker is None or need.marker.evaluate({"extra": ""})
            ]
    return found


def test_everything_installed_is_pinned() -> None:
    merged = Path(sys.prefix, "setup", "constraints.txt")  # by tools/setup_env.py
    if not merged.is_file():
        pytest.skip("this environment was not made by `make setup`")
    ros = {distribution.name for distribution in importlib.metadata.distributions(path=[SITE])}
    ros = {canonicalize_name(name) for name in ros if name.startswith(("ros-", "ros_"))}
    rclpy = importlib.metadata.version("ros-rclpy")
    distro = next(d for d in ("jazzy", "kilted") if f"ros-rclpy=={rclpy}" in (ROOT / f"requirements-{d}.txt").read_text())
    wheels = _lines(ROOT / f"requirements-{distro}.txt")
    pins = _pins(f"{sys.version_info[0]}.{sys.version_info[1]}", [*_lines(merged), *wheels])
    extras = {name for names in _extras().values() for name in names}
    installed = _distributions([*_requirements(), *ros, *extras])
    assert {"huggingface-hub", "torch", "ros-rcl"} <= installed.keys()
    assert installed == {name: pins.get(name) for name in installed}


def test_setup_py_declares_what_it_needs_as_ranges(distribution: Any) -> None:
    # A wheel without requirements ended in a traceback in a fresh environment; one with pins goes with nothing else.
    assert [*map(Requirement, distribution.install_requires)] == _runtime()
    assert not [
        line for line in _runtime() if line.name.startswith("ros-")
    ]  # wheels beside a distribution's ROS
    offered = {extra: [*map(Requirement, lines)] for extra, lines in distribution.extras_require.items()}
    assert {"pytest", "pytest-timeout", "hypothesis"} <= {line.name for line in offered.pop("test")}
    assert offered == _extra_ranges()


def test_every_range_begins_at_the_oldest_version_tested() -> None:
    pinned: dict[str, set[Version]] = {}
    for file in ROOT.glob("constraints*.txt"):
        for line in _lines(file):
            if (version := str(line.specifier)).startswith("=="):
                pinned.setdefault(canonicalize_name(line.name), set()).add(Version(version[2:]))
    undemanding = [line for extra in EXTRAS for line in _undemanding(extra)]
    for line in [*_runtime(), *(line for lines in _extra_ranges().values() for line in lines), *undemanding]:
        pins = pinned[canonicalize_name(line.name)]
        assert all(line.specifier.contains(pin) for pin in pins), (
            f"{line} leaves out a version that is tested: {pins}"
        )
        bounds = {part.operator: Version(part.version) for part in line.specifier}
        assert bounds.keys() == {">=", "<"}, f"{line} is no range"
        lower = bounds[">="].release
        assert lower == min(pins).release[: len(lower)], (
            f"{line} promises more than what is tested: {min(pins)}"
        )


def test_every_extra_has_its_place() -> None:
    assert tuple(_extras()) == EXTRAS
    tested = re.search(r"^TEST_EXTRAS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert set(tested) == set(EXTRAS) - {"rerun", "timm"}


def _required_extras() -> list[tuple[str, str, str]]:
    """File, module and extra of each call of require_extra; both are written out, so that they can be checked."""
    calls = []
    for path in sorted([*(ROOT / "hpt_ros").rglob("*.py"), *(ROOT / "rosbag_tools").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "require_extra":
                extra = next(keyword.value for keyword in node.keywords if keyword.arg == "extra")
                calls.append((path.name, ast.literal_eval(node.args[0]), ast.literal_eval(extra)))
    return calls


def test_an_extra_brings_what_is_imported_of_it() -> None:
    calls = _required_extras()
    assert calls
    for file, module, extra in calls:
        name = module.partition(".")[0]
        brought = [*_extras()[extra], *(line.name for line in _undemanding(extra))]
        assert canonicalize_name(WHEEL.get(name, name)) in brought, f"{file}: {module}"


def test_what_breaks_the_environment_is_not_required() -> None:
    names = {canonicalize_name(name) for name in _requirements()}
    # The wheel named cv-bridge is another program; PyPI's torchvision does not import beside a CPU build of torch.
    assert names.isdisjoint({"cv-bridge", "torchvision", "timm"})
    assert "cv-bridge" not in {canonicalize_name(c.name) for c in _constraints()}
    assert [extra for extra, wanted in _extras().items() if "torchvision" in wanted] == ["timm"]
