# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag counts once, by whatever path, pattern or link it is met, and what cannot be looked into is named."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from hpt_ros.cli.main import main
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.reader import Bag


@pytest.fixture
def bags(robot, tmp_path):
    """Two bags in folders."""
    return [robot.write(tmp_path / "bags" / f"ep{n}", robot.messages(1.6 + 0.2 * n)) for n in range(2)]


@pytest.mark.parametrize("pattern", ["bags/**", "bags/*", "bags/ep*/*.mcap", "bags/**/*", "b*/**"])
def test_a_pattern_gives_each_bag_once(bags, tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    found = find_bags([pattern])
    assert [path.stem for path in found] == ["ep0", "ep1"]
    twice = find_bags(["bags/ep1/ep1.mcap", pattern, "bags", tmp_path / "bags" / "ep0"])
    assert sorted(map(str, twice)) == ["bags/ep0", "bags/ep1"]


def test_a_link_to_a_bag_is_followed_once_and_others_are_named(bags, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    (links / "a").symlink_to("../bags/ep0")
    (links / "b").symlink_to(tmp_path / "bags" / "ep0")
    (links / "c.mcap").symlink_to(tmp_path / "bags" / "ep1" / "ep1.mcap")
    (links / "up").symlink_to(tmp_path)
    (links / "broken").symlink_to("nowhere")
    os.link(tmp_path / "bags" / "ep1" / "ep1.mcap", links / "hard.mcap")
    notes = []
    assert find_bags([links], notes.append) == [links / "a", links / "c.mcap"]
    assert notes == [f"the link '{links / 'up'}' leads to a folder that is no bag, and is not followed"]
    assert find_bags([links, tmp_path / "bags"]) == [links / "a", tmp_path / "bags" / "ep1"]
    only_up = tmp_path / "only"
    only_up.mkdir()
    (only_up / "up").symlink_to(tmp_path)
    with pytest.raises(BagError, match=r"holds none \(the link '.*up' leads to a folder that is no bag"):
        find_bags([only_up])


def test_endings_in_capitals_are_bags(robot, tmp_path):
    for kind, name in (("mcap", "EPISODE.MCAP"), ("sqlite3", "Episode.Db3")):
        bag = robot.write(tmp_path / kind, robot.messages(0.5), storage=kind)
        (file,) = [path for path in bag.iterdir() if path.name != "metadata.yaml"]
        file.rename(tmp_path / name)
        shutil.rmtree(bag)
        with Bag.open(tmp_path / name) as opened:
            assert opened.topics["/left"].count == 5
    assert find_bags([tmp_path]) == [tmp_path / "EPISODE.MCAP", tmp_path / "Episode.Db3"]


AS_NOBODY = """
import os, sys
from rosbag_tools.errors import BagError
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.reader import Bag
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for path in sys.argv[1:]:
    try:
        for bag in find_bags([path], print):
            with Bag.open(bag, recover=True) as opened:
                print("read", bag.name)
    except BagError as error:
        print(error)
"""


def test_what_may_not_be_read_is_passed_over_and_named(bags, robot, tmp_path):
    lost, locked = tmp_path / "bags" / "lost+found", robot.write(tmp_path / "locked", robot.messages(0.5))
    lost.mkdir()
    half = robot.write(tmp_path / "half", robot.messages(0.5))
    pathlib.Path(half / "half.mcap").chmod(0)
    no_metadata = robot.write(tmp_path / "no_metadata", robot.messages(0.5))
    pathlib.Path(no_metadata / "metadata.yaml").chmod(0)
    parent = tmp_path
    while parent.stat().st_uid == os.geteuid() and parent != parent.parent:
        pathlib.Path(parent).chmod(0o755)
        parent = parent.parent
    pathlib.Path(lost).chmod(0)
    pathlib.Path(locked).chmod(0)
    try:
        paths = [tmp_path / "bags", locked, half, no_metadata]
        found = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, *map(str, paths)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        pathlib.Path(lost).chmod(0o755)
        pathlib.Path(locked).chmod(0o755)
    assert found.stderr == ""
    lines = found.stdout.splitlines()
    assert lines[0] == f"'{lost}' cannot be read (Permission denied), and is passed over"
    assert lines[1:3] == ["read ep0", "read ep1"]
    for line, place in zip(
        lines[3:], (locked, half / "half.mcap", no_metadata / "metadata.yaml"), strict=True
    ):
        assert str(place) in line
        assert "cannot be read (Permission denied); correct its permissions" in line


def test_a_copy_counts_once_and_is_named(robot, bags, tmp_path, embodiment_file, capsys):
    shutil.copytree(bags[0], tmp_path / "bags" / "ep9_backup")
    words = [
        "convert",
        str(tmp_path / "bags"),
        "--embodiment",
        str(embodiment_file),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "out: 2 episodes" in out
    assert "ep9_backup' is a copy of '" in out


@pytest.mark.parametrize("how", ["moved", "as a file", "linked", "compressed", "by another name"])
def test_a_bag_that_is_in_the_dataset_is_known_wherever_it_lies(robot, bags, tmp_path, how):
    from backports import zstd

    out, place = tmp_path / "out", tmp_path / "disk"
    convert(bags, out, robot.embodiment)
    if how == "linked":
        place.symlink_to(tmp_path / "bags")
    else:
        shutil.move(tmp_path / "bags", place)
    if how == "as a file":
        for bag in place.iterdir():
            (bag / "metadata.yaml").unlink()
    elif how == "compressed":
        for file in place.glob("*/*.mcap"):
            file.with_name(f"{file.name}.zstd").write_bytes(zstd.compress(file.read_bytes()))
            file.unlink()
    elif how == "by another name":
        for bag in place.iterdir():
            bag.rename(place / f"monday_{bag.name}")
    with pytest.raises(BagError, match="all 2 bags are in the dataset"):
        convert([place], out, robot.embodiment, Options(append=True))
    robot.write(tmp_path / "new", robot.messages(2.5))
    report = convert([place, tmp_path / "new"], out, robot.embodiment, Options(append=True))
    assert [entry.source for entry in report.episodes] == [str(tmp_path / "new")]


def test_a_new_bag_at_the_place_of_an_old_one_is_new(robot, bags, tmp_path):
    out = tmp_path / "out"
    convert(bags, out, robot.embodiment)
    shutil.rmtree(bags[0])
    robot.write(bags[0], robot.messages(1.7, start_ns=robot.start_ns + 10**12))
    report = convert(bags, out, robot.embodiment, Options(append=True))
    assert [entry.source for entry in report.episodes] == [str(bags[0])]
