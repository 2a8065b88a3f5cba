# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag is read while the encoders have the last images of the one before: neither can do the other harm."""

from __future__ import annotations

import threading

import pytest
from support.tiny_robot import Robot

from rosbag_tools.converting.convert import Options, convert


@pytest.fixture(scope="module")
def robot():
    return Robot()


@pytest.fixture
def bags(robot, tmp_path):
    """Three bags, of which the second fails while it is read: its joints have other names."""
    for index in range(3):
        messages = robot.messages(1.6 + 0.2 * index)
        for topic, _, content in messages:
            if topic == "/joint_states" and index == 1:
                content.name = [f"other_{name}" for name in content.name]
        robot.write(tmp_path / f"bags/bag{index}", messages)
    return tmp_path / "bags"


def encoders():
    return [thread for thread in threading.enumerate() if thread.name == "hpt-encoder"]


def videos(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.mp4"))}


@pytest.mark.parametrize("workers", [1, 2])
def test_when_a_bag_fails_expect_those_around_it_as_without_it(robot, bags, tmp_path, workers):
    report = convert([bags], tmp_path / "out", robot.embodiment, Options(skip_bad=True, workers=workers))
    assert list(report.skipped_bags) == [str(bags / "bag1")]
    convert([bags / "bag0", bags / "bag2"], tmp_path / "alone", robot.embodiment, Options(workers=workers))
    assert videos(tmp_path / "out")
    assert videos(tmp_path / "out") == videos(tmp_path / "alone")
    assert not encoders()


def test_when_it_is_interrupted_expect_no_encoder_and_nothing_left(robot, bags, tmp_path):
    def stop(what, about, done, of):
        if what == "converting" and about.startswith("1 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert([bags / "bag0", bags / "bag2"], tmp_path / "out", robot.embodiment, progress=stop)
    assert not encoders()
    assert [path.name for path in tmp_path.iterdir()] == ["bags"]
