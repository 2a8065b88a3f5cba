# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt view` and `hpt export`: what others see of a dataset is what training reads."""

from __future__ import annotations

import importlib.util
import json

import av
import numpy as np
import pytest

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset, write_dataset
from hpt_ros.learning import open_cache

h5py = pytest.importorskip("h5py")


def read_hdf5(path):
    with h5py.File(path) as file:
        demos = [file["data"][f"demo_{number}"] for number in range(len(file["data"]))]
        return [
            {
                "action": demo["actions"][:],
                "state": demo["obs/state"][:],
                "front": demo["obs/front_image"][:],
                "wrist": demo["obs/wrist_image"][:],
                "dones": demo["dones"][:],
                "rewards": demo["rewards"][:],
                "task": demo.attrs["task"],
                "samples": demo.attrs["num_samples"],
            }
            for demo in demos
        ]


def test_when_exported_to_hdf5_expect_every_episode_as_training_reads_it(
    dataset, dataset_folder, cache_root, tmp_path
):
    out = tmp_path / "tiny.hdf5"
    assert main(["export", str(dataset_folder), "--out", str(out)]) == 0
    frames = open_cache(dataset, cache_root).frames
    demos = read_hdf5(out)
    assert len(demos) == len(dataset.episodes)
    for demo, episode in zip(demos, dataset.episodes, strict=True):
        rows = slice(episode.start, episode.stop)
        assert np.array_equal(demo["action"], dataset.action[rows])
        assert np.array_equal(demo["state"], dataset.state[rows])
        for view, name in enumerate(("front", "wrist")):
            assert np.array_equal(demo[name], frames[rows, view])
        assert demo["dones"].tolist() == [0] * (episode.length - 1) + [1]
        assert not demo["rewards"].any()  # nothing says that these episodes succeeded
        assert (demo["task"], demo["samples"]) == (episode.task, episode.length)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.hdf5"]


def test_when_the_recording_was_a_success_expect_a_reward_at_its_end(own_folder, tmp_path):
    spans = [{"start_ns": 0, "ticks": 9, "episode_index": 1}]
    report = {"episodes": [{"outcome": "success", "spans": spans}]}
    (own_folder / "meta/hpt/report.json").write_text(json.dumps(report))
    assert main(["export", str(own_folder), "--out", str(tmp_path / "t.hdf5")]) == 0
    with h5py.File(tmp_path / "t.hdf5") as file:
        assert [name.decode() for name in file["mask/success"]] == ["demo_1"]
        assert "mask/failure" not in file
        arguments = json.loads(file["data"].attrs["env_args"])
        assert {"env_name", "env_type", "env_kwargs"} == set(arguments)
        assert file["data"].attrs["total"] == sum(
            file["data"][name].attrs["num_samples"] for name in file["data"]
        )
    demos = read_hdf5(tmp_path / "t.hdf5")
    assert demos[1]["rewards"].tolist() == [0.0] * 8 + [1.0]
    assert not demos[0]["rewards"].any()


def test_when_exported_to_zarr_expect_all_rows_and_the_ends_of_episodes(
    dataset, dataset_folder, cache_root, tmp_path
):
    zarr = pytest.importorskip("zarr")
    out = tmp_path / "tiny.zarr"
    assert main(["export", str(dataset_folder), "--out", str(out)]) == 0
    root = zarr.open_group(str(out), mode="r")
    assert (out / ".zgroup").is_file()  # of format 2, which diffusion policy reads
    assert root["meta/episode_ends"][:].tolist() == [episode.stop for episode in dataset.episodes]
    frames = open_cache(dataset, cache_root).frames
    assert np.array_equal(root["data/action"][:], dataset.action)
    assert np.array_equal(root["data/state"][:], dataset.state)
    assert np.array_equal(root["data/front"][:], frames[:, 0])
    assert np.array_equal(root["data/wrist"][:], frames[:, 1])


def test_when_the_disk_fails_on_the_way_expect_nothing_left(dataset_folder, own_folder, tmp_path, capsys):
    video = next((own_folder / "videos").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:2000])
    out = tmp_path / "new"
    out.mkdir()
    assert main(["export", str(own_folder), "--out", str(out / "t.hdf5")]) == 2
    assert "cannot be decoded" in capsys.readouterr().err
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "{data}", "--out", "out.npz"], "the format of 'out.npz' is not known"),
        (["view", "{data}", "--out", "video.avi"], "expected a name ending in .mp4 or .rrd"),
        (["view", "{data}", "--episode", "9"], "--episode is 9, but dataset .* has the episodes 0 to 5"),
    ],
)
def test_when_asked_for_what_cannot_be_expect_a_sentence_and_status_2(
    arguments, words, dataset_folder, tmp_path, monkeypatch, capsys
):
    import re

    monkeypatch.chdir(tmp_path)
    assert main([argument.format(data=dataset_folder) for argument in arguments]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "name"), [("export", "data.hdf5"), ("view", "video.mp4"), ("quality", "report.html")]
)
def test_when_the_folder_of_out_is_missing_expect_it_made(verb, name, dataset_folder, tmp_path, capsys):
    out = tmp_path / "a" / "b" / name
    assert main([verb, str(dataset_folder), "--out", str(out)]) == 0
    assert out.stat().st_size > 1000
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_when_out_exists_expect_it_left_alone(dataset_folder, tmp_path, capsys):
    out = tmp_path / "t.hdf5"
    out.write_text("mine")
    assert main(["export", str(dataset_folder), "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_when_viewed_as_a_film_expect_a_frame_a_tick_with_the_views_above_a_moving_line(
    dataset, dataset_folder, tmp_path
):
    video = tmp_path / "video.mp4"
    assert main(["view", str(dataset_folder), "--episode", "2", "--out", str(video)]) == 0
    with av.open(str(video)) as container:
        assert container.streams.video[0].average_rate == 10
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert len(shown) == dataset.episodes[2].length
    frames = open_cache(dataset, tmp_path / "cache").frames
    view = frames[dataset.episodes[2].start, 0].astype(int)
    # The left view is 48 x 32, shown 480 wide and 320 high: every tenth pixel is one of its own.
    assert np.abs(shown[0][5:320:10, 5:480:10] - view).mean() < 12
    red = [frame[330:670, :, 0] - frame[330:670, :, 1] for frame in shown]
    columns = [int(np.median(np.argmax(difference, axis=1))) for difference in red]
    assert columns == sorted(columns)
    assert columns[-1] - columns[0] > 400


@pytest.mark.skipif(importlib.util.find_spec("rerun") is not None, reason="Rerun is installed")
def test_when_a_rerun_recording_is_wanted_without_rerun_expect_what_to_install(
    dataset_folder, tmp_path, capsys
):
    assert main(["view", str(dataset_folder), "--out", str(tmp_path / "t.rrd")]) == 2
    assert "make setup EXTRAS=rerun" in capsys.readouterr().err


@pytest.mark.skipif(
    importlib.util.find_spec("rerun") is None, reason="Rerun is not installed: the extra rerun"
)
def test_when_saved_for_rerun_expect_a_recording(dataset_folder, tmp_path):
    assert main(["view", str(dataset_folder), "--out", str(tmp_path / "t.rrd")]) == 0
    assert (tmp_path / "t.rrd").read_bytes()[:4] == b"RRF2"


@pytest.mark.parametrize("form", ["hdf5", "zarr"])
def test_when_exported_arrays_become_a_dataset_again_expect_state_and_action_bit_for_bit(
    form, dataset, dataset_folder, tmp_path
):
    pytest.importorskip("zarr")
    out = tmp_path / f"tiny.{form}"
    assert main(["export", str(dataset_folder), "--out", str(out)]) == 0
    arrays = read_hdf5(out) if form == "hdf5" else read_zarr(out)
    views = [stream.name for stream in dataset.embodiment.image_streams]
    episodes = [
        (
            episode.task,
            {view: arrays[place][view] for view in views},
            arrays[place]["state"],
            arrays[place]["action"],
        )
        for place, episode in enumerate(dataset.episodes)
    ]
    again = open_dataset(write_dataset(tmp_path / "again", dataset.embodiment, episodes))
    assert again.state.dtype == dataset.state.dtype
    assert np.array_equal(again.state, dataset.state)
    assert np.array_equal(again.action, dataset.action)
    assert [(e.start, e.stop, e.task) for e in again.episodes] == [
        (e.start, e.stop, e.task) for e in dataset.episodes
    ]


def read_zarr(path):
    import zarr

    root = zarr.open_group(str(path), mode="r")
    ends = root["meta/episode_ends"][:].tolist()
    return [
        {name: root[f"data/{name}"][start:stop] for name in ("action", "state", "front", "wrist")}
        for start, stop in zip([0, *ends[:-1]], ends, strict=True)
    ]
