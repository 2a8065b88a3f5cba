"""The verbs as a shell runs them: what they print and their exit status."""

from __future__ import annotations

import pytest

from hpt_ros.cli import convert as convert_verb
from hpt_ros.cli import inspect as inspect_verb
from rosbag_tools.names import KEY_EMBODIMENT


def listing(folder):
    """Names in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def hpt(capsys):
    """Run `hpt` in this process; returns exit status, standard output and standard error."""
    import argparse

    from hpt_ros.errors import HptError

    verbs = {"convert": convert_verb, "inspect": inspect_verb}

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
    assert "1 episodes, " in out
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


def test_inspect_shows_topics_and_use(hpt, robot, tmp_path):
    bag = robot.write(tmp_path / "bag", custom={KEY_EMBODIMENT: robot.text})
    status, out, _ = hpt("inspect", bag)
    assert status == 0
    lines = {line.split()[1]: line for line in out.splitlines() if line.startswith("│")}
    assert "stream left" in lines["/left"]
    assert " 30 " in lines["/left"]
    assert "action" in lines["/command"]
    assert "stream" not in lines["/unused"]
    assert "episode (whole bag)" in out


def test_inspect_points_out_what_is_missing_or_slow(hpt, robot, embodiment_file, tmp_path):
    messages = [item for item in robot.messages() if item[0] != "/right"]
    seen = 0
    kept = []
    for item in messages:
        seen += item[0] == "/joint_states"
        if item[0] != "/joint_states" or seen % 2:
            kept.append(item)
    bag = robot.write(tmp_path / "bag", kept)
    status, out, _ = hpt("inspect", bag, "--embodiment", embodiment_file)
    assert status == 1
    lines = {line.split()[1]: line for line in out.splitlines() if line.startswith("│")}
    assert "missing" in lines["/right"]
    assert "slower than 50 Hz" in lines["/joint_states"]


def test_inspect_recovers_a_cut_bag_and_says_so(hpt, robot, tmp_path):
    messages = robot.messages(8.0)
    for topic, _, message in messages:
        if topic == "/unused":
            message.data = "x" * 6000
    bag = robot.cut(robot.write(tmp_path / "bag", messages))
    status, out, _ = hpt("inspect", bag)
    assert status == 0
    assert "was cut short: recovered" in " ".join(out.split())
