# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt inspect`: what a bag holds is said, whatever is wrong with it, within 80 columns."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpt_ros.cli import inspect as verb
from hpt_ros.cli.main import main
from rosbag_tools.bag_schema import KEY_EMBODIMENT
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag

S = 10**9


def looked(path, embodiment=None):
    with Bag.open(path, recover=True) as bag:
        return inspect(bag, embodiment)


def carrying(robot, path, messages, **options):
    return robot.write(path, messages, custom={KEY_EMBODIMENT: robot.text}, **options)


def without_left(robot, start_s, stop_s):
    return [
        item
        for item in robot.messages(6.0)
        if not (item[0] == "/left" and start_s * S < item[1] - robot.start_ns < stop_s * S)
    ]


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "ros1"])
def test_figures_are_those_of_the_messages(robot, tmp_path, kind):
    messages = robot.messages(6.0)
    if kind == "ros1":
        path = robot.write_ros1(tmp_path / "one.bag", messages)
    else:
        path = robot.write(tmp_path / "bag", messages, storage=kind)
    found = looked(path, robot.embodiment)
    left, joints, unused = (found.topics[name] for name in ("/left", "/joint_states", "/unused"))
    assert (left.count, joints.count) == (60, 300)
    assert joints.rate_hz == pytest.approx(50.0, rel=0.01)
    assert (left.period_s, left.gaps) == (pytest.approx(0.1), 0)
    assert left.jitter_s < 1e-6  # by the stamps, which are regular
    assert unused.jitter_s > 1e-3  # by the log times, which are not
    delays = [log_ns - (robot.start_ns + index * 100_000_000 - 7_000_000)
              for index, log_ns in enumerate(log_ns for topic, log_ns, _ in messages if topic == "/left")]  # fmt: skip
    assert left.delay_s == pytest.approx(np.median(delays) * 1e-9)
    assert unused.delay_s is None
    # Pictures are taken 7 ms before the tick, joints 15 ms before.
    assert found.reference == "/left"
    assert joints.skew_s == pytest.approx(0.008, abs=1e-6)
    assert found.topics["/right"].skew_s == 0.0
    assert left.size_bytes > 60 * 16 * 76
    assert found.unused == ["/unused"]
    assert not found.lacks


def test_a_whole_bag_is_ok_and_every_use_is_named(robot, tmp_path, capsys):
    path = carrying(robot, tmp_path / "bag", robot.messages())
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    for line in ("stream left: /left", "stream joints: /joint_states", "action: /command"):
        assert f"ok    {line}" in out
    assert "CHECK" not in out
    assert "not used: /unused" in out
    assert "episode (whole bag)" in out


def test_a_gap_longer_than_the_tolerance_is_pointed_out(robot, tmp_path, capsys):
    path = carrying(robot, tmp_path / "bag", without_left(robot, 2.0, 3.0))
    assert main(["inspect", str(path)]) == 0
    assert "CHECK stream left: /left: gap of 1." in capsys.readouterr().out
    left = looked(path).topics["/left"]
    assert left.gaps == 1
    assert left.largest_gap_s == pytest.approx(1.2, abs=0.11)
    assert left.gap_at_s == pytest.approx(1.9, abs=0.11)


def test_what_is_missing_or_slow_is_pointed_out_with_what_is_there(robot, embodiment_file, tmp_path, capsys):
    messages = [
        ("/rigth" if topic == "/right" else topic, log_ns, message)
        for index, (topic, log_ns, message) in enumerate(robot.messages())
        if topic != "/joint_states" or index % 2
    ]
    path = robot.write(tmp_path / "bag", messages, types={"/rigth": robot.topics["/right"]})
    assert main(["inspect", str(path), "--embodiment", str(embodiment_file)]) == 1
    out = capsys.readouterr().out
    assert "CHECK stream right: /right: missing; did you mean '/rigth'?" in out
    assert "/joint_states: slower than 50 Hz" in out


def test_a_wrong_type_and_another_clock_are_pointed_out(robot, tmp_path):
    messages = robot.messages()
    for topic, _, message in messages:
        if topic == "/right":
            message.header = robot.header(5 * S)
    text = robot.text
    path = robot.write(tmp_path / "bag", messages)
    other = type(robot.embodiment).loads(text.replace("topic: /left,", "topic: /joint_states_raw,"))
    assert looked(path, other).lacks
    (note,) = [note for note in looked(path).topics["/right"].notes if "two clocks" in note]
    assert "behind their arrival" in note
    wrong = type(robot.embodiment).loads(text.replace("topic: /left,", "topic: /unused,"))
    found = looked(path, wrong)
    assert found.topics["/unused"].notes[0] == "type is std_msgs/msg/String, expected sensor_msgs/msg/Image"
    assert found.lacks


def test_images_that_cannot_be_decoded_are_pointed_out_with_the_reason(robot, tmp_path, capsys):
    messages = robot.messages()
    for topic, _, message in messages:
        if topic == "/left":
            message.encoding = "8UC3"
    path = carrying(robot, tmp_path / "bag", messages)
    notes = looked(path, robot.embodiment).topics["/left"].notes
    assert [note for note in notes if "cannot be decoded" in note and "encoding: bgr8 or rgb8" in note]
    assert not looked(path).topics["/left"].notes  # it is an image as soon as somebody says which
    assert main(["inspect", str(path)]) == 0
    assert "CHECK stream left: /left" in " ".join(capsys.readouterr().out.split())
    for topic, _, message in messages:
        if topic == "/left":
            message.encoding = "8SC3"
    assert "'8SC3'" in looked(robot.write(tmp_path / "other", messages)).topics["/left"].notes[0]


def test_a_cut_bag_is_read_as_far_as_it_goes_and_said(robot, tmp_path, capsys):
    messages = robot.messages(8.0)
    for topic, _, message in messages:
        if topic == "/unused":
            message.data = "x" * 6000
    path = robot.cut(robot.write(tmp_path / "bag", messages))
    assert main(["inspect", str(path)]) == 0
    assert "was cut short: recovered" in " ".join(capsys.readouterr().out.split())


def test_a_folder_is_inspected_bag_by_bag_and_a_bad_one_does_not_hide_the_others(robot, tmp_path, capsys):
    robot.write(tmp_path / "all/first", robot.messages(1.0))
    robot.write(tmp_path / "all/second", robot.messages(2.0))
    assert main(["inspect", str(tmp_path / "all")]) == 0
    assert "2 bags, 2 episodes, 3.0 s" in capsys.readouterr().out
    (tmp_path / "all/broken.mcap").write_bytes(b"no bag at all")
    assert main(["inspect", str(tmp_path / "all"), "--json"]) == 2
    captured = capsys.readouterr()
    assert "broken.mcap" in captured.err
    entries = json.loads(captured.out)["bags"]
    assert ["error" in entry for entry in entries] == [True, False, False]


def test_json_has_what_the_tables_have(robot, tmp_path, capsys):
    path = carrying(robot, tmp_path / "bag", without_left(robot, 2.0, 3.0))
    assert main(["inspect", str(path), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["bags"]
    assert (entry["embodiment"], entry["reference"], entry["unused"]) == ("tiny", "/left", ["/unused"])
    assert entry["topics"]["/left"]["used_by"] == "stream left"
    assert entry["topics"]["/left"]["gaps"] == 1
    assert entry["episodes"][0]["outcome"] == "unknown"


def test_figures_fit_80_columns_and_names_cannot_drive_the_terminal(robot, tmp_path, monkeypatch, capsys):
    long = "/a_rather_long_namespace/of_a_camera/color/image_rect_raw/compressed"
    messages = [*robot.messages(2.0), (long, robot.start_ns + 3 * S, robot.string("x"))]
    path = robot.write(tmp_path / "bag", messages, types={long: "std_msgs/msg/String"})
    monkeypatch.setattr(verb, "PIPE_WIDTH", 80)
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(long) for line in lines)


def test_control_codes_of_a_task_are_not_printed(robot, tmp_path, capsys):
    start, end = robot.start_ns, robot.start_ns + 2 * S
    marks = [("/hpt/episode_events", start, robot.event(1, start, task="a\x1b[2Jb")),
             ("/hpt/episode_events", end, robot.event(2, end, task="a\x1b[2Jb"))]  # fmt: skip
    messages = sorted([*robot.messages(), *marks], key=lambda item: item[1])
    assert main(["inspect", str(robot.write(tmp_path / "bag", messages))]) == 0
    out = capsys.readouterr().out
    assert "task" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_600, "100 kB"), (999_600, "1.0 MB"), (5 * 10**12, "5000 GB")],
)  # fmt: skip
def test_sizes_have_few_digits(count, text):
    assert verb.bytes_text(count) == text


def test_a_camera_that_dies_on_the_way_and_one_that_starts_late_are_pointed_out(robot, tmp_path, capsys):
    messages = [
        (topic, log_ns, message)
        for topic, log_ns, message in robot.messages(6.0)
        if not (topic == "/left" and log_ns > robot.start_ns + 3 * S)
        and not (topic == "/right" and log_ns < robot.start_ns + 2 * S)
    ]
    assert main(["inspect", str(carrying(robot, tmp_path / "bag", messages))]) == 0
    out = capsys.readouterr().out
    assert "CHECK stream left: /left: ends 3.0 s before the bag does" in out
    assert "CHECK stream right: /right: begins 2." in out
    assert "ok    stream joints" in out


def test_the_recorders_own_topics_are_no_unused_ones_and_events_have_no_skew(robot, tmp_path):
    start, end = robot.start_ns, robot.start_ns + 2 * S
    marks = [("/hpt/episode_events", at, robot.event(kind, at)) for kind, at in ((1, start), (2, end))]
    path = robot.write(tmp_path / "bag", sorted([*robot.messages(), *marks], key=lambda item: item[1]))
    found = looked(path, robot.embodiment)
    assert found.unused == ["/unused"]
    assert found.topics["/hpt/episode_events"].skew_s is None
    assert found.topics["/left"].skew_s is not None
