# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Angles that wrap and nobody says so: said by conversion and quality, and gone when the file says it."""

from __future__ import annotations

import json

import numpy as np

from hpt_ros.cli.main import main
from hpt_ros.embodiment import Embodiment
from rosbag_tools.converting.convert import convert
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag


def wrapping(robot):
    """The robot's messages, whose joint b goes round in both directions, from -pi to pi."""
    messages = robot.messages()
    for topic, _, message in messages:
        if topic == "/joint_states":
            angle = 4.0 * message.position[list(message.name).index("b")]
            message.position[list(message.name).index("b")] = (angle + np.pi) % (2 * np.pi) - np.pi
    return messages


def test_when_an_angle_wraps_expect_the_joint_named_and_the_remedy_to_help(robot, tmp_path, capsys):
    bag = robot.write(tmp_path / "bag", wrapping(robot))
    report = convert([bag], tmp_path / "data", robot.embodiment)
    assert set(report.episodes[0].wrapped) == {"b"}
    main(["quality", str(tmp_path / "data"), "--out", str(tmp_path / "q.html"), "--json"])
    found = json.loads((tmp_path / "q.json").read_text())["findings"]
    assert [item["subject"] for item in found if item["check"] == "wrapped"] == ["b"]
    (tmp_path / "tiny.yaml").write_text(robot.text)
    main(["convert", str(bag), "--embodiment", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "again")])
    assert "b jumps from 3." in (said := capsys.readouterr().out)
    assert "add continuous: true" in said
    text = robot.text.replace("name: b, lower: -1.0, upper: 1.0,", "name: b, continuous: true,")
    assert not convert([bag], tmp_path / "right", Embodiment.loads(text)).episodes[0].wrapped


def test_when_nothing_wraps_expect_nothing_said(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", robot.messages())
    assert not convert([bag], tmp_path / "data", robot.embodiment).episodes[0].wrapped


def test_when_commands_do_not_fit_the_file_expect_inspection_to_say_so(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", robot.messages())
    other = Embodiment.loads(
        robot.text.replace("names: [b, a]", "names: [b, c]").replace("name: a,", "name: c,")
    )
    with Bag.open(bag) as opened:
        assert not any(
            "decoded" in note for note in inspect(opened, robot.embodiment).topics["/command"].notes
        )
        notes = inspect(opened, other).topics["/command"].notes
    assert any("cannot be decoded: " in note and "lacks the joint 'c'" in note for note in notes)
