# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files and folders are at their place whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from support.refused import refused

from hpt_ros.atomic import clear_leftovers, make_beside, move, new_folder, replace_atomically
from hpt_ros.errors import Code, HptError


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("old", ["", "a file"])
def test_a_file_is_replaced_when_the_block_ends_well(tmp_path, old):
    place = tmp_path / "deep" / "file.bin"
    if old:
        place.parent.mkdir()
        place.write_text(old)
    with replace_atomically(place) as work:
        work.write_text("new")
        work.chmod(0o600)
        assert place.exists() == bool(old)
    assert (place.read_text(), mode(place)) == ("new", 0o644)
    assert below(tmp_path) == ["deep", "deep/file.bin"]


@pytest.mark.parametrize("failure", [OSError("full"), KeyboardInterrupt()])
def test_when_the_block_fails_expect_what_was_there(tmp_path, failure):
    place = tmp_path / "folder"
    place.mkdir()
    (place / "old").touch()

    def fail():
        with replace_atomically(place) as work:
            work.mkdir()
            (work / "new").touch()
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert below(tmp_path) == ["folder", "folder/old"]


@pytest.mark.parametrize("there", ["folder", "link", "file"])
def test_a_folder_takes_the_place_of_whatever_is_there(tmp_path, there):
    place, kept = tmp_path / "place", tmp_path / "kept"
    kept.mkdir()
    (kept / "old").touch()
    if there == "folder":
        place.mkdir()
        (place / "old").touch()
    elif there == "link":
        place.symlink_to(kept)
    else:
        place.touch()
    with replace_atomically(place) as work:
        work.mkdir()
        (work / "new").touch()
    assert not place.is_symlink()
    assert below(tmp_path) == ["kept", "kept/old", "place", "place/new"]
    assert mode(place) == 0o755


def test_when_the_name_cannot_be_taken_expect_the_old_one_back(tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").touch()
    made = make_beside(place)
    rename = Path.rename

    def failing(path, target):
        if path == made:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no"):
        move(made, place)
    assert below(place) == ["old"]
    assert not list(tmp_path.glob(".*.old-*"))


def test_a_new_folder_replaces_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty", HptError) as work:
        (work / "new").touch()
    assert below(tmp_path) == ["empty", "empty/new"]
    with refused(HptError, Code.EXISTS, subject="empty"), new_folder(tmp_path / "empty", HptError):
        raise AssertionError
    (tmp_path / "file").touch()
    with refused(HptError, Code.UNWRITABLE, subject="below"), new_folder(tmp_path / "file/below", HptError):
        raise AssertionError


def test_what_a_killed_process_left_is_removed_but_not_the_only_copy(tmp_path):
    """Killed between the two renames of a folder: the old one is aside, and no other is there."""
    place, other = tmp_path / "best", tmp_path / "last"
    for folder in (place, other):
        folder.mkdir()
        (folder / "old").touch()
        (make_beside(folder) / "half").touch()
        folder.rename(make_beside(folder, "old") / folder.name)
    other.mkdir()
    (other / "new").touch()
    clear_leftovers(tmp_path)
    assert below(tmp_path) == ["best", "best/old", "last", "last/new"]
