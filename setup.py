"""Package metadata of hpt_ros (ament_python): colcon and pip both read it here.

What it depends on is not repeated here: package.xml names the rosdep keys for a ROS distribution, requirements.txt and
constraints.txt the wheels for a machine with only pip. The optional extras come from extras.cfg, at the versions of
constraints.txt.
"""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "hpt_ros"
NODES = ("inference_node", "policy_node", "recorder_node", "sim_node", "teleop_node")


def version() -> str:
    """The version, from the one place that says it; read without importing the package."""
    for node in ast.parse(Path(PACKAGE, "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    raise RuntimeError(f"{PACKAGE}/__init__.py sets no __version__")


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """Install every file below `folder` to share/hpt_ros/<the same path>."""
    files: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files.setdefault(f"share/{PACKAGE}/{path.parent.as_posix()}", []).append(path.as_posix())
    return list(files.items())


def extras() -> dict[str, list[str]]:
    """Each optional extra's packages, pinned."""
    pins: dict[str, list[str]] = {}
    for line in Path("constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pins.setdefault(re.split(r"[=;\s]", line, maxsplit=1)[0], []).append(line)
    parser = configparser.ConfigParser(allow_no_value=True, delimiters=("=",))
    parser.read_string(Path("extras.cfg").read_text(encoding="utf-8"))
    return {extra: [pin for package in parser[extra] for pin in pins[package]] for extra in parser.sections()}


setup(
    name=PACKAGE,
    version=version(),
    description="HPT policies on real robots with ROS 2: record, convert, finetune, deploy",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*", "rosbag_tools", "rosbag_tools.*"]),
    package_data={PACKAGE: ["py.typed", "sim/*.xml", "data/**"], "rosbag_tools": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *shared("launch"),
        *shared("config"),
    ],
    install_requires=["setuptools"],
    extras_require=extras(),
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "hpt = hpt_ros.cli.main:main",
            *(f"{node} = hpt_ros.nodes.{node}:main" for node in NODES),
        ]
    },
)
