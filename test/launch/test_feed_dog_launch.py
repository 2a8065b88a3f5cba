# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The launch file, run for real wherever a ROS distribution's `launch` can be imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpt_ros.nodes.common.parameter_files import names_node
from hpt_ros.resources import config_file

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "feed_dog.launch.py"


def test_the_launch_file_names_only_what_setup_installs() -> None:
    setup = (LAUNCH_FILE.parents[1] / "setup.py").read_text()
    text = LAUNCH_FILE.read_text()
    for executable in ("sim_node", "policy_node"):
        assert f'node(context, "{executable}"' in text
        assert f'"{executable}"' in setup


def test_when_launch_is_there_expect_the_arguments_to_be_shown() -> None:
    pytest.importorskip(
        "launch_ros", reason="launch_ros comes with a ROS distribution; pip has no wheel of it"
    )
    ros2 = subprocess.run(
        ["ros2", "launch", str(LAUNCH_FILE), "--show-args"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ros2.returncode == 0, ros2.stderr
    for argument in (
        *(
            "sim",
            "checkpoint",
            "embodiment",
            "deployment",
            "task",
            "device",
            "backend",
            "threads",
            "seed",
            "autostart",
        ),
        *("use_sim_time", "params_file", "namespace", "log_level"),
    ):
        assert f"'{argument}'" in ros2.stdout


def test_when_a_node_fails_expect_the_launch_to_end_with_a_status() -> None:
    pytest.importorskip(
        "launch_ros", reason="launch_ros comes with a ROS distribution; pip has no wheel of it"
    )
    ros2 = subprocess.run(
        ["ros2", "launch", str(LAUNCH_FILE), "sim:=true", "checkpoint:=no_such"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ros2.returncode == 1
    assert "'no_such' is neither a folder nor shipped" in ros2.stdout + ros2.stderr
    assert "ended with status 2" in ros2.stdout + ros2.stderr


def test_the_parameters_for_first_motion_are_not_the_simulators(tmp_path: Path) -> None:
    """Pinned: `params_file:=first_motion` with sim:=true ended the simulator, which has no such parameter."""
    assert not names_node(config_file("safety/first_motion.yaml"), "sim_node")
    assert 'node(context, "sim_node", {"seed": int(value("seed"))}, aside=True)' in LAUNCH_FILE.read_text()
    file = tmp_path / "parameters.yaml"
    file.write_text("/**:\n  sim_node:\n    ros__parameters:\n      seed: 3\n")
    assert names_node(file, "sim_node")
    assert not names_node(file, "policy_node")


@pytest.mark.slow
def test_when_launched_expect_the_simulator_and_an_active_policy() -> None:
    pytest.importorskip(
        "launch_ros", reason="launch_ros comes with a ROS distribution; pip has no wheel of it"
    )
    launched = subprocess.Popen(
        ["ros2", "launch", "hpt_ros", "feed_dog.launch.py", "sim:=true"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    code = (
        "import rclpy, sys; from hpt_msgs.msg import PolicyStatus; rclpy.init(); node = rclpy.create_node('looker');"
        "seen = []; node.create_subscription(PolicyStatus, '/policy_node/status', seen.append, 10);\n"
        "while not any(s.state == PolicyStatus.RUNNING for s in seen): rclpy.spin_once(node)"
    )
    try:
        subprocess.run([sys.executable, "-c", code], timeout=120, check=True, env=os.environ)
    finally:
        # To the whole session, as a terminal's Ctrl-C: a signal to `ros2` alone would leave the nodes running.
        os.killpg(launched.pid, signal.SIGINT)
        launched.wait(timeout=60)
