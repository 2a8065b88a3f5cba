# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Damaged bags: one sentence and the bag left out, never a crash, a hang, a large allocation or a wrong file.

The damage is drawn from fixed seeds: bits flipped anywhere, files cut at any place and at every record's boundary,
sizes made huge, metadata made hostile.
"""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hostile_bags import add_good, copies, make_all, storage_file

from hpt_ros.errors import HptError
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.mcap_index import MAGIC
from rosbag_tools.reading.reader import Bag

# More than a small bag can ask for; a forged size of gigabytes would be far beyond.
MOST_BYTES = 4 << 30


KINDS = ["mcap", "zstd", "message", "file", "sqlite3", "ros1", "ros1_lz4", "ros1_bz2"]


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
        "file": robot.write(folder / "file", short, compression="file"),
        "sqlite3": robot.write(folder / "sqlite3", short, storage="sqlite3"),
        "ros1": robot.write_ros1(folder / "ros1.bag", short),
        "ros1_lz4": robot.write_ros1(folder / "ros1_lz4.bag", short, compression="lz4"),
        "ros1_bz2": robot.write_ros1(folder / "ros1_bz2.bag", short, compression="bz2"),
    }


def read_all(bag, recover):
    """Read everything as conversion does; returns the number of messages."""
    with Bag.open(bag, recover=recover) as opened:
        inspect(opened)
        opened.embodiment_text()
        return sum(1 for _ in opened.messages(list(opened.topics)))


def survives(bag):
    """Reading gives messages or one sentence, with and without recovery; returns the numbers of messages."""
    counts = []
    for recover in (False, True):
        try:
            counts.append(read_all(bag, recover))
        except HptError as error:
            text = str(error)
            assert "\n" not in text
            assert len(text) < 3000
            assert str(bag) in text
            counts.append(0)
    return counts


def flip(whole, tmp_path, kind, seed):
    random = np.random.default_rng([seed, len(kind)])
    data = bytearray(storage_file(whole[kind]).read_bytes())
    # A few bits anywhere, or many within the part that describes the rest.
    places = random.integers(0, len(data), 4) if seed % 2 else len(data) - random.integers(1, 2500, 12)
    for place in places:
        data[place] ^= 1 << int(random.integers(0, 8))
    survives(copies(whole[kind], tmp_path / "bag", data))


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits(whole, tmp_path, kind):
    for seed in range(8):
        flip(whole, tmp_path, kind, seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_flipped_bits(whole, tmp_path, kind):
    for seed in range(8, 400):
        flip(whole, tmp_path, kind, seed)


def cut(whole, tmp_path, kind, lengths):
    data = storage_file(whole[kind]).read_bytes()
    counts = []
    for length in lengths:
        plain, recovered = survives(copies(whole[kind], tmp_path / "bag", data[:length]))
        assert plain in (0, recovered)
        counts.append(recovered)
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_anywhere(whole, tmp_path, kind):
    size = storage_file(whole[kind]).stat().st_size
    counts = cut(
        whole, tmp_path, kind, [int(fraction * size) for fraction in (0.1, 0.3, 0.55, 0.8, 0.97, 0.999)]
    )
    assert counts == sorted(counts)  # the more is whole, the more is recovered


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_at_many_places(whole, tmp_path, kind):
    size = storage_file(whole[kind]).stat().st_size
    counts = cut(whole, tmp_path, kind, range(0, size, max(1, size // 700)))
    assert counts == sorted(counts)


def mcap_records(data):
    """Offsets of the records of an MCAP file, and of their lengths."""
    found, place = [], len(MAGIC)
    while place + 9 <= len(data) - len(MAGIC):
        found.append((place, place + 1, "<Q"))
        place += 9 + struct.unpack_from("<Q", data, place + 1)[0]
    return found


def ros1_records(data):
    """The same of a rosbag1 file, of a record's header and of its data."""
    found, place = [], 13
    while place < len(data):
        header = struct.unpack_from("<I", data, place)[0]
        found += [(place, place, "<I"), (place, place + 4 + header, "<I")]
        place += 8 + header + struct.unpack_from("<I", data, place + 4 + header)[0]
    return found


def sqlite3_records(data):
    """Pages of an SQLite file, and the fields of each that say where and how large things are."""
    return [
        (page, page + at, form)
        for page in range(0, len(data), 4096)
        for at, form in ((3, ">H"), (5, ">H"), (8, ">I"))
    ]


RECORDS = {
    "mcap": mcap_records,
    "zstd": mcap_records,
    "message": mcap_records,
    "sqlite3": sqlite3_records,
    "ros1": ros1_records,
    "ros1_lz4": ros1_records,
}


@pytest.mark.parametrize("kind", list(RECORDS))
def test_files_cut_at_every_record(whole, tmp_path, kind):
    data = storage_file(whole[kind]).read_bytes()
    places = sorted({place for place, _, _ in RECORDS[kind](data)})[1:]
    counts = cut(whole, tmp_path, kind, places)
    assert len(places) > 10
    assert counts == sorted(counts)
    if kind in ("mcap", "zstd", "message"):  # the others have no recovery
        assert counts[-1] > 200


@pytest.mark.parametrize("kind", list(RECORDS))
@pytest.mark.parametrize("claim", [1 << 20, 1 << 31, (1 << 64) - 1])
def test_records_that_claim_huge_sizes(whole, tmp_path, kind, claim):
    forge(whole, tmp_path, kind, claim, most=8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(RECORDS))
@pytest.mark.parametrize("claim", [0, 1, 255, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
def test_every_record_that_claims_another_size(whole, tmp_path, kind, claim):
    forge(whole, tmp_path, kind, claim, most=10_000)


def forge(whole, tmp_path, kind, claim, most):
    data = storage_file(whole[kind]).read_bytes()
    records = RECORDS[kind](data)
    for _, at, form in records[:: max(1, len(records) // most)]:
        forged = bytearray(data)
        if at + struct.calcsize(form) > len(forged):
            continue
        struct.pack_into(form, forged, at, claim & ((1 << 8 * struct.calcsize(form)) - 1))
        survives(copies(whole[kind], tmp_path / "bag", forged))


def test_bags_made_to_do_harm_are_left_out_and_the_rest_converted(robot, embodiment_file, tmp_path):
    """In a process of its own with little memory, since a crash is one of the things that must not happen."""
    names = make_all(robot, tmp_path / "bags")
    add_good(robot, tmp_path / "bags")
    code = """
        import resource, sys
        from hpt_ros.cli.main import main
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        sys.exit(main(sys.argv[1:]))
    """
    words = ["convert", str(tmp_path / "bags"), "--embodiment", str(embodiment_file), "--skip-bad"]
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *words, "--out", str(tmp_path / "out")],
        check=False, capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    report = json.loads((tmp_path / "out/meta/hpt/report.json").read_text())
    kept = {Path(entry["source"]).name for entry in report["episodes"]}
    assert {"0_good", "z_good"} <= kept
    skipped = {Path(name).name: sentence for name, sentence in report["skipped_bags"].items()}
    # The aliases do no harm where nothing looks at them; what is no file is not even a bag; files count, not metadata.
    harmless = {"metadata_of_aliases", "endless.mcap"}
    harmless |= {"metadata_of_words", "metadata_names_none", "metadata_leads_out"}
    assert set(names) - set(skipped) <= harmless
    assert kept - {"0_good", "z_good"} <= harmless
    for sentence in skipped.values():
        assert len(sentence) < 3000
        assert "\n" not in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bags", "out", "tiny.yaml"]


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
    report = convert([bag], tmp_path / "out", robot.embodiment)
    assert report.kept == report.ticks
    (entry,) = report.episodes
    assert len(entry.refused["joints"]) < 3000


def test_one_bad_bag_of_several_is_left_out_and_the_rest_converted(robot, whole, tmp_path):
    folder = tmp_path / "bags"
    for number in range(3):
        robot.write(folder / f"bag{number}", robot.messages(1.6 + 0.1 * number))
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
