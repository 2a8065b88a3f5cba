# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is no bag is known by how it begins; and whoever does what a sentence says gets further."""

from __future__ import annotations

import gzip
import shutil
import sqlite3

import pytest

from hpt_ros.cli.main import main
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag


def plain(folder):
    """The one storage file of a bag."""
    (file,) = [path for path in folder.iterdir() if path.suffix != ".yaml"]
    return file


def pointer(robot, folder):
    bag = robot.write(folder / "bag")
    real = plain(bag)
    kept = shutil.move(real, folder / "kept")
    real.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    return bag, lambda: (shutil.move(kept, real), bag)[1]


def packed(robot, folder):
    file = plain(robot.write(folder / "bag"))
    place = folder / "episode.mcap.gz"
    place.write_bytes(gzip.compress(file.read_bytes()))
    unpacked = folder / "unpacked"

    def unpack():
        unpacked.mkdir()
        (unpacked / "episode.mcap").write_bytes(gzip.decompress(place.read_bytes()))
        return unpacked

    return place, unpack


def empty(robot, folder):
    bags = folder / "bags"
    robot.write(bags / "good")
    place = bags / "empty.mcap"
    place.touch()
    return place, lambda: (place.unlink(), bags)[1]


def not_listed(robot, folder):
    bag = robot.write(folder / "bag")
    file = plain(bag)
    file.rename(file.with_name("left.mcap"))
    shutil.copy(bag / "left.mcap", bag / "copy.mcap")
    return bag, lambda: bag / "left.mcap"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            pointer,
            "is a Git LFS pointer, not the file itself, and no bag; fetch the files with `git lfs pull`",
        ),
        (packed, "is an archive, and no bag; unpack it and give the folder"),
        (empty, "is an empty file, and no bag; copy it again, or leave it out"),
        (not_listed, "give the file itself, or name it as listed"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_when_a_remedy_is_followed_expect_to_get_further(robot, tmp_path, capsys, make, said):
    wrong, follow = make(robot, tmp_path)
    (tmp_path / "tiny.yaml").write_text(robot.text)
    command = ["--embodiment", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "data")]
    assert main(["convert", str(wrong), *command]) == 2
    assert said in capsys.readouterr().err
    assert main(["convert", str(follow()), *command]) == 0


@pytest.mark.parametrize("verb", ["inspect", "convert"])
@pytest.mark.parametrize(
    ("begin", "name"),
    [(b"\x89HDF\r\n\x1a\n", "an HDF5 file"), (b"PAR1", "a Parquet file")],
)
def test_when_a_file_is_of_another_kind_expect_the_kind_whatever_its_name(
    robot, tmp_path, capsys, verb, begin, name
):
    file = tmp_path / "episode.bag"
    file.write_bytes(begin + bytes(100))
    (tmp_path / "tiny.yaml").write_text(robot.text)
    out = (
        ["--embodiment", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "data")]
        if verb == "convert"
        else []
    )
    assert main([verb, str(file), *out]) == 2
    assert f"is {name}, and no bag" in capsys.readouterr().err


def test_when_bytes_are_damaged_expect_that_said_and_when_we_fail_a_report(robot, tmp_path, monkeypatch):
    bag = robot.write(tmp_path / "bag", storage="sqlite3")
    with sqlite3.connect(plain(bag)) as database:
        database.execute("DROP TABLE messages")
    with pytest.raises(BagError, match="it is damaged: copy or record it again"), Bag.open(bag):
        pass

    def broken(*given, **named):
        raise AttributeError("no such thing")

    monkeypatch.setattr("rosbag_tools.reading.bag_files.Sqlite3Source", broken)
    with (
        pytest.raises(BagError, match=r"AttributeError: no such thing.*please report this with the file"),
        Bag.open(bag),
    ):
        pass
