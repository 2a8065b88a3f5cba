# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The verbs as a shell runs them: what they print and their exit status."""

from __future__ import annotations

import av
import pytest

from hpt_ros.cli import convert as convert_verb
from hpt_ros.cli.main import main
from rosbag_tools.bag_schema import KEY_EMBODIMENT


def listing(folder):
    """Names in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def hpt(capsys):
    """Run `hpt` in this process; returns exit status, standard output and standard error."""
    import argparse

    from hpt_ros.errors import HptError

    verbs = {"convert": convert_verb}

    def run(verb, *arguments):
        parser = argparse.ArgumentParser()
        verbs[verb].add_arguments(parser)
        try:
            status = verbs[verb].run(parser.parse_args([str(item) for item in arguments]))
        except HptError as error:
            return 2, capsys.readouterr().out, str(error)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_convert_says_what_was_kept(hpt, robot, embodiment_file, tmp_path):
    messages = [
        item for item in robot.messages() if not (item[0] == "/left" and item[1] > robot.start_ns + 2 * 10**9)
    ]
    bag = robot.write(tmp_path / "bag", messages)
    status, out, _ = hpt("convert", bag, "--embodiment", embodiment_file, "--out", tmp_path / "out")
    assert status == 0
    assert "1 episode, " in out
    assert "dropped for left: " in out
    assert (tmp_path / "out/meta/info.json").is_file()


def test_when_a_topic_is_missing_expect_status_2_and_nothing_written(hpt, robot, embodiment_file, tmp_path):
    bag = robot.write(tmp_path / "bag", [item for item in robot.messages(1.0) if item[0] != "/left"])
    before = listing(tmp_path)
    status, _, error = hpt("convert", bag, "--embodiment", embodiment_file, "--out", tmp_path / "out")
    assert status == 2
    assert "lacks the topic '/left' (sensor_msgs/msg/Image) of stream 'left'" in error
    assert "\n" not in error
    assert listing(tmp_path) == before


def test_when_a_bag_is_cut_short_expect_status_2(hpt, robot, embodiment_file, tmp_path):
    bag = robot.cut(robot.write(tmp_path / "bag"))
    status, _, error = hpt("convert", bag, "--embodiment", embodiment_file, "--out", tmp_path / "out")
    assert (status, "was cut short" in error) == (2, True)


def test_when_out_exists_expect_status_2(hpt, bag, embodiment_file, tmp_path):
    (tmp_path / "out").mkdir()
    status, _, error = hpt("convert", bag, "--embodiment", embodiment_file, "--out", tmp_path / "out")
    assert (status, "exists already" in error) == (2, True)


def test_when_workers_is_zero_expect_status_2(hpt, bag, tmp_path):
    status, _, error = hpt("convert", bag, "--out", tmp_path / "out", "--workers", 0)
    assert (status, "--workers is 0" in error) == (2, True)


def test_an_episode_of_a_bag_is_viewed_as_it_would_be_converted(robot, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    messages = [
        item
        for item in robot.messages(6.0)
        if not (item[0] == "/left" and 2.0 < seconds_of(robot, item) < 3.0)
    ]
    robot.write(tmp_path / "press", messages, custom={KEY_EMBODIMENT: robot.text})
    assert main(["view", "press", "--episode", "1", "--out", "second.mp4"]) == 0
    with av.open("second.mp4") as video:
        count = sum(1 for _ in video.decode(video=0))
    assert 25 <= count <= 30  # the three seconds after the gap
    assert listing(tmp_path) == ["press", "second.mp4"]


def seconds_of(robot, item):
    return (item[1] - robot.start_ns) * 1e-9


def test_when_a_viewed_bag_has_no_embodiment_expect_it_asked_for(bag, tmp_path, capsys):
    assert main(["view", str(bag), "--out", str(tmp_path / "video.mp4")]) == 2
    assert "--embodiment" in capsys.readouterr().err
    assert not (tmp_path / "video.mp4").exists()


def test_when_what_is_viewed_is_neither_expect_a_sentence(tmp_path, embodiment_file, capsys):
    assert main(["view", str(tmp_path)]) == 2
    assert "meta/info.json" in capsys.readouterr().err
    assert main(["view", str(tmp_path), "--embodiment", str(embodiment_file)]) == 2
    assert "it is no LeRobot dataset; give a dataset folder" in capsys.readouterr().err


def test_when_out_exists_expect_that_before_any_bag_is_opened(hpt, embodiment_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "bag.mcap").write_bytes(b"no bag")
    status, _, error = hpt(
        "convert", tmp_path / "bag.mcap", "--embodiment", embodiment_file, "--out", tmp_path / "out"
    )
    assert (status, "exists already" in error, "bag.mcap" in error) == (2, True, False)


def test_one_bag_is_one(hpt, bag, embodiment_file, tmp_path):
    status, out, _ = hpt("convert", bag, "--embodiment", embodiment_file, "--out", tmp_path / "out")
    assert (status, "1 episode, " in out) == (0, True)
