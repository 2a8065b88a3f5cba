# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whatever a verb is given, it names what that is and which verb takes it; who follows that gets further."""

from __future__ import annotations

import gzip
import re
import shutil

import numpy as np
import pytest
from support.foreign_dataset import write_v21, write_v30
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.dataset.recognise import (
    ARRAY_RECORD,
    BAG,
    HDF5,
    LEROBOT,
    OWN,
    POINTER,
    TFRECORD,
    ZARR,
    find_below,
    recognise,
)
from rosbag_tools.converting.convert import convert

KINDS = ("bag folder", "bag file", "v2.1", "v3.0", "own", "hdf5", "zarr")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """One of each kind, and the embodiment file of the bags."""
    folder, senses = tmp_path_factory.mktemp("kinds"), Senses()
    bag = senses.write(folder / "bag", senses.all_messages(1.6))
    shutil.copytree(bag, folder / "bags/1")
    convert([bag], folder / "own", senses.embodiment)
    (folder / "robot.yaml").write_text(senses.text)
    found = {
        "bag folder": bag,
        "bag file": next(bag.glob("*.mcap")),
        "v2.1": write_v21(folder / "v21"),
        "v3.0": write_v30(folder / "v30"),
        "own": folder / "own",
        "embodiment": folder / "robot.yaml",
    }
    for ending in ("hdf5", "zarr"):
        found[ending] = folder / f"exported.{ending}"
        if (folder / "own").exists():
            main(["export", str(folder / "own"), "--out", str(found[ending])])
    return found


def arguments(verb, source, given, tmp_path):
    """The verb's arguments for a source, and nothing that was there before."""
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    for name in ("page.html", "out.hdf5", "out.mp4"):
        (tmp_path / name).unlink(missing_ok=True)
    return {
        "quality": ["quality", str(source), "--out", str(tmp_path / "page.html")],
        "view": ["view", str(source), "--out", str(tmp_path / "out.mp4")],
        "export": ["export", str(source), "--out", str(tmp_path / "out.hdf5")],
        "import": ["import", str(source), "--out", str(tmp_path / "out"), "--fps", "10"],
        "convert": [
            "convert", str(source), "--out", str(tmp_path / "out"), "--embodiment", str(given["embodiment"]),
        ],
    }[verb]  # fmt: skip


@pytest.mark.parametrize("verb", ["quality", "view", "export", "import", "convert"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_remedy_that_is_followed_leads_further(kind, verb, given, tmp_path, capsys):
    pytest.importorskip("h5py", reason="make setup EXTRAS=export")
    if verb == "view" and kind.startswith("bag"):
        pytest.skip("a bag without an embodiment is shown with --embodiment")
    status = main(arguments(verb, given[kind], given, tmp_path))
    said = capsys.readouterr().err
    if status == 0:
        return
    assert status == 2
    remedy = re.search(r"`hpt (\w+)`", said)
    assert remedy, said
    assert remedy.group(1) != verb
    assert main(arguments(remedy.group(1), given[kind], given, tmp_path)) == 0, capsys.readouterr().err


def test_things_are_known_by_how_they_begin_whatever_their_name(given, tmp_path):
    pytest.importorskip("h5py", reason="make setup EXTRAS=export")
    expected = {
        "bag folder": BAG,
        "bag file": BAG,
        "v2.1": LEROBOT,
        "own": OWN,
        "hdf5": HDF5,
        "zarr": ZARR,
    }
    assert {kind: recognise(given[kind]) for kind in expected} == expected
    for kind, what in (("bag file", BAG), ("hdf5", HDF5)):
        assert recognise(shutil.copy(given[kind], tmp_path / "renamed.bin")) is what
    (tmp_path / "pointer.mp4").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    assert recognise(tmp_path / "pointer.mp4") is POINTER
    assert recognise(tmp_path / "nothing") is None
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge/bridge-train.array_record-00000-of-00001").write_bytes(bytes(10))
    assert recognise(tmp_path / "bridge") is ARRAY_RECORD


def test_a_folder_above_datasets_names_them(given, tmp_path, capsys):
    # As Hugging Face's cache keeps them.
    place = tmp_path / "hub/datasets--lerobot--pusht/snapshots/0a1b2c"
    shutil.copytree(given["v3.0"], place)
    assert find_below(tmp_path / "hub") == [place]
    assert main(["import", str(tmp_path / "hub"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "is no dataset, but 1 lie below it; give one of them, as " in said
    named = re.search(r"as '([^']+)'", said)
    assert named
    assert main(["import", named.group(1), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("verb", ["import", "quality"])
def test_a_folder_above_bags_names_the_verb_that_takes_them(verb, given, tmp_path, capsys):
    assert main(arguments(verb, given["bag folder"].parent / "bags", given, tmp_path)) == 2
    said = capsys.readouterr().err
    assert "in it is a bag" in said
    assert "`hpt convert`" in said


def test_files_that_git_did_not_fetch_say_so(given, tmp_path, capsys):
    source = shutil.copytree(given["v2.1"], tmp_path / "source")
    for path in [*source.rglob("*.parquet"), *source.rglob("*.mp4")]:
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        assert main(["import", str(source), "--out", str(tmp_path / "out")]) == 2
        assert (
            "is a Git LFS pointer, not the file itself; fetch the files with `git lfs pull`"
            in capsys.readouterr().err
        )
        break


def test_records_may_be_compressed(tmp_path, capsys):
    pytest.importorskip("google_crc32c", reason="make setup EXTRAS=rlds")
    (tmp_path / "x.tfrecord.gz").write_bytes(gzip.compress(np.zeros(20, np.uint8).tobytes()))
    assert recognise(tmp_path / "x.tfrecord.gz") is TFRECORD
    assert (
        main(["import", str(tmp_path / "x.tfrecord.gz"), "--out", str(tmp_path / "out"), "--fps", "5"]) == 2
    )
    assert "wrong checksum at byte 0" in capsys.readouterr().err
    data = gzip.compress(bytes(1000))
    (tmp_path / "x.tfrecord.gz").write_bytes(data[:-9])
    assert (
        main(["import", str(tmp_path / "x.tfrecord.gz"), "--out", str(tmp_path / "out"), "--fps", "5"]) == 2
    )
    assert "x.tfrecord.gz' " in capsys.readouterr().err
