# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conversion on Ray: a real cluster of this machine alone. Slow: it takes a while to start."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.extras import MissingExtraError
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_and_the_same_errors(robot, tmp_path):
    pytest.importorskip("ray", reason="make setup EXTRAS=ray")
    bags = [robot.write(tmp_path / f"bags/{index}", robot.messages(1.6 + 0.3 * index)) for index in range(3)]
    convert(bags, tmp_path / "one", robot.embodiment)
    convert(bags, tmp_path / "ray", robot.embodiment, Options(ray="local"))
    paths = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(paths) == 9
    for path in paths:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "ray" / path).read_bytes(), path
    messages = robot.messages(2.0)
    for topic, _, message in messages:
        if topic == "/joint_states":
            message.name = ["b", "shoulder"]
            message.position = np.zeros(2)
    bad = robot.write(tmp_path / "bad", messages)
    with pytest.raises(BagError, match="lacks the joint 'a'"):
        convert([*bags, bad], tmp_path / "out", robot.embodiment, Options(ray="local"))
    report = convert([*bags, bad], tmp_path / "out", robot.embodiment, Options(ray="local", skip_bad=True))
    assert list(report.skipped_bags) == [str(bad)]


@pytest.mark.slow
def test_when_there_is_no_cluster_expect_how_to_start_one(robot, bag, tmp_path):
    pytest.importorskip("ray", reason="make setup EXTRAS=ray")
    with pytest.raises(HptError, match="the Ray cluster at 'auto' cannot be reached .*ray start --head"):
        convert([bag], tmp_path / "out", robot.embodiment, Options(ray="auto"))
    assert not (tmp_path / "out").exists()


def test_when_ray_is_not_installed_expect_what_installs_it(robot, bag, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with refused(
        MissingExtraError,
        Code.NOT_INSTALLED,
        subject="hpt convert on a cluster",
        value="ray",
        remedy="make setup EXTRAS=ray",
    ):
        convert([bag], tmp_path / "out", robot.embodiment, Options(ray="local"))
