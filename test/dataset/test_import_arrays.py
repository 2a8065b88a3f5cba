# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Import of HDF5 files and Zarr stores, written as robomimic, ALOHA, LIBERO, ManiSkill and UMI do."""

from __future__ import annotations

import json
import shutil
import zipfile

import cv2
import numpy as np
import pytest
from support.foreign_arrays import LENGTHS, aloha, pictures, replay_buffer, robomimic, vectors
from support.foreign_dataset import write_v21

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.learning import open_cache

h5py = pytest.importorskip("h5py", reason="make setup EXTRAS=export")
zarr = pytest.importorskip("zarr", reason="make setup EXTRAS=export")


def jpeg_xl(folder):
    """UMI's own codec, one image a chunk."""
    numcodecs = pytest.importorskip("imagecodecs.numcodecs", reason="make setup EXTRAS=umi")
    numcodecs.register_codecs()
    replay_buffer(folder)
    shutil.rmtree(folder / "data/camera0_rgb")
    values, coded = pictures(sum(LENGTHS)), {"compressor": numcodecs.Jpegxl(level=99)}
    root = zarr.open_group(str(folder), mode="a")
    create = root.create_array if hasattr(root, "create_array") else root.create_dataset
    if hasattr(root, "create_array"):
        coded = {"compressors": coded["compressor"]}
    create("data/camera0_rgb", shape=values.shape, dtype="u1", chunks=(1, *values.shape[1:]), **coded)[:] = (
        values
    )
    return folder


def imported(source, tmp_path, *options):
    out = tmp_path / "out"
    assert main(["import", str(source), "--out", str(out), *options]) == 0
    dataset = open_dataset(out)
    assert [episode.length for episode in dataset.episodes] == list(LENGTHS)
    return dataset


def test_robomimic(tmp_path, capsys):
    dataset = imported(robomimic(tmp_path / "lift.hdf5"), tmp_path)
    said = capsys.readouterr().out
    assert "2 episodes, 17 ticks at 20 Hz" in said
    assert "labels kept: next.done (dones), next.reward (rewards)" in said
    assert "columns left out: obs/agentview_depth (depth), states" in said
    assert dataset.embodiment.action.names[0] == "actions_0"
    assert dataset.state.shape == (17, 9)
    np.testing.assert_array_equal(dataset.action[:5], vectors(5, 7))
    np.testing.assert_array_equal(dataset.action[5:], vectors(12, 7))
    np.testing.assert_array_equal(np.flatnonzero(dataset.labels["next.done"]), [4, 16])
    assert dataset.labels["next.reward"].dtype == np.float32
    frames = open_cache(dataset, tmp_path / "cache").frames
    np.testing.assert_allclose(frames[:, 0].mean(axis=(1, 2, 3))[5:9], [30, 40, 50, 60], atol=3)


def test_libero_has_its_instruction_in_json(tmp_path):
    text = json.dumps({"language_instruction": ["put the bowl on the plate"]})
    source = robomimic(tmp_path / "libero.hdf5", problem_info=text)
    assert imported(source, tmp_path).tasks == ("put the bowl on the plate",)


@pytest.mark.parametrize("compressed", [False, True])
def test_aloha(tmp_path, capsys, compressed):
    source = aloha(tmp_path / "aloha", compressed)
    assert main(["import", str(source), "--out", str(tmp_path / "out")]) == 2
    assert "does not state how many rows a second it has; add --fps HZ" in capsys.readouterr().err
    dataset = imported(source, tmp_path, "--fps", "50", "--task", "open it")
    np.testing.assert_array_equal(dataset.state[:5], vectors(5, 14, 4))
    assert [stream.name for stream in dataset.embodiment.image_streams] == ["cam_high"]
    frames = open_cache(dataset, tmp_path / "cache").frames
    np.testing.assert_allclose(frames[:5, 0].mean(axis=(1, 2, 3)), [30, 40, 50, 60, 70], atol=3)


def test_maniskill_observes_once_more_than_it_acts(tmp_path):
    with h5py.File(tmp_path / "trajectory.h5", "w") as file:
        for number, length in enumerate(LENGTHS):
            file[f"traj_{number}/actions"] = vectors(length, 8)
            file[f"traj_{number}/obs/agent/qpos"] = vectors(length + 1, 9)
            file[f"traj_{number}/success"] = np.arange(length) == length - 1
    dataset = imported(tmp_path / "trajectory.h5", tmp_path, "--fps", "20", "--state", "obs/agent/qpos")
    np.testing.assert_array_equal(dataset.state[:5], vectors(6, 9)[:5])
    assert dataset.labels["next.success"].sum() == 2


@pytest.mark.parametrize("kind", ["folder", "zip", "floats", "JPEG XL"])
def test_umi(tmp_path, kind):
    make = jpeg_xl if kind == "JPEG XL" else replay_buffer
    source = make(tmp_path / "buffer.zarr", **({"floats": True} if kind == "floats" else {}))
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "buffer.zarr.zip", "w") as archive:
            for path in sorted(source.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(source))
        shutil.rmtree(source)
        source = tmp_path / "buffer.zarr.zip"
    dataset = imported(source, tmp_path, "--fps", "60")
    assert dataset.state.shape == (17, 7)
    np.testing.assert_array_equal(dataset.action, vectors(17, 7))
    frames = open_cache(dataset, tmp_path / "cache").frames
    np.testing.assert_allclose(frames[:3, 0].mean(axis=(1, 2, 3)), [30, 40, 50], atol=3)


@pytest.mark.parametrize("ending", ["hdf5", "zarr"])
def test_what_is_exported_is_imported_again(tmp_path, ending):
    assert main(["import", str(write_v21(tmp_path / "source")), "--out", str(tmp_path / "first")]) == 0
    first, exported = open_dataset(tmp_path / "first"), tmp_path / f"exported.{ending}"
    assert main(["export", str(tmp_path / "first"), "--out", str(exported)]) == 0
    assert main(["import", str(exported), "--out", str(tmp_path / "again")]) == 0
    again = open_dataset(tmp_path / "again")
    np.testing.assert_array_equal(again.state, first.state)
    np.testing.assert_array_equal(again.action, first.action)
    assert [episode.task for episode in again.episodes] == [episode.task for episode in first.episodes]
    assert len(again.embodiment.image_streams) == 2


def test_a_damaged_episode_is_left_out_with_its_reason(tmp_path, capsys):
    source = aloha(tmp_path / "aloha")
    data = (source / "episode_0.hdf5").read_bytes()
    (source / "episode_0.hdf5").write_bytes(data[: len(data) // 2])
    command = ["import", str(source), "--out", str(tmp_path / "out"), "--fps", "50"]
    assert main(command) == 2
    assert "episode_0.hdf5' cannot be read (OSError" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 0
    assert "skipped file" in capsys.readouterr().out
    assert [episode.length for episode in open_dataset(tmp_path / "out").episodes] == [12]


def test_when_a_column_is_wrong_expect_those_that_there_are(tmp_path, capsys):
    source = robomimic(tmp_path / "lift.hdf5")
    command = ["import", str(source), "--out", str(tmp_path / "out"), "--state", "obs/robot0_eef_po"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "obs/robot0_eef_quat (4)" in said
    assert "did you mean 'obs/robot0_eef_pos'" in said
    assert main(["import", str(source), "--out", str(tmp_path / "out"), "--action", "act"]) == 2
    assert "has no group with act, so no episode was found" in capsys.readouterr().err


def test_robocasa_84_has_its_instruction_with_each_episode(tmp_path):
    source = robomimic(tmp_path / "robocasa.hdf5")
    with h5py.File(source, "a") as file:
        for name, demo in file["data"].items():
            demo.attrs["ep_meta"] = json.dumps({"lang": f"open {name}"})
    assert imported(source, tmp_path).tasks == ("open demo_0", "open demo_10")


def test_robomind_any4lerobot_36_names_its_action_otherwise(tmp_path, capsys):
    """Also any4lerobot #93: images are files."""
    for number, length in enumerate(LENGTHS):
        with h5py.File(tmp_path / f"trajectory_{number}.hdf5", "w") as file:
            file["master/joint_position"] = vectors(length, 7)
            file["puppet/joint_position"] = vectors(length, 7, 1.0)
            files = [cv2.imencode(".jpg", image)[1].reshape(-1) for image in pictures(length)]
            stored = file.create_dataset(
                "observations/rgb_images/camera_top", (length,), h5py.vlen_dtype(np.uint8)
            )
            for row, data in enumerate(files):
                stored[row] = data
    command = ["import", str(tmp_path), "--out", str(tmp_path / "out"), "--fps", "30"]
    assert main(command) == 2
    assert "has no group with action or actions" in capsys.readouterr().err
    names = ["--action", "master/joint_position", "--state", "puppet/joint_position"]
    dataset = imported(tmp_path, tmp_path, "--fps", "30", *names)
    np.testing.assert_array_equal(dataset.state[:5], vectors(5, 7, 1.0))
    assert len(dataset.embodiment.image_streams) == 1


def test_robomimic_238_demonstrations_of_robosuite_have_no_observations(tmp_path, capsys):
    with h5py.File(tmp_path / "demo.hdf5", "w") as file:
        for number, length in enumerate(LENGTHS):
            file[f"data/demo_{number}/actions"] = vectors(length, 7)
            file[f"data/demo_{number}/states"] = vectors(length, 32)
    command = ["import", str(tmp_path / "demo.hdf5"), "--out", str(tmp_path / "out"), "--fps", "20"]
    assert main(command) == 2
    assert (
        "neither images nor a state that a policy could observe; name columns with --state"
        in capsys.readouterr().err
    )
    assert imported(
        tmp_path / "demo.hdf5", tmp_path, "--fps", "20", "--state", "states", "--overwrite"
    ).state.shape == (17, 32)
