# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The `hpt` command where its surroundings are not a person's shell: closed output, no HOME, nowhere to write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpt_ros.nodes.common.fast_dds import profiles_variable

HPT = f"{sys.executable} -m hpt_ros"


def shell(line: str, folder: Path, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """What bash makes of a line; the status is that of the first command of a pipe."""
    environment = {**os.environ, **{name: value for name, value in variables.items() if value is not None}}
    for name in (name for name, value in variables.items() if value is None):
        environment.pop(name, None)
    return subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder in which not even root may write."""
    if os.geteuid() == 0:
        yield Path("/sys/kernel")
        return
    tmp_path.chmod(0o555)
    yield tmp_path
    tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    "words", ["--version", "checkpoint inspect feed_dog", "embodiment check feed_dog", "no_verb"]
)
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_when_output_is_closed_expect_the_same_status(words: str, closed: str, tmp_path: Path) -> None:
    """Pinned: `>&-` was an internal error; with `2>&-` errors went to standard output."""
    done = shell(f"{HPT} {words} {closed}", tmp_path)
    assert done.returncode == (2 if words == "no_verb" else 0)
    if words == "no_verb":
        assert done.stdout == ""
    elif closed == ">&-":
        assert done.stderr == ""


@pytest.mark.parametrize("words", ["checkpoint inspect feed_dog", "embodiment check feed_dog"])
def test_when_the_reader_of_results_leaves_expect_the_work_done_and_not_a_word(
    words: str, tmp_path: Path
) -> None:
    """Pinned: Rich ended the process with status 1."""
    done = shell(f"{HPT} {words} | true", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", ["record --embodiment feed_dog --out bags", "run feed_dog --inactive"])
@pytest.mark.parametrize("output", ["", ">&- 2>&-"])
def test_when_home_is_unset_expect_a_node_that_runs_until_it_is_ended(
    words: str, output: str, tmp_path: Path
) -> None:
    """Pinned: rcl asks HOME alone for where its logs go, which a service's process does not have."""
    environment = {**os.environ, "ROS_LOG_DIR": "", "ROS_HOME": ""}
    environment.pop("HOME", None)
    process = subprocess.Popen(
        ["bash", "-c", f"exec {HPT} {words} {output}"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(6.0)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text


def test_when_ros_can_keep_no_logs_expect_the_variable_that_helps(unwritable: Path, tmp_path: Path) -> None:
    done = shell(f"{HPT} run feed_dog", tmp_path, ROS_LOG_DIR=str(unwritable / "logs"))
    (sentence,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert sentence.startswith("hpt run: error: ROS cannot keep its logs (")
    assert sentence.endswith("set ROS_LOG_DIR to a folder that can be written")


@pytest.mark.parametrize(
    ("variable", "value", "start"),
    [
        ("ROS_DOMAIN_ID", "abc", "ROS_DOMAIN_ID is 'abc', expected a whole number from 0 to 232"),
        ("ROS_DOMAIN_ID", "233", "ROS_DOMAIN_ID is '233', expected a whole number from 0 to 232"),
        (
            profiles_variable(),
            "nowhere.xml",
            f"{profiles_variable()}=nowhere.xml cannot be read (No such file",
        ),
        (profiles_variable(), "/dev/null", f"{profiles_variable()}=/dev/null is not XML ("),
    ],
)
def test_when_ros_is_given_a_value_that_cannot_be_expect_the_variable_named(
    variable: str, value: str, start: str, tmp_path: Path
) -> None:
    """Pinned: Fast DDS ended the process in domain 233, and went on in silence without its profiles."""
    done = shell(f"{HPT} run feed_dog", tmp_path, **{variable: value})
    (sentence,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert sentence.startswith(f"hpt run: error: {start}")


@pytest.mark.parametrize(
    "words",
    [
        "checkpoint export feed_dog --format trunk --out x.pth",
        "checkpoint export feed_dog --format trunk --out folder/x.pth",
        "demo --episodes 1",
        "record --embodiment feed_dog --out bags",
    ],
)
def test_when_nothing_can_be_written_expect_a_sentence(words: str, unwritable: Path, tmp_path: Path) -> None:
    done = shell(
        f"PYTHONPATH={Path(__file__).parents[2]} {HPT} {words}", unwritable, ROS_LOG_DIR=str(tmp_path / "log")
    )
    (sentence,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert sentence.startswith(
        f"hpt {' '.join(words.split()[: 1 + words.startswith('checkpoint')])}: error: "
    )


def test_when_the_folder_of_out_is_missing_expect_it_made(tmp_path: Path) -> None:
    done = shell(f"{HPT} checkpoint export feed_dog --format trunk --out a/b/trunk.pth", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "b" / "trunk.pth").is_file()


def test_when_the_folder_of_out_is_a_file_expect_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    done = shell(f"{HPT} checkpoint export feed_dog --format trunk --out a/b/trunk.pth", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "a").read_text() == "mine"
