# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What --param, --namespace and the like of `hpt run` and `hpt record` are for rcl, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.cli.main import build_parser
from hpt_ros.cli.ros_options import parameter, ros_arguments
from hpt_ros.errors import Code, HptError

NODE = "policy_node"


def passed_on(*words: str) -> list[str]:
    """What `hpt run` with these options gives to rcl."""
    return ros_arguments(build_parser().parse_args(["run", "x", *words]), NODE)


def test_when_nothing_is_given_expect_nothing_passed_on() -> None:
    assert passed_on() == []


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["--sim-time"], ["-p", "use_sim_time:=true"]),
        (["--param", "a.b:=1", "--param", "c:=[1, 2]"], ["-p", "a.b:=1", "-p", "c:=[1, 2]"]),
        (["--param", "task:=a:=b"], ["-p", "task:=a:=b"]),
        (["--namespace", "cell/left"], ["-r", "__ns:=/cell/left"]),
        (["--namespace", "/left/"], ["-r", "__ns:=/left"]),
        (["--name", "other"], ["-r", "__node:=other"]),
        (["--remap", "/a:=/b"], ["-r", "/a:=/b"]),
        (["--log-level", "warn"], ["--log-level", "warn"]),
        (["--log-level", "rcl.x:=DEBUG"], ["--log-level", "rcl.x:=DEBUG"]),
    ],
)
def test_each_option_is_what_rcl_takes(words: list[str], arguments: list[str]) -> None:
    assert passed_on(*words) == arguments


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--param", "a=1"], "--param is 'a=1', expected NAME:=VALUE, .*; write --param a:=1"),
        (["--param", "a.b=x=y"], "write --param a.b:=x=y"),
        (["--param", "a:="], "expected NAME:=VALUE"),
        (["--param", ":=1"], "expected NAME:=VALUE"),
        (["--param", "a b:=1"], "expected NAME:=VALUE"),
        (["--remap", "a"], "--remap is 'a', expected FROM:=TO"),
        (["--remap", "a:= "], "--remap is 'a:= ', expected FROM:=TO"),
        (
            ["--log-level", "warning"],
            "--log-level is 'warning', expected one of debug, .*; did you mean 'warn'",
        ),
        (["--namespace", "1st"], "--namespace is '1st', expected a name such as robot1 or cell/left"),
        (["--namespace", "a//b"], "--namespace is 'a//b'"),
        (["--name", "a/b"], "--name is 'a/b', expected letters, digits and underscores"),
        (["--params-file", "frist_motion"], "did you mean"),
        (["--params-file", "no_such.yaml"], "'no_such.yaml' does not exist"),
    ],
)
def test_when_a_value_has_another_form_expect_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(HptError, match=sentence):
        passed_on(*words)


def test_a_shipped_file_is_found_by_its_name() -> None:
    option, path = passed_on("--params-file", "first_motion")
    assert option == "--params-file"
    assert yaml.safe_load(Path(path).read_text())


@pytest.mark.parametrize(
    ("section", "options", "ours"),
    [
        ("/**", [], True),
        ("policy_node", [], True),
        ("/policy_node", ["--namespace", "left"], False),
        ("/left/policy_node", ["--namespace", "left"], True),
        ("/**/policy_node", ["--namespace", "left"], True),
        ("/policy_node", ["--name", "other"], False),
        ("/other", ["--name", "other"], True),
        ("/recorder_node", [], False),
    ],
)
def test_when_a_file_is_for_other_nodes_only_expect_it_refused(
    section: str, options: list[str], ours: bool, tmp_path: Path
) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(yaml.safe_dump({section: {"ros__parameters": {"task": "go"}}}))
    words = ["--params-file", str(file), *options]
    if ours:
        assert passed_on(*words)[:2] == ["--params-file", str(file)]
        return
    with refused(
        HptError, Code.INVALID, subject="--params-file", problem="has parameters of", remedy="name it /"
    ):
        passed_on(*words)


def test_what_follows_ros_args_goes_on_last_and_as_it_is() -> None:
    assert passed_on("--sim-time", "--ros-args", "-p", "a:=b", "--log-level", "x") == [
        *("-p", "use_sim_time:=true"),
        *("-p", "a:=b", "--log-level", "x"),
    ]


@given(st.text())
def test_a_text_stays_that_text(text: str) -> None:
    name, _, value = parameter("task", text).partition(":=")
    assert name == "task"
    assert yaml.safe_load(value) == text


def test_rcl_reads_a_text_as_it_was() -> None:
    rclpy = pytest.importorskip("rclpy")
    text = 'füttere 🐶: "now" \\ \u2028\x85'
    context = rclpy.Context()
    rclpy.init(args=["hpt", "--ros-args", "-p", parameter("task", text)], context=context)
    try:
        node = rclpy.create_node("reader", context=context)
        assert node.declare_parameter("task", "").value == text
        node.destroy_node()
    finally:
        context.shutdown()
