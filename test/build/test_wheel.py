# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The built wheel, in an environment that has only what it declares: without ROS, and without anything at all."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.version import Version
from support.checkout import git_words
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

ROOT = Path(__file__).resolve().parents[2]
NS = 1_000_000_000

EMBODIMENT = """
format: hpt_ros/embodiment/1
name: tiny
tick_hz: 10.0
observation_horizon: 1
task: nod
streams:
  - {name: front, modality: image, topic: /front, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.2,
     image: {height: 32, width: 32}}
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 20.0,
     tolerance_s: 0.1, joints: [j1], fields: [position], unit: rad}
action:
  topic: /commands
  type: trajectory_msgs/msg/JointTrajectory
  names: [j1]
  rate_hz: 10.0
  horizon: 4
  limits:
    - {name: j1, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 10.0}
"""
RECIPE = """
policy:
  stems:
    - {modality: image, widths: [8], tokens: 2, heads: 2, head_width: 4}
    - {modality: state, widths: [8], tokens: 2, heads: 2, head_width: 4}
  trunk: {width: 16, depth: 1, heads: 2}
  image_encoder: {kind: small_cnn, trainable: true, channels: [8, 8, 16]}
  head: {kind: mlp, widths: [16]}
iterations: 4
batch_size: 4
lr: 0.001
validation_ratio: 0.5
validation_every: 2
log_every: 2
threads: 1
"""
RESOURCES = (
    "from hpt_ros.resources import checkpoint_folder, config_file\n"
    "import hpt_ros\n"
    "file = config_file('embodiments/feed_dog.yaml')\n"
    "assert 'feed_dog' in file.read_text(encoding='utf-8')\n"
    "assert config_file('recipes/hpt_base.yaml').is_file()\n"
    "assert (checkpoint_folder('feed_dog') / 'model.safetensors').stat().st_size > 1e5\n"
    "print(hpt_ros.__file__)\n"
    "print(file)\n"
)


def _environment(**variables: str) -> dict[str, str]:
    """This process's environment without what points into the source tree, its virtual environment or ROS."""
    ours = ("AMENT_", "CMAKE_PREFIX", "COLCON_", "PYTHON", "ROS_", "_ROS", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**env, "OMP_NUM_THREADS": "1", **variables}


def _pip(python: object, *arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this environment's pip for another Python."""
    if Version(importlib.metadata.version("pip")) < Version("22.3"):
        pytest.skip("this pip has no option --python, which came with 22.3")
    return _run(sys.executable, "-m", "pip", "--python", python, *arguments, cwd=cwd, **variables)


def _run(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd, env=_environment(**variables), capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    skip = shutil.ignore_patterns(
        ".venv*",
        ".git",
        "build",
        "build-*",
        "install",
        "install-*",
        "log",
        "*.egg-info",
        "__pycache__",
        ".*_cache",
    )
    shutil.copytree(ROOT, tree, symlinks=True, ignore=lambda path, names: {
        name for name in skip(path, names) if Path(path, name) != ROOT / "test" / "build"
    })  # fmt: skip
    code = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
    done = _run(sys.executable, "-c", code, cwd=tree)
    assert done.returncode == 0, done.stderr
    (archive,) = (tree / "dist").glob("*.tar.gz")
    # Python 3.10 and 3.11 got the filter with a late security release.
    if hasattr(tarfile, "data_filter"):
        shutil.unpack_archive(archive, folder, filter="data")
    else:
        shutil.unpack_archive(archive, folder)
    (unpacked,) = folder.glob("hpt_ros-*/")
    return unpacked


@pytest.fixture(scope="session")
def wheel(source: Path) -> Path:
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    done = _run(sys.executable, "-c", code, cwd=source)
    assert done.returncode == 0, done.stderr
    (file,) = (source / "dist").glob("*.whl")
    return file


def _declared(requirements: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """What pip would install for these, out of what is installed here."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        if name in found or (need.marker and not need.marker.evaluate({"extra": ""})):
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed from a wheel: beside a ROS distribution it comes from apt")
        waiting += [Requirement(line) for line in found[name].requires or ()]
    return found


def _make_venv(folder: Path, wheel: Path, *, with_requirements: bool) -> Path:
    """A virtual environment with the wheel, and links to the installed files of what the wheel declares; its bin."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    installed = _pip(python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    if with_requirements:
        (metadata,) = site.glob("hpt_ros-*.dist-info")
        declared = importlib.metadata.PathDistribution(metadata).requires or []
        for distribution in _declared(declared).values():
            for file in distribution.files or ():
                top = file.parts[0]
                if top not in ("..", "__pycache__") and not (site / top).exists():
                    (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder / "bin"


@pytest.fixture(scope="session")
def offline(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_venv(tmp_path_factory.mktemp("offline") / "venv", wheel, with_requirements=True)


def _write_bag(path: Path, seed: int) -> None:
    """Two seconds of a nodding joint, of commands to it, and of a picture that shows where it is."""
    store = get_typestore(Stores.ROS2_JAZZY)

    def make(kind: str, /, **fields: Any) -> Any:
        return store.types[kind](**fields)

    kinds = {
        "/front": "sensor_msgs/msg/Image",
        "/joint_states": "sensor_msgs/msg/JointState",
        "/commands": "trajectory_msgs/msg/JointTrajectory",
    }
    empty = np.zeros(0)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in kinds.items()}
        for step in range(41):
            ns = NS * 1_000_000_000 + step * 50_000_000
            stamp = make("builtin_interfaces/msg/Time", sec=ns // NS, nanosec=ns % NS)
            header = make("std_msgs/msg/Header", stamp=stamp, frame_id="")
            angle = np.array([np.sin(step / 10 + seed)])
            messages = {
                "/joint_states": make(
                    kinds["/joint_states"],
                    header=header,
                    name=["j1"],
                    position=angle,
                    velocity=empty,
                    effort=empty,
                )
            }
            if step % 2 == 0:
                pixels = np.full((32, 32, 3), round(120 + 100 * angle[0]), dtype=np.uint8)
                messages["/front"] = make(
                    kinds["/front"], header=header, height=32, width=32, encoding="rgb8", is_bigendian=0, step=96,
                    data=pixels.reshape(-1),
                )  # fmt: skip
                point = make(
                    "trajectory_msgs/msg/JointTrajectoryPoint", positions=angle, velocities=empty, accelerations=empty,
                    effort=empty, time_from_start=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
                )  # fmt: skip
                messages["/commands"] = make(
                    kinds["/commands"], header=header, joint_names=["j1"], points=[point]
                )
            for topic, message in messages.items():
                writer.write(topics[topic], ns, store.serialize_cdr(message, kinds[topic]))


@pytest.mark.slow
def test_when_only_what_is_declared_is_there_expect_every_offline_verb(offline: Path, tmp_path: Path) -> None:
    for seed in range(2):
        _write_bag(tmp_path / "bags" / f"bag{seed}", seed)
    (tmp_path / "tiny.yaml").write_text(EMBODIMENT)
    (tmp_path / "tiny_recipe.yaml").write_text(RECIPE)
    for words in (
        "--version",
        "embodiment check tiny.yaml",
        "inspect bags/bag0",
        "convert bags --embodiment tiny.yaml --out dataset",
        "quality dataset --out report.html",
        "finetune dataset --out run --recipe ./tiny_recipe.yaml",
        "evaluate run/best dataset",
        "checkpoint inspect run/best",
        "checkpoint verify run/best",
    ):
        done = _run(offline / "hpt", *words.split(), cwd=tmp_path)
        assert done.returncode == 0, f"hpt {words}: {done.stdout}\n{done.stderr}"
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()


@pytest.mark.parametrize("words", ["run feed_dog", "record --embodiment tiny.yaml --out bags", "demo"])
def test_when_ros_is_absent_expect_the_way_to_it(words: str, offline: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(EMBODIMENT)
    done = _run(offline / "hpt", *words.split(), cwd=tmp_path)
    verb = words.split()[0]
    assert (done.returncode, done.stdout) == (2, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"hpt {verb}: error: 'hpt {verb}' needs ROS 2, and this Python has no module ")
    assert "source a Jazzy or Kilted workspace" in sentence
    assert "make setup" in sentence


def test_when_nothing_else_is_installed_expect_help_and_a_sentence(wheel: Path, tmp_path: Path) -> None:
    bin_folder = _make_venv(tmp_path / "venv", wheel, with_requirements=False)
    for words in ("--help", "--version", "convert --help", "finetune --help", "run --help"):
        shown = _run(bin_folder / "hpt", *words.split(), cwd=tmp_path)
        assert shown.returncode == 0, f"hpt {words}: {shown.stderr}"
    for words in ("inspect bag", "convert bag --embodiment x.yaml --out y", "checkpoint inspect feed_dog"):
        done = _run(bin_folder / "hpt", *words.split(), cwd=tmp_path)
        assert done.returncode == 2, f"hpt {words}: {done.stderr}"
        (sentence,) = done.stderr.splitlines()
        assert "which is not installed; install hpt_ros with what it needs" in sentence


def test_when_it_is_installed_for_one_user_expect_its_files(wheel: Path, tmp_path: Path) -> None:
    base = getattr(sys, "_base_executable", sys.executable)  # a virtual environment has no user's folder
    variables = {"PYTHONUSERBASE": str(tmp_path / "user")}
    installed = _pip(
        *(base, "install", "--user", "--no-deps", "--no-index", "--break-system-packages", wheel),
        cwd=tmp_path,
        **variables,
    )
    assert installed.returncode == 0, installed.stderr
    done = _run(base, "-c", RESOURCES, cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(tmp_path / "user")) for line in done.stdout.splitlines())


def test_when_it_lies_in_a_zip_file_expect_its_files_unpacked_and_removed(
    wheel: Path, tmp_path: Path
) -> None:
    done = _run(
        sys.executable, "-S", "-c", RESOURCES, cwd=tmp_path, PYTHONPATH=str(wheel), TMPDIR=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    module, file = done.stdout.splitlines()
    assert module.startswith(f"{wheel}/")
    assert file.startswith(str(tmp_path))
    assert [*tmp_path.iterdir()] == []


def test_the_source_distribution_holds_what_the_tests_read(source: Path) -> None:
    assert {name for name in git_words("ls-files") if not (source / name).exists()} == set()


def test_metadata_say_who_what_and_where(wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(wheel, tmp_path, format="zip")
    (folder,) = tmp_path.glob("*.dist-info")
    metadata = importlib.metadata.PathDistribution(folder).metadata
    assert metadata["License-Expression"] == "Apache-2.0"
    assert not [*tmp_path.glob("*.data/data/bin/*")]  # pip makes the programs from the entry points
    assert metadata["Author-email"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "hpt convert" in (folder / "METADATA").read_text(encoding="utf-8")  # the readme
    assert metadata.get_all("Project-URL")
    assert "Operating System :: POSIX :: Linux" in metadata.get_all("Classifier", [])
