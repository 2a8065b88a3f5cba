# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A package outside the tree, installed by pip, and the robot and bag of a test that uses what it adds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from support.tiny_robot import MS, START_NS, Robot

PACKAGE = Path(__file__).resolve().parent / "outside_package"
TEXT = (PACKAGE / "outside" / "robot.yaml").read_text(encoding="utf-8")
RECIPE = """
policy:
  stems:
    - {modality: state, widths: [16], tokens: 2, heads: 2, head_width: 8}
    - {modality: spectrum, widths: [16], tokens: 2, heads: 2, head_width: 8}
  trunk: {width: 16, depth: 1, heads: 2}
  head: {kind: linear, bias: false}
iterations: 150
batch_size: 8
lr: 0.003
warmup_iterations: 2
validation_ratio: 0.0
validation_every: 150
threads: 1
"""


class Outsider(Robot):  # type: ignore[misc]
    """Says in its range and in its sound when it was measured, in seconds since the start."""

    topics: ClassVar[dict[str, str]] = {
        "/joint_states": "sensor_msgs/msg/JointState",
        "/command": "trajectory_msgs/msg/JointTrajectory",
        "/range": "sensor_msgs/msg/Range",
        "/sound": "std_msgs/msg/Float32MultiArray",
    }

    def command(self, time_s, stamp_ns, joint_names=("a", "b")):
        message = super().command(time_s, stamp_ns, joint_names)
        message.points[0].positions[:] = np.sin(time_s), time_s  # where the joints are measured
        return message

    def range(self, metres, stamp_ns):
        return self.make(
            "sensor_msgs/msg/Range", header=self.header(stamp_ns), radiation_type=0, field_of_view=0.1,
            min_range=0.05, max_range=9.0, range=metres, variance=0.0, ULTRASOUND=0, INFRARED=1,
        )  # fmt: skip

    def sound(self, level):
        layout = self.make("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
        data = np.full(4, level, np.float32)
        return self.make("std_msgs/msg/Float32MultiArray", layout=layout, data=data)

    def messages(self, duration_s=3.0):
        found = [item for item in super().messages(duration_s) if item[0] in self.topics]
        for index in range(int(duration_s * 20)):
            stamp_ns = START_NS + index * 50 * MS - 5 * MS
            seconds = (stamp_ns - START_NS) * 1e-9
            found.append(("/range", stamp_ns + MS, self.range(seconds, stamp_ns)))
            found.append(("/sound", stamp_ns, self.sound(seconds)))  # no header: its time is its arrival
        return sorted(found, key=lambda item: item[1])


def run(*command: str | Path, site: Path) -> str:
    """Run a command where the package is installed; returns what it printed."""
    paths = [str(site), str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def outside_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site directory that the package is installed into."""
    folder = tmp_path_factory.mktemp("outside")
    source = shutil.copytree(PACKAGE, folder / "source")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
            "--target", str(folder / "site"), str(source),
        ],
        check=True,
    )  # fmt: skip
    return folder / "site"


@pytest.fixture(scope="session")
def outside_run(outside_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bag of the outsider, its dataset, and a policy that was finetuned on it, all by `hpt`."""
    folder = tmp_path_factory.mktemp("outsider")
    (folder / "robot.yaml").write_text(TEXT)
    (folder / "recipe.yaml").write_text(RECIPE)
    robot = Outsider()
    robot.write(folder / "bag")
    run(
        "-m", "hpt_ros", "convert", folder / "bag", "--embodiment", folder / "robot.yaml", "--out", folder / "dataset",
        "--task", "listen", site=outside_site,
    )  # fmt: skip
    run(
        "-m", "hpt_ros", "finetune", folder / "dataset", "--recipe", folder / "recipe.yaml", "--out", folder / "run",
        site=outside_site,
    )  # fmt: skip
    return folder
