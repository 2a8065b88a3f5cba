# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""HDF5 files and Zarr stores that are odd as those of others are: a right dataset, or one sentence of what is wrong."""

from __future__ import annotations

import json
import pickle
import shutil
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from support.foreign_arrays import LENGTHS, aloha, pictures, replay_buffer, robomimic, vectors

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.learning import open_cache

h5py = pytest.importorskip("h5py", reason="make setup EXTRAS=export")
zarr = pytest.importorskip("zarr", reason="make setup EXTRAS=export")

CAMERA = "observations/images/cam_high"
BRIGHTNESS = [30, 40, 50]  # of the first images that `pictures` makes


def put(file, name, values):
    if name in file:
        del file[name]
    file[name] = values


def files(images, ending=".jpg"):
    return [cv2.imencode(ending, image)[1].tobytes() for image in images]


def to_void(file, number):
    found = files(file[CAMERA][:])
    put(file, CAMERA, np.array([np.void(data.ljust(max(map(len, found)), b"\0")) for data in found]))


def to_fixed_bytes(file, number):
    put(file, CAMERA, np.array(files(file[CAMERA][:])))


def to_padded_files(file, number):
    """As mobile ALOHA: lengths are (cameras, rows), and the base's commands beside those of the arms."""
    found = [np.frombuffer(data, np.uint8) for data in files(file[CAMERA][:])]
    longest = max(map(len, found)) + 9
    put(file, CAMERA, np.stack([np.pad(data, (0, longest - len(data))) for data in found]))
    file["compress_len"] = np.array([[float(len(data)) for data in found]])
    file["base_action"] = vectors(len(found), 2)


def link(file, number):
    with h5py.File(f"{file.filename}.raw", "w") as other:
        for name, place in (("action", "/action"), (CAMERA, "/camera")):
            other[place] = file[name][:]
            del file[name]
            file[name] = h5py.ExternalLink(f"{file.filename}.raw", place)
    file["old"], file["circle"] = h5py.SoftLink("/nowhere"), h5py.SoftLink("/")


def alpha(file, number):
    images = file[CAMERA][:]
    put(file, CAMERA, np.concatenate([images, images[..., :1]], axis=3))


def lack(*names):
    def change(file, number):
        for name in names:
            del file[name]

    return change


def depth_files(file, number):
    rows = len(file["action"])
    file["observations/depth"] = np.array(files([np.full((16, 24), 900, np.uint16)] * rows, ".png"))


ODD_HDF5 = {
    "padded files": (to_padded_files, "base_action, compress_len (1 rows where 5 were expected)"),
    "void": (to_void, ""),
    "fixed bytes": (to_fixed_bytes, ""),
    "links": (link, "old (a link to '/nowhere', which is not there)"),
    "alpha": (alpha, ""),
    "no effort": (lack("observations/effort", "observations/qvel"), ""),
    "floats to 1": (lambda file, number: put(file, CAMERA, file[CAMERA][:] / np.float32(255)), ""),
    "floats from -1": (
        lambda file, number: put(file, CAMERA, file[CAMERA][:] / np.float32(127.5) - 1),
        "note: images of view 'cam_high' were taken for values from -1 to 1",
    ),
    "16 bits": (lambda file, number: put(file, CAMERA, file[CAMERA][:].astype(np.uint16) * 257), ""),
    "64 bits": (lambda file, number: put(file, CAMERA, file[CAMERA][:].astype(np.int64)), ""),
    "one channel": (
        lambda file, number: put(file, "observations/ir", file[CAMERA][:, :, :, 0]),
        "observations/ir (one channel of 8 bits: grey, or coded depth)",
    ),
    "depth files": (depth_files, "observations/depth (depth)"),
    "several views at once": (
        lambda file, number: put(file, "observations/all", np.stack([file[CAMERA][:]] * 2, axis=1)),
        "observations/all (2x16x24x3 values a row)",
    ),
    "times": (
        lambda file, number: put(file, "timestamp", np.arange(len(file["action"])) / 50.0),
        "episode_0.hdf5': its timestamps are 0.02 s apart (50 Hz), and rows were taken at 10 Hz (--fps)\n",
    ),
    "a camera more": (
        lambda file, number: number and put(file, "observations/images/low", file[CAMERA][:]),
        "has columns that the first episode has not, which are not taken: observations/images/low",
    ),
    "another size": (
        lambda file, number: number and put(file, CAMERA, pictures(12, (20, 24))),
        "are 20x24 in episode of",
    ),
}  # fmt: skip


def odd_aloha(folder, change):
    aloha(folder)
    for number in range(2):
        with h5py.File(folder / f"episode_{number}.hdf5", "a") as file:
            change(file, number)
    return folder


def imported(source, tmp_path, *options):
    assert main(["import", str(source), "--out", str(tmp_path / "out"), "--fps", "10", *options]) == 0
    return open_dataset(tmp_path / "out")


@pytest.mark.parametrize("name", ODD_HDF5)
def test_odd_hdf5_is_imported(name, tmp_path, capsys):
    change, words = ODD_HDF5[name]
    dataset = imported(odd_aloha(tmp_path / "aloha", change), tmp_path)
    assert words in capsys.readouterr().out
    np.testing.assert_array_equal(dataset.action[5:], vectors(12, 14))
    assert [stream.name for stream in dataset.embodiment.image_streams] == ["cam_high"]
    frames = open_cache(dataset, tmp_path / "cache").frames
    np.testing.assert_allclose(frames[5:8, 0].mean(axis=(1, 2, 3)), BRIGHTNESS, atol=3)


def to_groups(file, number):
    values = file["action"][:]
    del file["action"]
    file["action/joints"] = values


REFUSED_HDF5 = {
    "of a structure": (
        lambda file, number: put(file, "action", np.zeros(5, [("left", "f4", 7), ("right", "f4", 7)])),
        "has the column 'action', which cannot be the action (of several fields a row)",
    ),
    "chunks": (
        lambda file, number: put(file, "action", np.zeros((5, 20, 14))),
        "cannot be the action (20x14 values a row: depth, or several vectors)",
    ),
    "texts": (
        lambda file, number: put(file, "action", np.array([b"up"] * 5)),
        "'action', which cannot be the action (no numbers)",
    ),
    "groups": (to_groups, "has no column action or actions; its columns are action/joints, observations/effort"),
    "no camera in one": (
        lambda file, number: number and lack(CAMERA)(file, number),
        f"has no column {CAMERA!r}, which the first episode has; leave it out with --skip-bad",
    ),
    "fewer rows": (
        lambda file, number: number and put(file, "observations/qpos", vectors(11, 14)),
        "has 11 rows in 'observations/qpos', expected 12 for this episode",
    ),
    "other joints": (
        lambda file, number: number and put(file, "observations/qpos", vectors(12, 16)),
        "has 16 numbers a row in 'observations/qpos', expected 14",
    ),
    "a label that is none": (
        lambda file, number: put(file, "reward", np.full(len(file["action"]), np.nan)),
        "episode_0.hdf5' has the label next.reward nan in row 0, expected finite values",
    ),
    "a link to a file": (
        lambda file, number: number and (lack(CAMERA)(file, 0), put(file, CAMERA, h5py.ExternalLink("cam", "/c"))),
        "(a link to 'cam', which is not there)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_HDF5)
def test_odd_hdf5_is_refused_in_one_sentence(name, tmp_path, capsys):
    change, words = REFUSED_HDF5[name]
    source = odd_aloha(tmp_path / "aloha", change)
    assert main(["import", str(source), "--out", str(tmp_path / "out"), "--fps", "10"]) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "is a Git LFS pointer"),
        (b"hello", "is no HDF5 file; copy it again, or leave it out with --skip-bad"),
    ],
)
def test_what_is_called_hdf5_and_is_none_costs_one_episode(content, words, tmp_path, capsys):
    source = aloha(tmp_path / "aloha")
    (source / "episode_2.hdf5").write_bytes(content)
    with h5py.File(source / "calibration.HDF5", "w") as file:
        file["matrix"] = np.eye(3)
    assert main(["import", str(source), "--out", str(tmp_path / "out"), "--fps", "10"]) == 2
    assert words in capsys.readouterr().err
    assert len(imported(source, tmp_path, "--skip-bad").episodes) == 2
    assert (
        "calibration.HDF5' has no action or actions, so no episode is taken of it" in capsys.readouterr().out
    )


def test_an_empty_first_episode_says_nothing_of_the_others(tmp_path, capsys):
    source = aloha(tmp_path / "aloha")
    with h5py.File(source / "episode_0.hdf5", "w") as file:
        file["action"], file["observations/qpos"] = np.zeros((0, 14)), np.zeros((0, 14))
        file[CAMERA] = np.zeros((0, 16, 24, 3), np.uint8)
    assert main(["import", str(source), "--out", str(tmp_path / "out"), "--fps", "10"]) == 2
    assert "episode_0.hdf5' has no rows" in capsys.readouterr().err
    assert [episode.length for episode in imported(source, tmp_path, "--skip-bad").episodes] == [12]


@pytest.mark.parametrize("rate", [0.0, np.nan, "fast"])
def test_a_rate_that_is_none_is_asked_for(rate, tmp_path, capsys):
    source = robomimic(tmp_path / "lift.hdf5")
    with h5py.File(source, "a") as file:
        file.attrs["fps"] = rate
        del file["data"].attrs["env_args"]
        file["data/demo_3/obs/robot0_eef_pos"] = vectors(4, 3)
    assert main(["import", str(source), "--out", str(tmp_path / "out")]) == 2
    assert "does not state how many rows a second it has; add --fps HZ" in capsys.readouterr().err
    imported(source, tmp_path)
    assert "data/demo_3 of" in capsys.readouterr().out


def store(folder, name, values, **options):
    group = zarr.open_group(str(folder), mode="a")
    if name in group:
        del group[name]
    create = group.create_array if hasattr(group, "create_array") else group.create_dataset
    create(name, shape=values.shape, dtype=values.dtype, **options)[:] = values


def describe(folder, name, **changes):
    path = folder / name / ".zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lose_chunk(folder):
    store(folder, "data/camera0_rgb", pictures(17), chunks=(1, 16, 24, 3))
    (folder / "data/camera0_rgb/16.0.0.0").unlink()


def lose_groups(folder):
    for name in (".zgroup", "data/.zgroup", "meta/.zgroup"):
        (folder / name).unlink()


class Program:
    """Runs something when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("what is pickled was run",))


def pickled(folder):
    (folder / "data/notes").mkdir()
    (folder / "data/notes/0").write_bytes(pickle.dumps(Program()))
    about = {"zarr_format": 2, "shape": [17], "chunks": [17], "dtype": "|O", "fill_value": None, "order": "C"}
    about |= {"compressor": None, "filters": [{"id": "pickle", "protocol": 5}]}
    (folder / "data/notes/.zarray").write_text(json.dumps(about))


ODD_ZARR = {
    "channels first": (
        lambda folder: store(folder, "data/camera0_rgb", pictures(17).transpose(0, 3, 1, 2).copy()),
        "",
    ),
    "ends that are floats": (lambda folder: store(folder, "meta/episode_ends", np.array([5.0, 17.0])), ""),
    "no files of groups": (lose_groups, ""),
    "a chunk is missing": (lose_chunk, "camera0_rgb lacks 1 of 17 chunks: what was there reads as 0"),
    "rows after the end": (
        lambda folder: [
            store(folder, f"data/{name}", values)
            for name, values in (("extra", np.zeros((20, 2))), ("camera0_rgb", pictures(17)))
        ],
        "3 rows after the end of the last episode are not taken",
    ),
    "pickled": (pickled, "notes (pickled, which could run any program)"),
    "attributes that are none": (lambda folder: (folder / ".zattrs").write_text('{"fps": '), ""),
    "a text too few": (
        lambda folder: (folder / ".zattrs").write_text('{"tasks": ["pour"]}'),
        "the attribute tasks has 1 text for 2 episodes",
    ),
    "a description that is none": (
        lambda folder: (
            store(folder, "data/extra", np.zeros(17)),
            (folder / "data/extra/.zarray").write_text("{"),
        ),
        "extra (JSONDecodeError",
    ),
    "a shorter column": (
        lambda folder: store(folder, "data/extra", np.zeros((9, 2))),
        "extra (9 rows where 17 were expected)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_ZARR)
def test_odd_zarr_is_imported(name, tmp_path, capsys):
    change, words = ODD_ZARR[name]
    change(replay_buffer(tmp_path / "buffer.zarr"))
    dataset = imported(tmp_path / "buffer.zarr", tmp_path)
    assert words in capsys.readouterr().out
    assert [episode.length for episode in dataset.episodes] == list(LENGTHS)
    np.testing.assert_array_equal(dataset.action, vectors(17, 7))
    frames = open_cache(dataset, tmp_path / "cache").frames
    np.testing.assert_allclose(frames[:3, 0].mean(axis=(1, 2, 3)), BRIGHTNESS, atol=3)


def test_a_dark_image_of_floats_to_255_stays_dark(tmp_path):
    images = np.concatenate([np.ones((5, 16, 24, 3), np.float32), pictures(12).astype(np.float32)])
    store(replay_buffer(tmp_path / "buffer.zarr"), "data/camera0_rgb", images)
    frames = open_cache(imported(tmp_path / "buffer.zarr", tmp_path), tmp_path / "cache").frames
    assert frames[:5].max() <= 4


def test_a_zip_may_have_the_folder_in_it(tmp_path):
    folder = replay_buffer(tmp_path / "buffer.zarr")
    with zipfile.ZipFile(tmp_path / "buffer.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    assert imported(tmp_path / "buffer.zip", tmp_path).state.shape == (17, 7)


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


REFUSED_ZARR = {
    "no ends": (lambda folder: shutil.rmtree(folder / "meta"), "has no meta/episode_ends"),
    "ends fall": (
        lambda folder: store(folder, "meta/episode_ends", np.array([9, 5, 17])),
        "has meta/episode_ends that do not rise: 5 in row 1 after 9",
    ),
    "ends beyond": (
        lambda folder: store(folder, "meta/episode_ends", np.array([5, 30])),
        "has 17 rows in 'action', expected 30",
    ),
    "ends of halves": (
        lambda folder: store(folder, "meta/episode_ends", np.array([5.5, 17.0])),
        "has meta/episode_ends of 'float64 of shape (2,)', expected a list of whole numbers",
    ),
    "a codec that is not there": (
        lambda folder: describe(folder, "data/camera0_rgb", compressor={"id": "my_codec"}),
        "codec not available: ''my_codec''); install the package of its codec",
    ),
    "an action without description": (
        lambda folder: (folder / "data/action/.zarray").write_text("{"),
        "has an action 'action' that cannot be read (JSONDecodeError",
    ),
    "a chunk that is cut": (
        lambda folder: cut(next((folder / "data/camera0_rgb").glob("[0-9]*"))),
        "cannot be read (RuntimeError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_ZARR)
def test_odd_zarr_is_refused_in_one_sentence(name, tmp_path, capsys):
    change, words = REFUSED_ZARR[name]
    change(replay_buffer(tmp_path / "buffer.zarr"))
    assert main(["import", str(tmp_path / "buffer.zarr"), "--out", str(tmp_path / "out"), "--fps", "10"]) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("array", "is one array, and no store of several"),
        ("tar", "is an archive, which is not imported; unpack it"),
        ("cut zip", "is a ZIP file that is cut short, which is not imported; copy it again"),
        ("empty", "is an empty folder"),
    ],
)
def test_what_is_no_store_is_named(kind, words, tmp_path, capsys):
    folder, source = replay_buffer(tmp_path / "buffer.zarr"), tmp_path / "source"
    if kind == "array":
        source = folder / "data/action"
    elif kind == "tar":
        with tarfile.open(source, "w") as archive:
            archive.add(folder, "buffer.zarr")
    elif kind == "empty":
        source.mkdir()
    else:
        with zipfile.ZipFile(source, "w") as packed:
            packed.write(folder / "data/action/.zarray", "data/action/.zarray")
        cut(source)
    assert main(["import", str(source), "--out", str(tmp_path / "out"), "--fps", "10"]) == 2
    assert words in capsys.readouterr().err
