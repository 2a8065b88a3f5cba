# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rosbag_tools.bag_schema import KEY_TASK, KEY_VERSION
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag
from rosbag_tools.recording.definitions import load_installed_types, share_folders
from rosbag_tools.recording.episode_recording import EpisodeRecording, RecordedTopic
from rosbag_tools.recording.rates import RateWatch

SECOND = 10**9


def recording(robot, folder, name="e1", topics=("/joint_states", "/left"), metadata=None):
    chosen = {topic: RecordedTopic(robot.topics[topic], reliable=False) for topic in topics}
    types = load_installed_types(entry.type for entry in chosen.values())
    return EpisodeRecording(folder, name, chosen, types, metadata or {KEY_TASK: "pour"})


def serialize(robot, topic, message):
    return bytes(robot.store.serialize_cdr(message, robot.topics[topic]))


def test_what_was_written_comes_back(robot, tmp_path):
    written = recording(robot, tmp_path)
    messages = [item for item in robot.messages(2.0) if item[0] in ("/joint_states", "/left")]
    for topic, log_ns, message in messages:
        written.write(topic, log_ns, serialize(robot, topic, message))
    assert written.counts == {"/joint_states": 100, "/left": 20}
    assert written.messages == 120
    assert written.finish({"more": "x"}) == tmp_path / "e1"
    with Bag.open(tmp_path / "e1") as bag:
        assert bag.custom == {KEY_TASK: "pour", "more": "x", KEY_VERSION: bag.custom[KEY_VERSION]}
        found = list(bag.messages(["/joint_states", "/left"]))
    assert [(item.topic, item.log_ns) for item in found] == [(topic, log_ns) for topic, log_ns, _ in messages]
    assert found[-1].content.header.stamp.nanosec == messages[-1][2].header.stamp.nanosec


def test_a_discarded_episode_is_gone(robot, tmp_path):
    written = recording(robot, tmp_path)
    written.write("/joint_states", 1, serialize(robot, "/joint_states", robot.joints(0.0, 1)))
    written.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_recorder_leaves_all_but_its_last_second(robot, tmp_path):
    """Joint states alone would fill a chunk of 1 MiB only after minutes."""
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {str(tmp_path)!r})
        from rosbag_tools.recording.definitions import load_installed_types
        from rosbag_tools.recording.episode_recording import EpisodeRecording, RecordedTopic
        types = load_installed_types(["sensor_msgs/msg/JointState"])
        topics = {{"/joint_states": RecordedTopic("sensor_msgs/msg/JointState")}}
        written = EpisodeRecording(__import__("pathlib").Path({str(tmp_path)!r}), "e1", topics, types, {{}})
        data = bytes.fromhex({serialize(robot, "/joint_states", robot.joints(0.0, 1)).hex()!r})
        for index in range(500):
            written.write("/joint_states", 10**18 + index * 20_000_000, data)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True, text=True
    )
    assert result.returncode == -9, result.stderr
    with Bag.open(tmp_path / "e1", recover=True) as bag:
        times = [message.log_ns for message in bag.messages(["/joint_states"])]
    assert times == [10**18 + index * 20_000_000 for index in range(len(times))]
    assert 450 <= len(times) < 500


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 200])
def test_when_the_name_is_no_file_name_expect_error(robot, tmp_path, name):
    with pytest.raises(BagError, match="is no plain file name"):
        recording(robot, tmp_path / "bags", name)
    assert list(tmp_path.iterdir()) == []


def test_when_the_bag_is_there_or_cannot_be_made_expect_error(robot, tmp_path):
    recording(robot, tmp_path).abort()
    with pytest.raises(BagError, match=r"e1' cannot be written \(.*exists already"):
        recording(robot, tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BagError, match="cannot be written"):
        recording(robot, tmp_path / "file")


def test_when_the_topic_is_unknown_expect_error(robot, tmp_path):
    written = recording(robot, tmp_path)
    with pytest.raises(BagError, match="unknown topic '/right'"):
        written.write("/right", 1, b"")
    written.abort()


def test_when_the_disk_is_full_expect_one_sentence(robot, tmp_path):
    written = recording(robot, tmp_path)
    written._writer.storage.bio.close()
    written._writer.storage.bio = Path("/dev/full").open("wb")  # noqa: SIM115 - closed below
    data = serialize(robot, "/left", robot.image(0, 1))

    def fill():
        for index in range(300):
            written.write("/left", 10**18 + index * 10**8, data)

    with pytest.raises(BagError, match=r"cannot be written \(.*No space left on device\); check the disk's"):
        fill()
    with pytest.raises(OSError, match="No space left"):
        written._writer.storage.bio.close()


def test_definitions_have_the_installations_own_hashes():
    types = ["hpt_msgs/msg/EpisodeEvent", "sensor_msgs/msg/Image", "trajectory_msgs/msg/JointTrajectory"]
    store = load_installed_types(types)
    checked = 0
    for name in store.fielddefs:
        package, _, short = name.partition("/msg/")
        (path,) = {
            folder / package / "msg" / f"{short}.json"
            for folder in share_folders()
            if (folder / package / "msg" / f"{short}.json").is_file()
        }
        hashes = {
            item["type_name"]: item["hash_string"] for item in json.loads(path.read_text())["type_hashes"]
        }
        assert store.hash_rihs01(name) == hashes[name]
        checked += 1
    assert checked >= 7


@pytest.mark.parametrize(
    "name", ["no_such_pkg/msg/Thing", "sensor_msgs/msg/Nothing", "../msg/x", "sensor_msgs/msg/../Image"]
)
def test_when_a_type_is_not_installed_expect_it_named(name):
    with pytest.raises(BagError, match="is not installed"):
        load_installed_types([name])


def count(watch, topic, start_ns, stop_ns, rate_hz):
    for index in range(round((stop_ns - start_ns) / SECOND * rate_hz)):
        watch.count(topic, start_ns + round(index * SECOND / rate_hz))


def test_rates_are_compared_window_by_window():
    watch = RateWatch({"/a": 10.0, "/b": 100.0, "/c": 10.0}, 0, 2.0)
    count(watch, "/a", 0, 2 * SECOND, 10)
    count(watch, "/b", 0, 2 * SECOND, 79)
    count(watch, "/c", 0, 2 * SECOND, 20)
    assert watch.check(2 * SECOND - 1) == []
    assert watch.check(2 * SECOND) == [
        "/b comes at 79.0 Hz, but the embodiment file says 100 Hz; check its node and the network",
        "/c comes at 20.0 Hz, but the embodiment file says 10 Hz; check its node, or whether two nodes publish it",
    ]
    for topic, rate_hz in watch.expected_hz.items():
        count(watch, topic, 2 * SECOND, 4 * SECOND, rate_hz)
    assert watch.check(4 * SECOND) == []


def test_a_topic_that_falls_silent_is_told_at_once_and_once():
    watch = RateWatch({"/a": 5.0, "/b": 100.0}, 0, 10.0)
    count(watch, "/a", 0, SECOND, 5)
    count(watch, "/b", 0, SECOND, 100)
    assert watch.check(SECOND + SECOND // 4) == []
    assert watch.check(SECOND + 6 * SECOND // 10) == [
        "/b is silent for 0.6 s; check its node and the network"
    ]
    assert watch.check(SECOND + 7 * SECOND // 10) == []
    assert watch.check(2 * SECOND) == ["/a is silent for 1.2 s; check its node and the network"]
    watch.count("/b", 2 * SECOND)
    assert watch.check(2 * SECOND) == ["/b comes again"]


def test_when_the_file_has_other_counts_than_were_written_expect_error(robot, tmp_path):
    written = recording(robot, tmp_path)
    for topic, log_ns, message in robot.messages(0.5):
        if topic in written.counts:
            written.write(topic, log_ns, serialize(robot, topic, message))
    written.counts["/left"] += 1  # as if one had been written and was not
    with pytest.raises(
        BagError, match=r"e1' has 5 messages of /left, but 6 were written; copy what you need"
    ):
        written.finish({})


def test_when_a_chunk_is_not_on_the_disk_expect_error(robot, tmp_path):
    written = recording(robot, tmp_path)
    for topic, log_ns, message in robot.messages(2.5):
        if topic in written.counts:
            written.write(topic, log_ns, serialize(robot, topic, message))
    with written.path.joinpath("e1.mcap").open("r+b") as file:  # the disk forgot it
        head = file.read(17)
        file.seek(17 + int.from_bytes(head[9:], "little"))
        assert file.read(1) == b"\x06"
        file.write(bytes(2000))
    with pytest.raises(BagError, match=r"e1' lacks the chunk at byte \d+; check the disk"):
        written.finish({})
