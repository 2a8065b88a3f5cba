# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""launch/two_machines.launch.py names what there is."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from hpt_ros.nodes.common.parameters import names
from hpt_ros.runtime.policy_config import PolicyChoice, PolicyNodeConfig

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "two_machines.launch.py"
TREE = ast.parse(LAUNCH_FILE.read_text(encoding="utf-8"))


def test_executables_are_installed_and_parameters_exist() -> None:
    setup = (LAUNCH_FILE.parents[1] / "setup.py").read_text(encoding="utf-8")
    texts = {node.value for node in ast.walk(TREE) if isinstance(node, ast.Constant)}
    assert {"inference_node", "policy_node"} <= texts
    assert '"inference_node"' in setup
    parameters = {
        key.value
        for node in ast.walk(TREE)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    assert parameters == {"use_sim_time", "policy", "autostart"}
    passed = [
        {word.value for word in call.args if isinstance(word, ast.Constant)}
        for call in ast.walk(TREE)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "drop_empty"
    ]
    assert sorted(map(len, passed)) == [3, 4]
    assert min(passed, key=len) | parameters - {"use_sim_time"} <= names(PolicyNodeConfig)
    assert max(passed, key=len) <= names(PolicyChoice)


def test_when_launch_is_there_expect_the_arguments_to_be_shown() -> None:
    pytest.importorskip(
        "launch_ros", reason="launch_ros comes with a ROS distribution; pip has no wheel of it"
    )
    shown = subprocess.run(
        ["ros2", "launch", str(LAUNCH_FILE), "--show-args"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    for argument in (
        *("side", "checkpoint", "embodiment", "deployment", "device", "backend", "task", "autostart"),
        *("use_sim_time", "params_file", "namespace", "log_level"),
    ):
        assert f"'{argument}'" in shown.stdout
