# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth stored as LeRobot stores it: a video of codes, read as the same arrays that rows give."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.tiny_robot import Robot

from hpt_ros.cli.main import main
from hpt_ros.dataset import DatasetError, open_dataset, write_dataset
from hpt_ros.dataset.append import open_existing
from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.dataset.statistics import depth_statistics
from hpt_ros.dataset.trim import trim_dataset
from hpt_ros.dataset.writer import DatasetWriter
from hpt_ros.embodiment import Embodiment

NEAR = "observation.depth.near"
HEIGHT, WIDTH = 17, 19  # odd: what is grey has no halved colour


def embodiment(height: int = HEIGHT, width: int = WIDTH) -> Embodiment:
    stream = (
        "\n  - {name: near, modality: depth, topic: /near, type: sensor_msgs/msg/Image, rate_hz: 10.0,"
        f"\n     tolerance_s: 0.15, image: {{height: {height}, width: {width}}}}}\naction:"
    )
    return Embodiment.loads(Robot().text.replace("\naction:", stream))


def episode(depth):
    """An episode of some depth, (length, height, width)."""
    length = len(depth)
    picture = np.zeros((length, 16, 24, 3), np.uint8)
    numbers = np.linspace(0, 0.5, length)[:, None]
    return (
        "push",
        {"left": picture, "right": picture, "near": depth},
        numbers.repeat(4, 1),
        numbers.repeat(2, 1),
    )


def any_depth(length, seed):
    return np.random.default_rng(seed).integers(0, 12_000, (length, HEIGHT, WIDTH), np.uint16)


def read_back(depth):
    codes = DepthCodes()
    return codes.millimetres(codes.encode(depth))


def write(out, *depths, coded=True):
    return write_dataset(out, embodiment(), [episode(depth) for depth in depths], coded=coded)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    depths = [any_depth(5, 0), any_depth(8, 1)]
    return write(tmp_path_factory.mktemp("coded") / "tiny", *depths), depths


@settings(deadline=None, max_examples=15)
@given(
    depths=st.lists(
        arrays.arrays(
            np.uint16, st.tuples(st.integers(1, 4), st.just(HEIGHT), st.just(WIDTH)),
            elements=st.integers(0, 0xFFFF), fill=st.sampled_from([0, 9, 10, 11, 700, 10_000, 0xFFFF]),
        ),
        min_size=1, max_size=3,
    )
)  # fmt: skip
def test_any_depth_comes_back_as_its_codes_say(tmp_path_factory: pytest.TempPathFactory, depths) -> None:
    out = write(tmp_path_factory.mktemp("any") / "tiny", *depths)
    found = open_dataset(out).arrays[NEAR]
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, read_back(np.concatenate(depths)))


def test_rows_and_video_differ_by_no_more_than_the_codes(written, tmp_path):
    coded, depths = written
    rows = open_dataset(write(tmp_path / "rows", *depths, coded=False))
    video = open_dataset(coded)
    assert (rows.coded, video.coded) == (False, True)
    np.testing.assert_array_equal(rows.arrays[NEAR], np.concatenate(depths))
    near = (rows.arrays[NEAR] > 10) & (rows.arrays[NEAR] <= 10_000)
    difference = np.abs(rows.arrays[NEAR].astype(int) - video.arrays[NEAR].astype(int))
    assert difference[near].max() <= 2
    assert list(rows.arrays) == list(video.arrays)


@pytest.mark.parametrize("depth", ["rows", "video"])
def test_an_import_stores_depth_as_is_asked_for(written, tmp_path, depth):
    ours, _ = written
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(ours, source)
    shutil.rmtree(source / "meta/hpt")  # as LeRobot's tools leave it
    assert main(["import", str(source), "--out", str(out), "--depth", depth]) == 0
    found = open_dataset(out)
    assert found.coded == (depth == "video")
    (name,) = (item for item in found.arrays if "near" in item)
    # Codes of codes are the same ones; a made embodiment has even sizes.
    assert found.arrays[name][0].shape == (HEIGHT - 1, WIDTH - 1)
    assert np.isin(found.arrays[name], open_dataset(ours).arrays[NEAR]).all()
    assert len(np.unique(found.arrays[name])) > 100


def test_it_is_described_as_lerobot_describes_it_and_is_no_column(written):
    out, _ = written
    info = json.loads((out / "meta/info.json").read_text())
    feature = info["features"][NEAR]
    assert (feature["dtype"], feature["shape"]) == ("video", [HEIGHT, WIDTH, 1])
    expected = {
        "is_depth_map": True, "depth_unit": "mm", "video.codec": "hevc", "video.pix_fmt": "gray12le",
        "video.channels": 1, "video.fps": 10, "video.depth_min": 0.01, "video.depth_max": 10.0, "video.shift": 3.5,
        "video.use_log": True,
    }  # fmt: skip
    assert expected.items() <= feature["info"].items()
    with av.open(str(out / f"videos/{NEAR}/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec.canonical_name, stream.pix_fmt, stream.frames) == ("hevc", "gray12le", 13)
    assert NEAR not in pq.read_schema(out / "data/chunk-000/file-000.parquet").names


def test_statistics_are_those_of_what_is_read(written):
    out, _ = written
    statistics = json.loads((out / "meta/stats.json").read_text())[NEAR]
    found = open_dataset(out).arrays[NEAR]
    whole = depth_statistics(found)
    for key in ("min", "max"):
        assert statistics[key] == [whole[key].tolist()]
    for key in ("mean", "std"):
        np.testing.assert_allclose(statistics[key], [whole[key]], rtol=0.02)  # episodes count by frames
    assert statistics["count"] == [13]


def test_what_is_appended_joins_in_the_way_of_the_dataset(written, tmp_path):
    source, depths = written
    out, more = write(tmp_path / "out", *depths), any_depth(4, 2)
    report = {"episodes": [], "recovered_bags": []}
    (out / "meta/hpt/report.json").write_text(json.dumps(report))
    with DatasetWriter(out, embodiment(), existing=open_existing(out)) as writer:
        _, values, state, action = episode(more)
        one = writer.episode("push")
        for tick in range(4):
            one.add(
                {
                    "observation.images.left": values["left"][tick],
                    "observation.images.right": values["right"][tick],
                    NEAR: more[tick],
                    "observation.state": state[tick],
                    "action": action[tick],
                }
            )
        writer.append(one.finish())
        writer.finish(report)
    found = open_dataset(out)
    assert found.coded
    np.testing.assert_array_equal(found.arrays[NEAR], read_back(np.concatenate([*depths, more])))
    info = (source / "meta/info.json").read_text(), (out / "meta/info.json").read_text()
    features = [json.loads(text)["features"][NEAR] for text in info]
    assert features[0] == features[1]


def change_info(out: Path, **changes: object) -> None:
    path = out / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"][NEAR]["info"] |= changes
    path.write_text(json.dumps(info))


def test_codes_of_others_are_read_but_not_appended_to(tmp_path):
    out = write(tmp_path / "out", any_depth(5, 0))
    change_info(out, **{"video.use_log": False, "video.depth_min": 0.0, "video.depth_max": 4.095})
    (out / "meta/hpt/report.json").write_text(json.dumps({"episodes": [], "recovered_bags": []}))
    codes = DepthCodes().encode(any_depth(5, 0))
    np.testing.assert_array_equal(open_dataset(out).arrays[NEAR], codes)  # one millimetre a code
    with pytest.raises(DatasetError, match="stores depth otherwise than `hpt convert`"):
        open_existing(out)


def test_trimming_and_writing_again_lose_nothing_more(written, tmp_path):
    out, _ = written
    dataset = open_dataset(out)
    trim_dataset(dataset, tmp_path / "trimmed", 2.0)
    trimmed = open_dataset(tmp_path / "trimmed")
    assert trimmed.coded
    np.testing.assert_array_equal(trimmed.arrays[NEAR], dataset.arrays[NEAR])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("missing", "lacks the video"),
        ("cut", "cannot be decoded"),
        ("short", "ends before frame 5, which its episodes name"),
        ("size", "has depth of 16x16, expected 17x19"),
    ],
)
def test_when_a_video_is_damaged_expect_its_name(written, tmp_path, damage, said):
    _, depths = written
    out = write(tmp_path / "out", *depths)
    video = out / f"videos/{NEAR}/chunk-000/file-000.mp4"
    if damage == "missing":
        video.unlink()
    elif damage == "cut":
        video.write_bytes(video.read_bytes()[:900])
    else:
        other = embodiment() if damage == "short" else embodiment(16, 16)
        depth = depths[0] if damage == "short" else depths[0][:, :16, :16]
        source = write_dataset(tmp_path / "other", other, [episode(depth)], coded=True)
        video.write_bytes((source / f"videos/{NEAR}/chunk-000/file-000.mp4").read_bytes())
    with pytest.raises(DatasetError, match=said):
        _ = open_dataset(out).arrays[NEAR]


def test_when_images_are_too_small_for_the_encoder_expect_the_size_before_anything_is_written(tmp_path):
    with pytest.raises(DatasetError, match="has depth of 15x16, expected at least 16 pixels"):
        write_dataset(tmp_path / "out", embodiment(15, 16), [], coded=True)
    assert not list(tmp_path.iterdir())


def test_a_name_in_the_video_that_is_no_text_harms_nothing(written, tmp_path):
    _, depths = written
    out = write(tmp_path / "out", *depths)
    video = out / f"videos/{NEAR}/chunk-000/file-000.mp4"
    assert b"VideoHandler" in video.read_bytes()
    video.write_bytes(video.read_bytes().replace(b"VideoHandler", b"\xaaideoHandler"))
    np.testing.assert_array_equal(open_dataset(out).arrays[NEAR], read_back(np.concatenate(depths)))
