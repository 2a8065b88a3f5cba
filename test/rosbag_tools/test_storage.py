# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Opening bags without what `rosbags` repeats for each: the same content, and the same complaints."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from backports import zstd
from rosbags.rosbag2 import Reader

from rosbag_tools.bag_schema import KEY_TASK
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag


def content(path):
    """Everything that a bag says: topics, custom data, times, and each message's topic, time and stamp."""
    with Bag.open(path) as bag:
        messages = [(item.topic, item.log_ns, repr(item.content)) for item in bag.messages(list(bag.topics))]
        return bag.topics, bag.custom, bag.start_ns, bag.end_ns, messages


def edit(bag, change):
    path = bag / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    change(metadata["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(metadata))


@pytest.mark.parametrize(
    ("kind", "compression"),
    [("mcap", ""), ("mcap", "storage"), ("mcap", "message"), ("mcap", "file"), ("sqlite3", "")],
)
def test_what_is_read_is_what_rosbags_reads(robot, tmp_path, kind, compression):
    bag = robot.write(
        tmp_path / "bag", storage=kind, compression=compression, custom={KEY_TASK: "pour\nslowly"}
    )
    with Reader(bag) as reader:
        wanted = [(item.topic, log_ns, bytes(data)) for item, log_ns, data in reader.messages()]
        times = reader.start_time, reader.end_time - 1
    with Bag.open(bag) as opened:
        files = opened._files
        found = [(item.topic, log_ns, data) for item, log_ns, data in files.messages(files.channels)]
        assert (opened.start_ns, opened.end_ns) == times
        assert opened.custom[KEY_TASK] == "pour\nslowly"
    assert len(found) > 400
    assert found == wanted


@pytest.mark.parametrize("compression", ["storage", "message", "file"])
def test_every_compression_gives_the_same(robot, tmp_path, compression):
    plain = content(robot.write(tmp_path / "plain"))
    packed = content(robot.write(tmp_path / "packed", compression=compression))
    assert packed[4] == plain[4]
    assert packed[0] == plain[0]


def test_bags_of_the_same_robot_share_their_types(robot, tmp_path):
    one, two = robot.write(tmp_path / "one"), robot.write(tmp_path / "two", robot.messages(1.0))
    with Bag.open(one) as first, Bag.open(two) as second:
        kinds = [type(next(bag.messages(["/left"])).content) for bag in (first, second)]
    assert kinds[0] is kinds[1]


def test_a_topic_without_messages_is_told_from_one_that_is_not_there(robot, tmp_path):
    bag = robot.write(tmp_path / "bag")

    def announce(metadata):
        silent = dict(metadata["topics_with_message_count"][0])
        silent["topic_metadata"] = {
            **silent["topic_metadata"],
            "name": "/silent",
            "type": "std_msgs/msg/String",
        }
        metadata["topics_with_message_count"].append({**silent, "message_count": 0})

    edit(bag, announce)
    with Bag.open(bag) as opened:
        with pytest.raises(BagError, match="'/silent' of the test without a single message"):
            opened.require("/silent", "std_msgs/msg/String", "the test")
        with pytest.raises(BagError, match="lacks the topic '/absent'"):
            opened.require("/absent", "std_msgs/msg/String", "the test")
        assert list(opened.messages(["/silent"])) == []


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data.update(version=10), "version 10, but 1 to 9 was expected"),
        (lambda data: data.update(topics_with_message_count=[{}]), "cannot be read"),
        (lambda data: data.update(topics_with_message_count=3), "cannot be read"),
    ],
)
def test_when_the_metadata_do_not_fit_expect_one_sentence(bag, change, match):
    edit(bag, change)
    with pytest.raises(BagError, match=match), Bag.open(bag):
        pass


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(storage_identifier="tape"),  # the file itself says what it is
        lambda data: data.pop("topics_with_message_count"),
        lambda data: data.update(custom_data=None),
    ],
)
def test_what_the_metadata_get_wrong_is_taken_from_the_file(robot, bag, change):
    whole = content(bag)
    edit(bag, change)
    assert content(bag) == whole


@pytest.mark.parametrize(
    "text", ["", "{", "- 1", "rosbag2_bagfile_information: 3", "a: &a [*a, *a]", "!!python/object:x {}"]
)
def test_when_the_metadata_are_no_metadata_expect_one_sentence(bag, text):
    (bag / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match="cannot be read"), Bag.open(bag):
        pass


def test_a_path_in_the_metadata_does_not_leave_the_bag(robot, tmp_path):
    inner = robot.write(tmp_path / "bag")
    shutil.copy(inner / "bag.mcap", tmp_path / "outside.mcap")
    edit(inner, lambda data: data.update(relative_file_paths=["../outside.mcap"]))
    with Bag.open(inner) as opened:
        assert opened.recovered.endswith(
            "'bag.mcap' is taken for 'outside.mcap', which its metadata.yaml names"
        )
    (inner / "bag.mcap").unlink()
    with pytest.raises(BagError, match=r"lacks outside\.mcap, which its metadata\.yaml names; copy it again"):
        content(inner)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data.update(message_count=7), r"lists 7 messages, but its files have \d+"),
        (lambda data: data.update(message_count="many"), "lists many messages, but"),
        (lambda data: data.update(relative_file_paths=["gone.mcap"]), "'bag.mcap' is taken for 'gone.mcap'"),
        (lambda data: data.update(relative_file_paths=[]), "names no files: all 1 in its folder are taken"),
        (lambda data: data.pop("relative_file_paths"), "names no files: all 1 in its folder are taken"),
        (
            lambda data: data.update(relative_file_paths=["../../bag.db3"]),
            "'bag.mcap' is taken for 'bag.db3'",
        ),
    ],
)
def test_when_the_metadata_do_not_fit_the_files_expect_the_files_to_count(bag, change, match):
    whole = content(bag)
    edit(bag, change)
    assert content(bag) == whole
    with Bag.open(bag) as opened:
        assert re.search(match, opened.recovered)


def test_when_there_is_doubt_which_file_is_meant_expect_both_named(robot, bag):
    shutil.copy(bag / "bag.mcap", bag / "copy.mcap")
    edit(bag, lambda data: data.update(relative_file_paths=["gone.mcap"]))
    match = r"lacks gone\.mcap, .* names, but has bag\.mcap, copy\.mcap; give the file itself, or name it as listed"
    with pytest.raises(BagError, match=match):
        content(bag)


@pytest.mark.parametrize(
    "name",
    [
        "pick_red_cube.mcap",
        "pick",
        "a b.mcap",
        "a#b?c%20.mcap",
        "mit_Umlaut_ü.mcap",
        "BAG.MCAP",
        "bag.mcap.bak",
        "bag.db3",
    ],
)
@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_a_storage_file_is_known_by_what_it_is(robot, tmp_path, kind, name):
    plain = robot.write(tmp_path / "bag", robot.messages(0.5), storage=kind)
    (tmp_path / "odd # folder? with ü").mkdir()
    bag = plain.rename(tmp_path / "odd # folder? with ü" / "bag")
    whole = content(bag)
    (file,) = [path for path in bag.iterdir() if path.name != "metadata.yaml"]
    file = file.rename(bag / name)
    assert content(bag) == whole
    alone = content(file)
    assert (alone[0], alone[2:]) == (whole[0], whole[2:])


@pytest.mark.parametrize("change", ["decompressed", "listed without ending", "renamed by hand"])
@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_a_compressed_file_is_found_with_or_without_its_ending(robot, tmp_path, kind, change):
    bag = robot.write(tmp_path / "bag", storage=kind, compression="file")
    whole = content(bag)
    (file,) = bag.glob("*.zstd")
    if change == "decompressed":
        file.with_suffix("").write_bytes(zstd.decompress(file.read_bytes()))
        file.unlink()
    elif change == "listed without ending":
        edit(bag, lambda data: data.update(relative_file_paths=[file.stem]))
    else:
        file.rename(bag / file.stem)  # it is still compressed
    assert content(bag) == whole
