# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.refused import refused

from hpt_ros.cli.main import main
from hpt_ros.dataset.metadata import read_image_sizes
from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.errors import Code
from rosbag_tools.bag_schema import EVENTS_TOPIC, KEY_EMBODIMENT, KEY_OUTCOME, KEY_TASK
from rosbag_tools.bootstrap.first_embodiment import write_first_embodiment
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.segmentation import minimum_ticks
from rosbag_tools.errors import BagError, TruncatedBagError
from rosbag_tools.reading.reader import Bag

MS = 1_000_000


def listing(folder):
    """Names in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


SIZES = {"left": [16, 24], "right": [32, 48]}  # as the robot's cameras send them


def rows(out):
    return pq.read_table(out / "data/chunk-000/file-000.parquet").to_pylist()


def tasks(out):
    return pq.read_table(out / "meta/tasks.parquet").to_pydict()["__index_level_0__"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_becomes_an_episode(robot, tmp_path, storage):
    bag = robot.write(tmp_path / "bag", storage=storage)
    report = convert([bag], tmp_path / "out", robot.embodiment)
    found = rows(tmp_path / "out")
    assert report.kept == len(found) >= 28
    assert tasks(tmp_path / "out") == ["push the button"]
    states = np.array([row["observation.state"] for row in found])
    actions = np.array([row["action"] for row in found])
    np.testing.assert_allclose(np.diff(states[:, 1]), 0.1, atol=1e-5)  # joint b is the time
    np.testing.assert_allclose(actions[:, 1], states[:, 1], atol=1e-6)  # so is the command of a
    (entry,) = report.episodes
    # At the start not every stream has come yet; each tick without one is counted.
    lost = entry.ticks - entry.kept
    assert 0 <= lost <= 2
    assert (
        max([item.ticks for item in entry.dropped.values()], default=0)
        <= lost
        <= sum(item.ticks for item in entry.dropped.values())
    )
    assert [(span.episode_index, span.ticks) for span in entry.spans] == [(0, entry.kept)]
    assert entry.image_sizes == SIZES
    assert read_image_sizes(tmp_path / "out") == {name: [size] for name, size in SIZES.items()}
    assert json.loads((tmp_path / "out/meta/hpt/report.json").read_text()) == json.loads(
        json.dumps(report.as_mapping())
    )


def test_pictures_are_those_of_their_ticks(robot, bag, tmp_path):
    import av

    convert([bag], tmp_path / "out", robot.embodiment)
    times = [row["observation.state"][1] for row in rows(tmp_path / "out")]
    for name, sign in (("left", 1), ("right", -1)):
        path = tmp_path / f"out/videos/observation.images.{name}/chunk-000/file-000.mp4"
        with av.open(str(path)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(pictures) == len(times)
        for time_s, picture in zip(times, pictures, strict=True):
            index = round(time_s * 10)  # picture i is stamped 7 ms before tick i
            level = 20 + 60 * (index % 4)
            expected = level if sign > 0 else 255 - level
            assert np.abs(picture.astype(int) - expected).max() <= 6


def test_any_number_of_workers_gives_the_same_bytes(robot, tmp_path):
    bags = [robot.write(tmp_path / f"bags/{index}", robot.messages(1.6 + 0.3 * index)) for index in range(3)]
    convert([tmp_path / "bags"], tmp_path / "one", robot.embodiment)
    convert(bags, tmp_path / "two", robot.embodiment, Options(workers=2))
    paths = sorted(
        path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()
    )
    assert len(paths) == 9
    for path in paths:
        if path.name == "report.json":
            continue  # names the bags as they were given
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


def test_a_gap_splits_the_span_and_short_spans_are_dropped(robot, tmp_path):
    messages = [
        item
        for item in robot.messages(5.0)
        if item[0] != "/left"
        or not any(
            low * MS < item[1] - robot.start_ns < high * MS for low, high in ((2000, 2600), (3000, 3500))
        )
    ]
    report = convert([robot.write(tmp_path / "bag", messages)], tmp_path / "out", robot.embodiment)
    (entry,) = report.episodes
    assert [span.episode_index for span in entry.spans] == [0, -1, 1]
    assert all(
        span.ticks >= minimum_ticks(robot.embodiment) for span in entry.spans if span.episode_index >= 0
    )
    assert entry.too_short == entry.spans[1].ticks == 5
    assert entry.dropped["left"].ticks >= 7
    assert (
        "tolerance 0.15 s" in entry.dropped["left"].most_frequent
        or "never seen" in entry.dropped["left"].most_frequent
    )
    found = rows(tmp_path / "out")
    assert [row["frame_index"] for row in found if row["episode_index"] == 1] == list(
        range(entry.spans[2].ticks)
    )
    for number in (0, 1):
        times = [row["observation.state"][1] for row in found if row["episode_index"] == number]
        np.testing.assert_allclose(np.diff(times), 0.1, atol=1e-5)


def test_markers_outcomes_and_tasks(robot, tmp_path):
    base = robot.start_ns
    marks = [(1, 0, 0), (2, 1500, 1), (1, 1600, 0), (2, 3200, 2), (1, 3300, 0), (3, 4900, 0)]
    events = [
        (EVENTS_TOPIC, base + at * MS, robot.event(kind, base + at * MS, outcome))
        for kind, at, outcome in marks
    ]
    bag = robot.write(tmp_path / "bag", sorted(robot.messages(5.0) + events, key=lambda item: item[1]))
    report = convert([bag], tmp_path / "some", robot.embodiment)
    assert report.count_left_out() == {"failure": 1, "discarded": 1}
    assert tasks(tmp_path / "some") == ["from the marker"]
    assert {row["episode_index"] for row in rows(tmp_path / "some")} == {0}
    options = Options(keep_failures=True, task="given")
    report = convert([bag], tmp_path / "more", robot.embodiment, options)
    assert report.count_left_out() == {"discarded": 1}
    assert tasks(tmp_path / "more") == ["given"]
    assert {row["episode_index"] for row in rows(tmp_path / "more")} == {0, 1}


def test_a_recorded_episode_of_which_nothing_was_kept_is_told(robot, tmp_path):
    whole = robot.write(tmp_path / "whole", robot.messages(3.0))
    short = robot.write(tmp_path / "short", robot.messages(0.9))
    report = convert([whole, short], tmp_path / "out", robot.embodiment)
    assert report.count_left_out() == {"nowhere 10 whole ticks in a row": 1}
    assert {row["episode_index"] for row in rows(tmp_path / "out")} == {0}


def test_the_bags_own_embodiment_is_used_when_none_is_given(robot, tmp_path):
    custom = {KEY_EMBODIMENT: robot.embodiment.to_yaml(), KEY_TASK: "recorded task", KEY_OUTCOME: "success"}
    convert([robot.write(tmp_path / "bag", custom=custom)], tmp_path / "out")
    assert tasks(tmp_path / "out") == ["recorded task"]
    assert (tmp_path / "out/meta/hpt/embodiment.yaml").read_text() == robot.embodiment.to_yaml()


def test_when_no_embodiment_is_known_expect_error(bag, tmp_path):
    with pytest.raises(BagError, match="carries no embodiment; pass --embodiment FILE"):
        convert([bag], tmp_path / "out")


def test_when_only_the_tolerance_was_chosen_anew_expect_the_bag_to_convert(robot, tmp_path):
    other = robot.text.replace("tolerance_s: 0.1, joints", "tolerance_s: 0.2, joints")
    bag = robot.write(tmp_path / "bag", custom={KEY_EMBODIMENT: other})
    assert convert([bag], tmp_path / "out", robot.embodiment).episodes


def test_when_the_bag_is_of_another_robot_expect_field_and_both_values(robot, tmp_path):
    other = robot.text.replace("joints: [a, b]", "joints: [a, z]")
    bag = robot.write(tmp_path / "bag", custom={KEY_EMBODIMENT: other})
    with refused(
        EmbodimentError,
        Code.MISMATCH,
        problem="streams.joints.joints is ['a', 'z'] in the first and ['a', 'b']",
    ):
        convert([bag], tmp_path / "out", robot.embodiment)
    assert not (tmp_path / "out").exists()


def without(robot, topic):
    return [item for item in robot.messages(2.0) if item[0] != topic]


def test_one_bad_bag_of_many_stops_before_anything_is_written(robot, tmp_path):
    good = robot.write(tmp_path / "a", robot.messages(2.0))
    bad = robot.write(tmp_path / "b", without(robot, "/left"))
    with pytest.raises(BagError, match="bag '.*b' lacks the topic '/left'"):
        convert([good, bad], tmp_path / "out", robot.embodiment)
    assert listing(tmp_path) == ["a", "b"]


def test_skip_bad_leaves_it_out_and_says_so(robot, tmp_path):
    good = robot.write(tmp_path / "a", robot.messages(2.0))
    bad = robot.write(tmp_path / "b", without(robot, "/left"))
    worse = robot.write(tmp_path / "c", robot.messages(2.0), compression="storage")
    (file,) = worse.glob("*.mcap")
    data = bytearray(file.read_bytes())
    data[2000:2400] = bytes(400)
    file.write_bytes(data)
    options = Options(skip_bad=True)
    report = convert([bad, good, worse], tmp_path / "out", robot.embodiment, options)
    assert list(report.skipped_bags) == [str(bad), str(worse)]
    assert {row["episode_index"] for row in rows(tmp_path / "out")} == {0}
    with pytest.raises(BagError, match="none of the bags can be converted: bag '.*b' lacks"):
        convert([bad], tmp_path / "none", robot.embodiment, options)


def test_wrong_joint_names_stop_the_conversion_and_leave_nothing(robot, tmp_path):
    messages = robot.messages(2.0)
    for topic, _, message in messages:
        if topic == "/joint_states":
            message.name = ["b", "shoulder"]
    bag = robot.write(tmp_path / "bag", messages)
    with pytest.raises(
        BagError, match=r"bag '.*bag': stream 'joints' .* lacks the joint 'a'; the message has b, shoulder"
    ):
        convert([bag], tmp_path / "out", robot.embodiment)
    assert listing(tmp_path) == ["bag"]


def test_a_cut_bag_is_an_error_and_converts_with_recover(robot, tmp_path):
    messages = robot.messages(6.0)
    random = np.random.default_rng(0)
    for topic, _, message in messages:
        if topic == "/unused":
            message.data = random.bytes(6000).hex()
    bag = robot.cut(robot.write(tmp_path / "bag", messages), 0.7)
    with pytest.raises(TruncatedBagError, match="was cut short"):
        convert([bag], tmp_path / "out", robot.embodiment)
    assert listing(tmp_path) == ["bag"]
    report = convert([bag], tmp_path / "out", robot.embodiment, Options(recover=True))
    assert "was cut short: recovered" in report.recovered_bags[0]
    assert 20 < report.kept < 45


def test_when_log_times_are_of_another_clock_expect_it_explained(robot, tmp_path):
    messages = [
        (topic, log_ns - robot.start_ns + 10**9, message) for topic, log_ns, message in robot.messages(2.0)
    ]
    bag = robot.write(tmp_path / "bag", messages)
    with pytest.raises(
        BagError, match=r"whose stamps are 1699999999 s ahead of .*--ignore-arrival.*use_sim_time"
    ):
        convert([bag], tmp_path / "out", robot.embodiment)


def test_when_nothing_is_left_expect_the_reasons(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", robot.messages(0.8))
    with pytest.raises(BagError, match=r"no episode is left to write .*ticks in spans of fewer than 10"):
        convert([bag], tmp_path / "out", robot.embodiment)
    failed = robot.write(tmp_path / "failed", custom={KEY_OUTCOME: "failure"})
    with pytest.raises(BagError, match="1 episode left out as failure"):
        convert([failed], tmp_path / "out", robot.embodiment)
    assert listing(tmp_path) == ["bag", "failed"]


def test_memory_does_not_grow_with_the_bag(robot, tmp_path):
    """What waits between messages stays small, however long the recording."""
    from rosbag_tools.converting.resample import Resampler

    resampler = Resampler(robot.embodiment)
    most = 0
    for topic, log_ns, message in robot.messages(30.0):
        resampler.push(topic, message, log_ns)
        most = max(most, len(resampler._waiting))
    assert most <= 3


def test_actions_may_be_the_next_measured_position(robot, tmp_path):
    messages = [item for item in robot.messages() if item[0] != "/command"]
    bag = robot.write(tmp_path / "bag", messages)
    report = convert([bag], tmp_path / "out", robot.embodiment, Options(action_source="state"))
    found = rows(tmp_path / "out")
    states = np.array([row["observation.state"] for row in found])
    actions = np.array([row["action"] for row in found])
    # The action's joints are b, a; the state's a, b and then their velocities.
    np.testing.assert_array_equal(actions[:-1], states[1:, [1, 0]])
    np.testing.assert_allclose(actions[-1], [states[-1, 1] + 0.1, np.sin(states[-1, 1] + 0.1)], atol=2e-4)
    (entry,) = report.episodes
    assert entry.dropped["action"].ticks <= 2
    assert "no whole tick comes after it" in entry.dropped["action"].most_frequent
    assert json.loads((tmp_path / "out/meta/hpt/report.json").read_text())["action_source"] == "state"


def test_a_gap_costs_the_action_before_it(robot, tmp_path):
    lost = range(15, 19)
    messages = [
        item
        for item in robot.messages(4.0)
        if item[0] != "/left" or round((item[1] - robot.start_ns) / 1e8) not in lost
    ]
    bag = robot.write(tmp_path / "bag", messages)
    command = convert([bag], tmp_path / "command", robot.embodiment)
    state = convert([bag], tmp_path / "state", robot.embodiment, Options(action_source="state"))
    spans = [[span.ticks for span in report.episodes[0].spans] for report in (command, state)]
    assert len(spans[0]) == 2
    assert spans[1][0] == spans[0][0] - 1


@pytest.mark.parametrize(
    ("options", "code", "subject", "value"),
    [
        ({"action_source": "states"}, Code.UNKNOWN, "action source", "states"),
        ({"longest_rest_s": 0.5}, Code.OUT_OF_RANGE, "longest rest", 0.5),
        ({"longest_rest_s": float("nan")}, Code.OUT_OF_RANGE, "longest rest", "nan"),
    ],
)
def test_when_an_option_is_wrong_expect_its_value(options, code, subject, value):
    with refused(BagError, code, subject=subject, value=value):
        Options(**options)


def test_when_a_joint_is_not_measured_expect_it_named_before_anything_is_written(robot, bag, tmp_path):
    text = robot.text.replace("joints: [a, b]", "joints: [a]")
    with refused(EmbodimentError, Code.INVALID, subject="embodiment 'tiny'", value="b"):
        convert([bag], tmp_path / "out", Embodiment.loads(text), Options(action_source="state"))
    assert listing(tmp_path) == ["bag"]


def with_empties(robot):
    """A recording whose first joint state and first command are empty, as a driver and a teleoperator begin."""
    at_ns = robot.start_ns
    joints, command = robot.joints(0.0, at_ns, ()), robot.command(0.0, at_ns, ())
    joints.velocity, command.points = np.zeros(0), []
    return [("/joint_states", at_ns, joints), ("/command", at_ns, command), *robot.messages()]


def test_when_messages_are_empty_expect_the_ticks_of_the_others(robot, tmp_path):
    plain = convert([robot.write(tmp_path / "plain")], tmp_path / "out", robot.embodiment)
    found = convert([robot.write(tmp_path / "bag", with_empties(robot))], tmp_path / "out2", robot.embodiment)
    assert found.kept == plain.kept
    assert rows(tmp_path / "out2") == rows(tmp_path / "out")


def test_when_a_bag_begins_with_empty_messages_expect_the_first_file_to_have_its_joints(robot, tmp_path):
    with Bag.open(robot.write(tmp_path / "bag", with_empties(robot))) as bag:
        found = Embodiment.loads(write_first_embodiment(bag).text)
    assert found.state_names == ("b.position", "a.position")
    assert found.action.names == ("a", "b")


def test_when_images_change_their_size_expect_it_in_the_report_and_said(robot, tmp_path, capsys):
    messages = robot.messages()
    for topic, log_ns, message in messages:
        if topic == "/left" and log_ns > robot.start_ns + 1500 * MS:
            message.height, message.data = 8, message.data[: 8 * message.step]
    path = robot.write(tmp_path / "bag", messages, custom={KEY_EMBODIMENT: robot.text})
    report = convert([path], tmp_path / "out")
    assert report.episodes[0].resized == {"left": "from 24x16 to 24x8 pixels"}
    assert main(["convert", str(path), "--out", str(tmp_path / "out2")]) == 0
    assert "the images of left changed from 24x16 to 24x8 pixels" in capsys.readouterr().out


def test_two_arms_with_equal_joint_names_are_one_robot(robot, tmp_path):
    text = robot.text.replace("joints: [a, b]", "prefix: left/, joints: [a, b]")
    second = text[text.index("  - {name: joints") : text.index("action:")]
    second = (
        second.replace("joints,", "others,", 1)
        .replace("/joint_states", "/other_states")
        .replace("left/", "right/")
    )
    kind = robot.topics["/command"]
    outputs = "".join(
        f"    - {{name: {side}, topic: /{topic}, type: {kind}, prefix: {side}/, names: [b, a]}}\n"
        for side, topic in (("left", "command"), ("right", "other_command"))
    )
    limits = "".join(
        f"    - {{name: {side}/{joint}, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 1.0}}\n"
        for side in ("left", "right")
        for joint in "ba"
    )
    head = text[: text.index("action:")] + second
    two = Embodiment.loads(
        f"{head}action:\n  rate_hz: 50.0\n  horizon: 4\n  outputs:\n{outputs}  limits:\n{limits}"
    )
    others = {"/joint_states": "/other_states", "/command": "/other_command"}
    messages = robot.messages()
    messages += [
        (others[topic], log_ns + 1, message) for topic, log_ns, message in messages if topic in others
    ]
    types = {other: robot.topics[topic] for topic, other in others.items()}
    bag = robot.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]), types=types)
    convert([bag], tmp_path / "out", two)
    found = rows(tmp_path / "out")
    states, actions = (np.array([row[name] for row in found]) for name in ("observation.state", "action"))
    assert (states.shape[1], actions.shape[1]) == (8, 4)
    np.testing.assert_array_equal(states[:, :4], states[:, 4:])
    np.testing.assert_array_equal(actions[:, :2], actions[:, 2:])
    assert np.ptp(states[:, 5]) > 1.0
    names = json.loads((tmp_path / "out/meta/info.json").read_text())["features"]["action"]["names"]
    assert "right/a" in json.dumps(names)
