"""The package's metadata agree: package.xml, setup.py, requirements.txt, constraints.txt and the code itself."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import setuptools  # noqa: F401 - provides distutils on Python 3.12 and newer
from module_imports import imports_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hpt_ros
import rosbag_tools

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")

# Imported name -> rosdep key, and -> requirement, where they differ from the name.
ROSDEP = {
    "cv2": "python3-opencv",
    "huggingface_hub": "python3-huggingface-hub-pip",
    "mujoco": "python3-mujoco-pip",
    "rosbags": "python3-rosbags-pip",
    **{name: f"python3-{name}" for name in ("matplotlib", "numpy", "rich", "scipy", "torch", "yaml")},
}
WITHOUT_ROSDEP_KEY = {"av", "pyarrow", "safetensors"}  # named in package.xml's comment and CONTRIBUTING.md
WHEEL = {"cv2": "opencv-python-headless", "rclpy": "ros-rclpy", "yaml": "pyyaml"}


def _package_xml(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path).getroot()


def _texts(root: ElementTree.Element, *tags: str) -> set[str]:
    return {(element.text or "").strip() for tag in tags for element in root.iter(tag)}


@pytest.fixture
def distribution(monkeypatch: pytest.MonkeyPatch) -> Any:
    from distutils.core import run_setup  # how colcon reads a setup.py as well

    monkeypatch.chdir(ROOT)
    return run_setup("setup.py", script_args=["--quiet"], stop_after="commandline")


def _requirements() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def _imported() -> set[str]:
    """Top-level names that the shipped packages and launch files import, the project's own left out."""
    names = set()
    for folder in ("hpt_ros", "rosbag_tools", "launch"):
        for path in (ROOT / folder).rglob("*.py"):
            found = imports_of(path.read_text(encoding="utf-8"), "hpt_ros.x", is_package=False)
            names |= {name.partition(".")[0] for _, name in found}
    return names - {"hpt_ros", "rosbag_tools", "__future__"} - set(sys.stdlib_module_names)


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
    assert len(scripts) == 5
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
        for name in re.findall(r'executable="(\w+)"', path.read_text())
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
    files = [*(ROOT / "hpt_ros" / "sim").glob("*.xml"), *(ROOT / "hpt_ros" / "data").rglob("*.*")]
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
    assert {ROSDEP.get(name, name) for name in imported - WITHOUT_ROSDEP_KEY} <= declared


def test_requirements_name_what_the_code_imports() -> None:
    # The messages come with ros-common-interfaces; launch is only in a ROS distribution; hpt_msgs is built here.
    ros = {"launch", "launch_ros", "ament_index_python", "rosidl_runtime_py", "builtin_interfaces"}
    ours = {name for name in _imported() - ros if not name.endswith(("_msgs", "_srvs", "_interfaces"))}
    assert {canonicalize_name(WHEEL.get(name, name)) for name in ours} <= {
        canonicalize_name(n) for n in _requirements()
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_exact_version_for_each_python(python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}  # the rest as here
    pins: dict[str, str] = {}
    for constraint in _constraints():
        assert re.fullmatch(r"==[\w.]+", str(constraint.specifier)), f"{constraint} is not an exact version"
        if constraint.marker is None or constraint.marker.evaluate(environment):
            name = canonicalize_name(constraint.name)
            assert name not in pins, f"{name} has two versions for Python {python}"
            pins[name] = str(constraint.specifier)
    assert {canonicalize_name(name) for name in _requirements()} <= set(pins)


def test_what_breaks_the_environment_is_not_required() -> None:
    names = {canonicalize_name(name) for name in _requirements()} | {
        canonicalize_name(c.name) for c in _constraints()
    }
    # The wheel named cv-bridge is another program; torchvision and timm do not import beside a CPU build of torch.
    assert names.isdisjoint({"cv-bridge", "torchvision", "timm"})
