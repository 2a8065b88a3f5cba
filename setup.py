# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Package metadata of hpt_ros (ament_python): colcon and pip both read it here.

What it depends on is written down once: requirements-runtime.txt and extras.cfg name ranges, constraints.txt the exact
versions that are tested together, package.xml the rosdep keys for a ROS distribution. ROS 2 itself is no dependency of
the wheel: it comes from a distribution or from `make setup` (docs/decisions/0012-packaging.md).

Every path is relative to this file, not to the current folder: `colcon build --symlink-install` runs a link to it in
the build folder, where nothing else of the source tree is.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

import setuptools

PACKAGE = "hpt_ros"
NODES = {
    "inference_node": "inference",
    "policy_node": "policy",
    "recorder_node": "recorder",
    "sim_node": "sim",
    "teleop_node": "sim",
}  # executable -> its sub-package of hpt_ros.nodes
ROOT = Path(__file__).resolve().parent


def text(name: str) -> str:
    """A file of the source tree."""
    return (ROOT / name).read_text(encoding="utf-8")


def version() -> str:
    """The version, from the one place that says it; read without importing the package."""
    for node in ast.parse(text(f"{PACKAGE}/__init__.py")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    raise RuntimeError(f"{PACKAGE}/__init__.py sets no __version__")


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """Install every file below `folder` to share/hpt_ros/<the same path>."""
    files: dict[str, list[str]] = {}
    for path in sorted((ROOT / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            source = path.relative_to(ROOT)
            files.setdefault(f"share/{PACKAGE}/{source.parent.as_posix()}", []).append(source.as_posix())
    return list(files.items())


def requirements(lines: str) -> list[str]:
    """The requirements of a text, one a line, comments left out."""
    stripped = (line.partition("#")[0].strip() for line in lines.splitlines())
    return [line for line in stripped if line]


def extras() -> dict[str, list[str]]:
    """Each optional extra's packages. `test` is what colcon looks for to run the tests with pytest."""
    sections = re.split(r"^\[(\w+)\]$", text("extras.cfg"), flags=re.MULTILINE)[1:]
    found = {name: requirements(body) for name, body in zip(sections[::2], sections[1::2], strict=True)}
    development = requirements(text("requirements.txt"))
    return {
        **found,
        "test": [line for line in development if re.match(r"hypothesis|mcap|pytest|setuptools", line)],
    }


def require_messages() -> None:
    """Refuse a colcon build that overlooked hpt_msgs: it would succeed, and every node end at its import."""
    python_path, prefixes = (
        os.environ.get(name, "").split(os.pathsep) for name in ("PYTHONPATH", "AMENT_PREFIX_PATH")
    )
    by_colcon = "prefix_override" in {Path(folder).name for folder in python_path}
    if not by_colcon or not {"install", "develop"} & set(sys.argv) or "--uninstall" in sys.argv:
        return
    if not any(Path(prefix, "share/hpt_msgs/package.xml").is_file() for prefix in prefixes if prefix):
        sys.exit(
            "hpt_ros: error: the package hpt_msgs is not built: it lies below hpt_ros, where colcon does not look by "
            f"itself; in the workspace, run 'colcon build --base-paths src {ROOT / 'hpt_msgs'}'"
        )


def on_path() -> list[tuple[str, list[str]]]:
    """The `hpt` in a ROS prefix's bin folder; in a wheel it would replace what pip makes from the entry point."""
    return (
        [] if {"bdist_wheel", "dist_info", "editable_wheel"} & set(sys.argv) else [("bin", ["resource/hpt"])]
    )


require_messages()
metadata: dict[str, object] = {}
if int(setuptools.__version__.split(".")[0]) >= 77:  # PEP 639; Ubuntu 24.04 has 68
    metadata["license_expression"] = "Apache-2.0"

setuptools.setup(
    name=PACKAGE,
    version=version(),
    description="HPT policies on real robots with ROS 2: record, convert, finetune, deploy",
    long_description=text("README.md"),
    long_description_content_type="text/markdown",
    author="hpt_ros maintainers",
    author_email="maintainers@users.noreply.r-seed-12c3830a.example",
    license="Apache-2.0",
    project_urls={
        "HPT (paper)": "https://arxiv.org/abs/2409.20537",
        "HPT (code)": "https://github.com/liruiw/HPT",
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    keywords=["ROS 2", "robot learning", "imitation learning", "HPT", "transformer", "rosbag"],
    python_requires=">=3.10",
    packages=setuptools.find_packages(
        str(ROOT), include=[PACKAGE, f"{PACKAGE}.*", "rosbag_tools", "rosbag_tools.*"]
    ),
    package_data={
        PACKAGE: [
            "py.typed",
            "sim/parts/*.xml",
            "sim/tasks/*/*.xml",
            "data/**",
            "config/**",
        ],  # config is a link to the folder at the root
        "rosbag_tools": ["py.typed"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *shared("launch"),
        *shared("config"),
        *on_path(),
    ],
    install_requires=requirements(text("requirements-runtime.txt")),
    extras_require=extras(),
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "hpt = hpt_ros.cli.main:main",
            *(f"{node} = hpt_ros.nodes.{folder}.{node}:main" for node, folder in NODES.items()),
        ]
    },
    **metadata,
)
