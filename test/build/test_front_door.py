# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Workflows, images, development containers, hooks and citation call and name only what is here.

They cannot run on the machine of a test; their schemas are checked by `make lint`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import hpt_ros

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONTAINERS = sorted((ROOT / ".devcontainer").glob("*/devcontainer.json"))


def _jobs(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


def _steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in _jobs(path).values() for step in job["steps"]]


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_that_exist(path: Path) -> None:
    commands = [part.strip() for step in _steps(path) if "run" in step for part in step["run"].split("&&")]
    targets = {command.split()[1] for command in commands if command.startswith("make ")}
    assert targets
    assert targets <= _targets()
    others = {command.split()[0] for command in commands} - {"make"}
    assert others <= {"sudo", "docker"}  # apt-get, and the Dockerfile, which is checked below
    files = re.findall(r"\btest/\S+\.py", " ".join(commands))
    assert all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_pins_its_actions_and_may_only_read(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    for step in _steps(path):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"])


def test_every_change_is_tested_over_both_distributions_and_all_pythons() -> None:
    jobs = _jobs(ROOT / ".github" / "workflows" / "ci.yml")
    matrix = jobs["test"]["strategy"]["matrix"]
    supported = re.findall(r"3\.1\d", " ".join(re.findall(r"Python (3\.\d+ to 3\.\d+)", (ROOT / "README.md").read_text())))
    assert set(matrix["distro"]) == set(jobs["distribution"]["strategy"]["matrix"]["distro"]) == {"kilted", "jazzy"}
    assert (matrix["python"][0], matrix["python"][-1]) == (supported[0], supported[1])
    assert len(matrix["python"]) == 4
    assert {"lint", "wheel", "noble"} <= jobs.keys()


def _dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def test_the_image_copies_files_that_exist_and_has_both_choices() -> None:
    for sources in re.findall(r"^COPY (?!--)(.*) \S+$", _dockerfile(), re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    assert set(re.findall(r"^ARG (\w+)", _dockerfile(), re.MULTILINE)) == {"ROS_DISTRO", "TORCH_INDEX"}


def test_the_image_builds_as_the_readme_says() -> None:
    paths = "--base-paths src src/hpt_ros/hpt_msgs"
    assert f"colcon build {paths}" in (ROOT / "README.md").read_text()
    assert f"colcon build {paths}" in _dockerfile()
    assert f"colcon test {paths}" in _dockerfile()


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.parent.name)
def test_a_development_container_uses_the_image(path: Path) -> None:
    container = json.loads(path.read_text())
    build = container["build"]
    assert (path.parent / build["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (path.parent / build["context"]).resolve() == ROOT
    assert f" AS {build['target']}\n" in _dockerfile()
    assert build["args"].keys() <= set(re.findall(r"^ARG (\w+)", _dockerfile(), re.MULTILINE))
    assert f"/opt/ros/{build['args']['ROS_DISTRO']}/setup.bash" in container["postCreateCommand"]


def test_hooks_call_what_set_up_installs() -> None:
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            program, first, *_ = hook["entry"].split()
            assert (program, first) in {(".venv/bin/ruff", "check"), (".venv/bin/ruff", "format"), ("make", "lint")}


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == hpt_ros.__version__
    assert citation["license"] == "Apache-2.0"


def test_every_link_of_the_security_policy_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "SECURITY.md").read_text())
    assert links
    assert all((ROOT / link).exists() for link in links)
