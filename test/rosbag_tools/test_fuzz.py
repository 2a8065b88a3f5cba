"""Damaged bags: one sentence and the bag left out, never a crash, a hang, a large allocation or a wrong file.

The damage is drawn from fixed seeds: bits flipped anywhere, files cut at any place and at every record's boundary,
sizes made huge, metadata made hostile.
"""

from __future__ import annotations

import resource
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from hpt_ros.errors import HptError
from rosbag_tools.convert import Options, convert
from rosbag_tools.errors import BagError
from rosbag_tools.inspection import inspect
from rosbag_tools.reader import Bag
from rosbag_tools.recovery import MAGIC

# More than a small bag can ask for; a forged size of gigabytes would be far beyond.
MOST_BYTES = 4 << 30


@pytest.fixture(autouse=True)
def little_memory():
    """A forged size must not be believed: allocations beyond `MOST_BYTES` more than now fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module")
def whole(robot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    short = robot.messages(1.5)
    return {
        "mcap": robot.write(folder / "mcap", short),
        "zstd": robot.write(folder / "zstd", short, compression="storage"),
        "message": robot.write(folder / "message", short, compression="message"),
        "sqlite3": robot.write(folder / "sqlite3", short, storage="sqlite3"),
    }


def storage_file(bag):
    (file,) = [path for path in bag.iterdir() if path.suffix in (".mcap", ".db3")]
    return file


def read_all(bag, recover):
    """Read everything as conversion does; returns the number of messages."""
    with Bag.open(bag, recover=recover) as opened:
        inspect(opened)
        opened.embodiment_text()
        return sum(1 for _ in opened.messages(list(opened.topics)))


def survives(bag):
    """Reading gives messages or one sentence, with and without recovery."""
    for recover in (False, True):
        try:
            assert read_all(bag, recover) >= 0
        except HptError as error:
            text = str(error)
            assert "\n" not in text
            assert str(bag) in text or "bag" in text


@pytest.mark.parametrize("kind", ["mcap", "zstd", "message", "sqlite3"])
@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits(whole, tmp_path, kind, seed):
    random = np.random.default_rng([seed, len(kind)])
    bag = shutil.copytree(whole[kind], tmp_path / "bag")
    file = storage_file(bag)
    data = bytearray(file.read_bytes())
    # A few bits anywhere, or many within the part that describes the rest.
    places = random.integers(0, len(data), 4) if seed % 2 else len(data) - random.integers(1, 2500, 12)
    for place in places:
        data[place] ^= 1 << int(random.integers(0, 8))
    file.write_bytes(data)
    survives(bag)


@pytest.mark.parametrize("kind", ["mcap", "zstd", "sqlite3"])
@pytest.mark.parametrize("seed", range(6))
def test_files_cut_anywhere(whole, tmp_path, kind, seed):
    bag = shutil.copytree(whole[kind], tmp_path / "bag")
    file = storage_file(bag)
    data = file.read_bytes()
    file.write_bytes(data[: int(np.random.default_rng(seed).integers(0, len(data)))])
    survives(bag)


def boundaries(data):
    """Offsets of the records of an MCAP file."""
    found, place = [], len(MAGIC)
    while place + 9 <= len(data) - len(MAGIC):
        found.append(place)
        place += 9 + struct.unpack_from("<Q", data, place + 1)[0]
    return found


def test_files_cut_at_every_record(whole, tmp_path):
    bag = shutil.copytree(whole["zstd"], tmp_path / "bag")
    file = storage_file(bag)
    data = file.read_bytes()
    counts = []
    places = boundaries(data)
    assert len(places) > 10
    for place in places[1:]:
        file.write_bytes(data[:place])
        with pytest.raises(BagError, match=r"cut short.*--recover"), Bag.open(bag):
            pass
        try:
            counts.append(read_all(bag, True))
        except BagError as error:
            assert "no messages" in str(error)
            counts.append(0)
    assert counts == sorted(counts)  # the more is whole, the more is recovered
    assert counts[-1] > 200


@pytest.mark.parametrize("claim", [1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
def test_records_that_claim_huge_sizes(whole, tmp_path, claim):
    data = storage_file(whole["mcap"]).read_bytes()
    places = boundaries(data)
    for number, place in enumerate(places[:: max(1, len(places) // 8)]):
        bag = shutil.copytree(whole["mcap"], tmp_path / f"bag{number}")
        forged = bytearray(data)
        struct.pack_into("<Q", forged, place + 1, claim)
        storage_file(bag).write_bytes(forged)
        survives(bag)


@pytest.mark.parametrize(
    "name",
    ["/../../etc/passwd", "/" + "a" * 1_000_000, "no slash", "/a\nb", "/\x1b[31mred", "/käse", "/a/../b", ""],
)
def test_hostile_topic_names_are_only_names(robot, tmp_path, name):
    message = robot.string("x")
    messages = [*robot.messages(1.5), *((name, robot.start_ns + index, message) for index in range(3))]
    types = {name: "std_msgs/msg/String"}
    bag = robot.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]), types=types)
    report = convert([bag], tmp_path / "out", robot.embodiment)
    assert report.kept > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "out"]


def test_a_text_of_megabytes_is_refused_and_counted_as_not_come(robot, tmp_path):
    messages = robot.messages(1.5)
    joints = [message for topic, _, message in messages if topic == "/joint_states"]
    joints[20].name[0] = "n" * 3_000_000
    bag = robot.write(tmp_path / "bag", messages)
    with pytest.raises(BagError) as caught:
        convert([bag], tmp_path / "out", robot.embodiment)
    assert len(str(caught.value)) < 3000
    assert not (tmp_path / "out").exists()


def test_one_bad_bag_of_several_is_left_out_and_the_rest_converted(robot, whole, tmp_path):
    folder = tmp_path / "bags"
    for number in range(3):
        robot.write(folder / f"bag{number}", robot.messages(1.6))
    broken = storage_file(folder / "bag1")
    data = bytearray(broken.read_bytes())
    part = slice(len(data) // 5, 3 * len(data) // 5)
    data[part] = b"\xff" * len(data[part])
    broken.write_bytes(data)
    report = convert([folder], tmp_path / "out", robot.embodiment, Options(skip_bad=True))
    kept = [entry.source for entry in report.episodes]
    assert [name for name in ("bag0", "bag1", "bag2") if any(name in path for path in kept)] == [
        "bag0",
        "bag2",
    ]
    assert list(report.skipped_bags) == [str(folder / "bag1")]
