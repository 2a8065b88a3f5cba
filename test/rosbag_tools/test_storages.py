# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags of every kind that recorders leave: rosbag1, split, compressed, without index or metadata, cut short."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import yaml

from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError, TruncatedBagError
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.mcap_index import MAGIC
from rosbag_tools.reading.reader import Bag

TOPICS = ["/left", "/joint_states", "/command"]


def expected(messages):
    return [(topic, log_ns) for topic, log_ns, _ in messages if topic in TOPICS]


def read(path, *, recover=False):
    """Topic and log time of the messages, and what the bag says of itself."""
    with Bag.open(path, recover=recover) as bag:
        return [(item.topic, item.log_ns) for item in bag.messages(TOPICS)], bag.recovered


def split(robot, folder, messages, *, parts=3, **how):
    """A bag of several files, as rosbag2 splits one."""
    folder.mkdir()
    size = -(-len(messages) // parts)
    whole = {}
    for number in range(parts):
        part = robot.write(folder / f"part{number}", messages[number * size : (number + 1) * size], **how)
        about = yaml.safe_load((part / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        (file,) = [path for path in part.iterdir() if path.name != "metadata.yaml"]
        endings = "".join(file.suffixes)
        file.rename(folder / f"{folder.name}_{number}{endings}")
        shutil.rmtree(part)
        about["relative_file_paths"] = [f"{folder.name}_{number}{endings}"]
        if not whole:
            whole = about
            continue
        whole["relative_file_paths"] += about["relative_file_paths"]
        whole["message_count"] += about["message_count"]
        end = about["starting_time"]["nanoseconds_since_epoch"] + about["duration"]["nanoseconds"]
        whole["duration"]["nanoseconds"] = end - whole["starting_time"]["nanoseconds_since_epoch"]
        counts = {item["topic_metadata"]["name"]: item for item in whole["topics_with_message_count"]}
        for item in about["topics_with_message_count"]:
            counts[item["topic_metadata"]["name"]]["message_count"] += item["message_count"]
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": whole}))
    return folder


@pytest.mark.parametrize("compression", ["", "bz2", "lz4"])
def test_rosbag1_reads_as_rosbag2(robot, tmp_path, compression):
    messages = robot.messages(2.0)
    path = robot.write_ros1(tmp_path / "a.bag", messages, compression=compression)
    found, note = read(path)
    assert (found, note) == (expected(messages), "")
    with Bag.open(path) as bag:
        assert bag.topics["/left"].type == "sensor_msgs/msg/Image"
        (first, *_) = bag.messages(["/joint_states"])
    wanted = next(message for topic, _, message in messages if topic == "/joint_states")
    np.testing.assert_array_equal(first.content.position, wanted.position)
    assert first.content.header.stamp.nanosec == wanted.header.stamp.nanosec


def test_rosbag1_and_rosbag2_convert_to_the_same(robot, tmp_path):
    import pyarrow.parquet as pq

    messages = robot.messages(3.0)
    bags = [robot.write_ros1(tmp_path / "a.bag", messages), robot.write(tmp_path / "b", messages)]
    tables = []
    for number, bag in enumerate(bags):
        assert convert([bag], tmp_path / f"out{number}", robot.embodiment).kept > 20
        tables.append(pq.read_table(tmp_path / f"out{number}/data/chunk-000/file-000.parquet"))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "storage"},
        {"compression": "file"},
        {"compression": "message"},
        {"storage": "sqlite3"},
        {"storage": "sqlite3", "compression": "file"},
        {"storage": "sqlite3", "compression": "message"},
    ],
)
def test_split_bags_read_as_one(robot, tmp_path, how):
    messages = robot.messages(3.0)
    bag = split(robot, tmp_path / "bag", messages, **how)
    assert find_bags([tmp_path]) == [bag]
    found, note = read(bag)
    assert (found, note) == (expected(messages), "")
    with Bag.open(bag) as opened:
        assert opened.topics["/joint_states"].count == 150
        assert (opened.start_ns, opened.end_ns) == (messages[0][1], messages[-1][1])
    (bag / "metadata.yaml").unlink()  # the recorder was killed
    assert find_bags([tmp_path]) == [bag]
    assert read(bag, recover=True)[0] == expected(messages)


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("how", [{}, {"compression": "file"}, {"storage": "sqlite3"}])
def test_a_split_bag_whose_last_file_is_cut_is_recovered_with_all_the_others(robot, tmp_path, how, metadata):
    messages = robot.messages(3.0)
    bag = split(robot, tmp_path / "bag", messages, **how)
    last = max(path for path in bag.iterdir() if path.name != "metadata.yaml")
    last.write_bytes(last.read_bytes()[: int(0.7 * last.stat().st_size)])
    if not metadata:
        (bag / "metadata.yaml").unlink()
    with pytest.raises(BagError, match=r"\.dump" if how.get("storage") else "--recover"):
        read(bag)
    found, note = read(bag, recover=True)
    assert found == expected(messages)[: len(found)]
    # A small compressed file is one block: all or nothing of it; and sqlite3 has no recovery here.
    least = 0.66 if how else 0.68
    assert least * len(expected(messages)) < len(found) < len(expected(messages))
    assert "recovered" in note or "left out" in note
    assert "bag_2" in note


def test_when_a_file_of_a_split_bag_is_missing_expect_it_named(robot, tmp_path):
    bag = split(robot, tmp_path / "bag", robot.messages(3.0))
    (bag / "bag_1.mcap").unlink()
    with pytest.raises(BagError, match=r"lacks bag_1\.mcap, which its metadata\.yaml names; copy it again"):
        read(bag)
    found, note = read(bag, recover=True)
    assert len(found) > 100
    assert "1 of its files are missing (bag_1.mcap)" in note


QOS = [
    "",
    "- history: 3\n  depth: 0\n  reliability: 1\n  durability: 2\n",
    "- history: keep_last\n  depth: 10\n  reliability: reliable\n  durability: transient_local\n",
    "- history: a_word_of_tomorrow\n  depth: -1\n",
    [{"history": "unknown", "depth": 0, "deadline": {"sec": 9223372036, "nsec": 854775807}}],
    None,
]


@pytest.mark.parametrize("qos", QOS, ids=range(len(QOS)))
@pytest.mark.parametrize("version", range(1, 10))
def test_a_split_bag_of_any_version_and_qos_names_its_missing_middle(robot, tmp_path, version, qos):
    messages = robot.messages(1.0)
    bag = split(robot, tmp_path / "bag", messages)
    place = bag / "metadata.yaml"
    content = yaml.safe_load(place.read_text())
    about = content["rosbag2_bagfile_information"]
    about["version"] = version
    for entry in about["topics_with_message_count"]:
        topic = entry["topic_metadata"]
        topic["offered_qos_profiles"] = qos
        if version < 4:
            del topic["offered_qos_profiles"]
        if version < 7:
            del topic["type_description_hash"]
    place.write_text(yaml.safe_dump(content))
    assert read(bag) == (expected(messages), "")
    (bag / "bag_1.mcap").unlink()
    with pytest.raises(BagError, match=r"lacks bag_1\.mcap, .*; copy it again"):
        read(bag)
    size = -(-len(messages) // 3)
    found, note = read(bag, recover=True)
    assert found == expected(messages[:size] + messages[2 * size :])
    assert "1 of its files are missing (bag_1.mcap)" in note


def test_a_split_bag_that_was_renamed_reads_as_before(robot, tmp_path):
    messages = robot.messages(3.0)
    bag = split(robot, tmp_path / "bag", messages)
    for number in range(3):
        (bag / f"bag_{number}.mcap").rename(bag / f"pick_{number}.mcap")
    found, note = read(bag)
    assert found == expected(messages)
    assert "'pick_0.mcap' is taken for 'bag_0.mcap'" in note


def active(path):
    """A rosbag1 file as its recorder leaves it when it is killed: no index, and none in the first record."""
    data = bytearray(path.read_bytes())
    place = data.index(b"index_pos=") + len(b"index_pos=")
    end = int.from_bytes(data[place : place + 8], "little")
    data[place : place + 8] = bytes(8)
    for name in (b"conn_count=", b"chunk_count="):
        at = data.index(name) + len(name)
        data[at : at + 4] = bytes(4)
    found = path.with_name(f"{path.name}.active")
    found.write_bytes(data[:end])
    path.unlink()
    return found


@pytest.mark.parametrize("recover", [True, False])
def test_when_a_rosbag1_has_no_index_expect_the_command_that_repairs_it(robot, tmp_path, recover):
    path = active(robot.write_ros1(tmp_path / "a.bag", robot.messages(1.0)))
    with pytest.raises(BagError, match=r"repair it with `rosbag reindex a\.bag\.active` of ROS 1, or copy"):
        read(path, recover=recover)


def test_when_a_rosbag1_is_cut_anywhere_expect_it_refused(robot, tmp_path):
    data = robot.write_ros1(tmp_path / "a.bag", robot.messages(1.0)).read_bytes()
    place = tmp_path / "cut.bag"
    for length in range(0, len(data), 701):
        place.write_bytes(data[:length])
        with pytest.raises(BagError):
            read(place, recover=True)


@pytest.mark.parametrize("recover", [True, False])
def test_when_a_sqlite3_file_is_cut_expect_the_command_that_repairs_it(robot, tmp_path, recover):
    bag = robot.write(tmp_path / "bag", robot.messages(8.0), storage="sqlite3")
    (file,) = bag.glob("*.db3")
    file.write_bytes(file.read_bytes()[: int(0.6 * file.stat().st_size)])
    with pytest.raises(
        BagError, match=r"`sqlite3 bag\.db3 \.dump \|.*\| sqlite3 repaired\.db3` and give repaired"
    ):
        read(bag, recover=recover)


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the program sqlite3 is not installed")
def test_when_the_command_for_sqlite3_is_run_expect_a_bag_that_reads(robot, tmp_path):
    messages = robot.messages(8.0)
    bag = robot.write(tmp_path / "bag", messages, storage="sqlite3")
    (file,) = bag.glob("*.db3")
    file.write_bytes(file.read_bytes()[: int(0.6 * file.stat().st_size)])
    with pytest.raises(TruncatedBagError) as refused:
        read(bag)
    command = re.search("`(.*)`", str(refused.value))[1]
    subprocess.run(["sh", "-c", command], cwd=bag, check=True)
    found, _ = read(bag / "repaired.db3")
    assert 10 < len(found) < len(expected(messages))


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_when_a_sqlite3_recorder_was_killed_expect_the_command_that_repairs_it(robot, tmp_path, journal):
    bag = robot.write(tmp_path / "bag", robot.messages(1.0), storage="sqlite3")
    (file,) = bag.glob("*.db3")
    (bag / "metadata.yaml").unlink()
    code = f"""
        import os, signal, sqlite3
        database = sqlite3.connect({str(file)!r})
        database.execute("PRAGMA journal_mode={journal}")
        database.execute("PRAGMA cache_size=2")
        row = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id DESC").fetchone()
        later = "INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)"
        database.executemany(later, [(row[0], row[1] + 100 + n, bytes(5000)) for n in range(500)])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(BagError, match=r"repair it with `sqlite3 "):
        read(bag, recover=True)


def without_summary(path, *, chunks=True):
    """Make an MCAP file as rosbag2's profile fastwrite does: no summary, and on request no chunks."""
    data = path.read_bytes()
    kept, place = bytearray(MAGIC), len(MAGIC)
    while data[place] != 0x0F:
        length = int.from_bytes(data[place + 1 : place + 9], "little")
        content = data[place + 9 : place + 9 + length]
        if data[place] == 0x06 and not chunks:
            size = int.from_bytes(content[28:32], "little")
            assert size == 0  # not compressed
            kept += content[40:]
        elif data[place] != 0x07 or chunks:
            kept += data[place : place + 9 + length]
        place += 9 + length
    kept += b"\x0f" + (4).to_bytes(8, "little") + bytes(4)
    kept += b"\x02" + (20).to_bytes(8, "little") + bytes(20) + MAGIC
    path.write_bytes(kept)


@pytest.mark.parametrize("chunks", [True, False])
def test_an_mcap_file_without_index_and_out_of_order_reads_in_order(robot, tmp_path, chunks):
    messages = robot.messages(2.0)
    written = list(messages)
    for index in range(0, len(written) - 1, 2):  # as several publishers' messages come
        written[index], written[index + 1] = written[index + 1], written[index]
    bag = robot.write(tmp_path / "bag", written)
    (file,) = bag.glob("*.mcap")
    without_summary(file, chunks=chunks)
    found, note = read(bag)
    assert found == expected(messages)
    assert "has no complete index: it was looked through" in note


def test_when_metadata_are_empty_expect_recovery_without_them(robot, tmp_path):
    bag = robot.write(tmp_path / "bag")
    (bag / "metadata.yaml").write_text("")  # a power failure
    with pytest.raises(BagError, match=r"its metadata\.yaml is damaged .*--recover"):
        read(bag)
    found, note = read(bag, recover=True)
    assert found == expected(robot.messages())
    assert "metadata.yaml is damaged" in note


def test_folders_at_any_depth_and_patterns_are_searched(robot, tmp_path):
    messages = robot.messages(0.1)
    one = robot.write(tmp_path / "all" / "monday" / "a", messages)
    two = robot.write_ros1(tmp_path / "all" / "monday" / "b.bag", messages)
    three = robot.write(tmp_path / "all" / "tuesday" / "c", messages)
    (tmp_path / "all" / "tuesday" / "loop").symlink_to(tmp_path / "all")
    assert find_bags([tmp_path / "all"]) == [one, two, three]
    assert find_bags([tmp_path / "all" / "*" / "a", tmp_path / "all"]) == [one, two, three]
    assert find_bags([f"{tmp_path}/**/*.bag"]) == [two]
    with pytest.raises(BagError, match=r"x\*' does not exist"):
        find_bags([tmp_path / "all" / "x*"])


def test_a_recovered_bag_converts(robot, tmp_path):
    bag = robot.write(tmp_path / "a", robot.messages(3.0))
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: int(0.9 * file.stat().st_size)])
    report = convert([bag], tmp_path / "out", robot.embodiment, Options(recover=True))
    assert report.kept > 20
    assert "was cut short" in report.recovered_bags[0]


def test_a_bag_without_definitions_uses_the_standard_ones(robot, tmp_path):
    """Old sqlite3 bags have none."""
    bag = robot.write(tmp_path / "bag", storage="sqlite3")
    (file,) = bag.glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE message_definitions")
        database.execute("DROP TABLE schema")
    database.close()
    (bag / "metadata.yaml").unlink()
    with Bag.open(bag) as opened:
        assert next(iter(opened.messages(["/joint_states"]))).content.name == ["b", "a"]
