# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LeRobot datasets that are odd in one place: imported as they are meant, or refused in one sentence."""

from __future__ import annotations

import json
import os
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.foreign_dataset import LENGTHS, TASKS, episodes, write_v21, write_v30

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


def info(**values):
    def change(source):
        path = source / "meta/info.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def action_feature(**values):
    def change(source):
        path = source / "meta/info.json"
        content = json.loads(path.read_text())
        content["features"]["action"].update(values)
        path.write_text(json.dumps(content))

    return change


def tables(edit, only=None, pattern="data/**/*.parquet"):
    def change(source):
        for number, path in enumerate(sorted(source.glob(pattern))):
            if only in (None, number):
                pq.write_table(edit(pq.read_table(path)), path)

    return change


def column(name, values, only=None, pattern="data/**/*.parquet"):
    def edit(table):
        found = values(table[name].to_pylist())
        return table.set_column(
            table.column_names.index(name), name, found if isinstance(found, pa.Array) else pa.array(found)
        )

    return tables(edit, only, pattern)


def table_of_episodes(name, values):
    return column(name, values, pattern="meta/episodes/**/*.parquet")


def text(file, edit):
    def change(source):
        path = source / file
        path.write_bytes(edit(path.read_bytes()))

    return change


def line(number):
    return lambda data: data + data.splitlines(keepends=True)[number]


def first(pattern, data):
    def change(source):
        path = min(source.glob(pattern))
        path.write_bytes(path.read_bytes()[:300] if data is None else data)

    return change


def video(codec, pixel_format, size=(16, 24), more=0, start=0, options=None):
    """All videos anew, by another codec or of another length."""

    def change(source):
        for path in sorted(source.glob("videos/**/*.mp4")):
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=10, options=options or {})
                (stream.height, stream.width), stream.pix_fmt = size, pixel_format
                for number in range(LENGTHS[int(path.stem[-6:])] + more):
                    image = np.full((*size, 3), 30 + 9 * number, np.uint8)
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
                    frame.pts, frame.time_base = number + start, Fraction(1, 10)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))

    return change


def hub(source):
    """The layout of Hugging Face's cache: links to blobs."""
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        blob = source.parent / "blobs" / f"{number:040x}"
        blob.parent.mkdir(exist_ok=True)
        path.rename(blob)
        path.symlink_to(os.path.relpath(blob, path.parent))


def other_tasks(*lines):
    return text("meta/tasks.jsonl", lambda _: "".join(json.dumps(item) + "\n" for item in lines).encode())


NESTED = pa.list_(pa.list_(pa.float32()))
# What is odd, in which version, and what the command says that is imported nonetheless.
GOOD = {
    "fps is a float": ("v2.1", info(fps=10.0), ""),
    "fps is a text": ("v2.1", info(fps="10"), ""),
    "more episodes in total": ("v2.1", info(total_episodes=99), "states 99 episodes, 3 are listed"),
    "fewer rows in total": ("v2.1", info(total_frames=5), ""),
    "v2.0 without statistics": ("v2.0", info(), ""),
    "a byte order mark": ("v2.1", text("meta/info.json", lambda data: b"\xef\xbb\xbf" + data), ""),
    "CRLF": ("v2.1", text("meta/tasks.jsonl", lambda data: data.replace(b"\n", b"\r\n")), ""),
    "a task lacks": ("v2.1", other_tasks({"task_index": 0, "task": "pour"}), ""),
    "a task has two texts": (
        "v2.1",
        other_tasks(*({"task_index": i, "task": t} for i, t in ((0, "pour"), (0, "other"), (1, "wipe")))),
        "task 0 has several texts",
    ),
    "task indices are texts": (
        "v2.1", other_tasks({"task_index": "0", "task": "pour"}), "tasks are those of the episodes",
    ),
    "tasks are a pointer": ("v2.1", text("meta/tasks.jsonl", lambda _: POINTER.encode()), "a Git LFS pointer"),
    "no file of tasks": ("v3.0", lambda source: (source / "meta/tasks.parquet").unlink(), "tasks are those of"),
    "doubles": ("v2.1", column("action", lambda rows: pa.array(rows, pa.list_(pa.float64()))), ""),
    "lists of a fixed size": ("v2.1", column("action", lambda rows: pa.array(rows, pa.list_(pa.float32(), 2))), ""),
    "large lists": ("v2.1", column("action", lambda rows: pa.array(rows, pa.large_list(pa.float32()))), ""),
    "lists of lists": ("v2.1", column("action", lambda rows: pa.array([[row] for row in rows], NESTED)), ""),
    "names in lists": ("v2.1", action_feature(names=[["a"], ["b"]]), ""),
    "a plain number as the shape": ("v2.1", action_feature(shape=2), ""),
    "a float in the shape": ("v2.1", action_feature(shape=[2.0]), ""),
    "torch's name of the type": ("v2.1", action_feature(dtype="torch.float32"), ""),
    "chunks_size is not that of the files": ("v2.1", info(chunks_size=1000), "files lie in other chunks"),
    "timestamps rounded": ("v2.1", column("timestamp", lambda rows: [row + 1e-3 for row in rows]), ""),
    "timestamps of another rate": ("v2.1", column("timestamp", lambda rows: [row / 2 for row in rows]), "(20 Hz)"),
    "timestamps that leap": (
        "v2.1", column("timestamp", lambda rows: [row + 5 * (n > 2) for n, row in enumerate(rows)], 1), "leap by 5.1 s",
    ),
    "timestamps of others": ("v2.1", column("timestamp", lambda rows: ["now"] * len(rows)), ""),
    "rows in disorder": ("v2.1", tables(lambda table: table.take(pa.array(range(table.num_rows)[::-1]))), ""),
    "no statistics": ("v3.0", lambda source: (source / "meta/stats.json").unlink(), ""),
    "one image too many": ("v2.1", video("libx264", "yuv420p", more=1), ""),
    "H.264 of 4:4:4": ("v2.1", video("libx264", "yuv444p"), ""),
    "H.264 of 10 bits": ("v2.1", video("libx264", "yuv420p10le"), ""),
    "an odd size": ("v2.1", video("libx264", "yuv444p", (17, 25)), ""),
    "HEVC": ("v2.1", video("libx265", "yuv420p", (64, 64), options={"x265-params": "log-level=0"}), ""),
    "VP9": ("v2.1", video("libvpx-vp9", "yuv420p"), ""),
    "MPEG-4": ("v2.1", video("mpeg4", "yuv420p"), ""),
    "links to blobs": ("v2.1", hub, ""),
}  # fmt: skip
# What is odd, in which version, the sentence, and how many episodes --skip-bad leaves; 0: none can be had.
BAD = {
    "fps is no number": ("v2.1", info(fps="ten"), "add --fps HZ", 0),
    "fps is null": ("v2.1", info(fps=None), "add --fps HZ", 0),
    "an episode is listed twice": (
        "v2.1", text("meta/episodes.jsonl", line(0)), "is listed a second time in meta/episodes", 3,
    ),
    "an episode's number twice": (
        "v3.0", table_of_episodes("episode_index", lambda rows: [0, 0, 2]), "is listed a second time", 2,
    ),
    "a file lacks": ("v2.1", lambda source: min(source.glob("data/**/*.parquet")).unlink(), "is missing", 2),
    "a frame_index twice": ("v2.1", column("frame_index", lambda rows: [0, *rows[:-1]], 0), "frame_index 0 twice", 2),
    "texts as actions": ("v2.1", column("action", lambda rows: [["a", "b"]] * len(rows)), "expected numbers", 0),
    "an action is not finite": (
        "v2.1", column("action", lambda rows: [[float("nan"), 1.0], *rows[1:]], 1), "action nan in row 0", 2,
    ),
    "an action is null": ("v2.1", column("action", lambda rows: [None, *rows[1:]], 1), "has no value in 1", 2),
    "an action is longer": (
        "v2.1", column("action", lambda rows: [[1.0, 2.0, 3.0], *rows[1:]], 1), "vectors of 3, 2 elements", 2,
    ),
    "all actions of an episode are longer": (
        "v2.1", column("action", lambda rows: [[1.0, 2.0, 3.0]] * len(rows), 1), "has 27 values in 9 rows", 2,
    ),
    "an episode without rows": ("v2.1", tables(lambda table: table.slice(0, 0), 1), "has 0 rows in", 2),
    "length is wrong": (
        "v3.0", table_of_episodes("length", lambda rows: [7, *rows[1:]]), "but its meta states 7", 2,
    ),
    "no table of episodes": (
        "v3.0", lambda source: min(source.glob("meta/episodes/**/*.parquet")).unlink(), "no Parquet file in", 0,
    ),
    "a pointer instead of rows": ("v2.1", first("data/**/*.parquet", POINTER.encode()), "`git lfs pull`", 2),
    "a pointer instead of a video": ("v2.1", first("videos/**/*.mp4", POINTER.encode()), "`git lfs pull`", 2),
    "a pointer instead of info.json": ("v2.1", first("meta/info.json", POINTER.encode()), "`git lfs pull`", 0),
    "half of a video": ("v2.1", first("videos/**/*.mp4", None), "cannot be decoded", 2),
    "half of the rows": ("v2.1", first("data/**/*.parquet", None), "cannot be read as parquet", 2),
    "half of info.json": ("v2.1", first("meta/info.json", None), "cannot be read as JSON", 0),
    "an image too few": ("v2.1", video("libx264", "yuv420p", more=-1), "it is cut short", 0),
    "a video that begins late": ("v2.1", video("libx264", "yuv420p", start=3), "begins at 0.3000 s", 0),
}  # fmt: skip


def made(version, change, place):
    source = write_v30(place) if version == "v3.0" else write_v21(place, version=version)
    change(source)
    return source


@pytest.mark.parametrize("odd", GOOD)
def test_what_is_meant_is_imported(odd, tmp_path, capsys):
    version, change, note = GOOD[odd]
    source = made(version, change, tmp_path / "données 数据")
    assert main(["import", str(source), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert (note in said) if note else ("note:" not in said)
    dataset = open_dataset(tmp_path / "out")
    assert [(item.length, item.task) for item in dataset.episodes] == list(zip(LENGTHS, TASKS, strict=True))
    states = np.concatenate([state for *_, state, _ in episodes()])
    np.testing.assert_array_equal(dataset.state, states)
    if note:  # what was corrected on the way is a dataset like others
        assert main(["quality", str(tmp_path / "out"), "--out", str(tmp_path / "page.html")]) in (0, 1)


@pytest.mark.parametrize("odd", BAD)
def test_what_cannot_be_meant_is_one_sentence_and_costs_its_episode(odd, tmp_path, capsys):
    version, change, sentence, left = BAD[odd]
    source = made(version, change, tmp_path / "source")
    assert main(["import", str(source), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "report" not in said
    assert not (tmp_path / "out").exists()
    status = main(["import", str(source), "--out", str(tmp_path / "out"), "--skip-bad"])
    assert status == (0 if left else 2)
    if left:
        assert len(open_dataset(tmp_path / "out").episodes) == left


@pytest.mark.parametrize("stated", ["ten", None, 0])
def test_the_rate_that_is_asked_for_helps(stated, tmp_path):
    source = made("v2.1", info(fps=stated), tmp_path / "source")
    assert main(["import", str(source), "--out", str(tmp_path / "out"), "--fps", "10"]) == 0
    assert open_dataset(tmp_path / "out").embodiment.tick_hz == 10
