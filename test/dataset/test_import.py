# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Import of LeRobot v2.1 and v3.0 datasets: vectors exactly, images at their rows, and an embodiment of the data."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.foreign_dataset import LENGTHS, TASKS, episodes, write_v21, write_v30

from hpt_ros.cli.main import main
from hpt_ros.dataset import DatasetError, open_dataset
from hpt_ros.dataset.importing.importer import import_dataset
from hpt_ros.dataset.importing.lerobot import LeRobotSource
from hpt_ros.dataset.importing.source import to_name
from hpt_ros.embodiment.estimates import make_unique
from hpt_ros.learning import open_cache


@pytest.mark.parametrize("kind", ["v2.1 videos", "v2.1 images", "v2.0", "v3.0"])
def test_what_is_imported_is_what_was_there(kind, tmp_path, capsys):
    if kind == "v3.0":
        source = write_v30(tmp_path / "source")
    else:
        images = "image" if kind == "v2.1 images" else "video"
        source = write_v21(tmp_path / "source", images=images, version=kind.split()[0])
    out = tmp_path / "out"
    assert main(["import", str(source), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "3 episodes, 19 ticks at 10 Hz" in said
    assert ("columns left out: observation.effort" in said) == (kind != "v3.0")
    dataset = open_dataset(out)
    expected = episodes()
    np.testing.assert_array_equal(dataset.state, np.concatenate([item[2] for item in expected]))
    np.testing.assert_array_equal(dataset.action, np.concatenate([item[3] for item in expected]))
    assert [episode.task for episode in dataset.episodes] == list(TASKS)
    assert [episode.length for episode in dataset.episodes] == list(LENGTHS)
    frames = open_cache(dataset, tmp_path / "cache").frames
    levels = np.concatenate([item[1] for item in expected])
    np.testing.assert_allclose(frames[:, 0].mean(axis=(1, 2, 3)), levels, atol=3)
    np.testing.assert_allclose(frames[:, 1].mean(axis=(1, 2, 3)), 255 - levels, atol=3)
    robot = dataset.embodiment
    assert robot.name == "so_100"
    assert [stream.name for stream in robot.image_streams] == ["top", "wrist_cam"]
    assert robot.action.names == (("shoulder", "elbow") if kind == "v3.0" else ("shoulder", "shoulder_2"))
    assert (robot.lower < dataset.action.min(axis=0)).all()
    assert (robot.upper > dataset.action.max(axis=0)).all()


def test_size_and_name_may_be_chosen(tmp_path):
    source = write_v21(tmp_path / "source")
    command = ["import", str(source), "--out", str(tmp_path / "out"), "--size", "8x12", "--name", "My arm"]
    assert main(command) == 0
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.image_size, dataset.embodiment.name) == ((8, 12), "my_arm")


def test_an_embodiment_may_be_given_and_must_fit(tmp_path, capsys):
    source = write_v21(tmp_path / "source")
    assert main(["import", str(source), "--out", str(tmp_path / "made")]) == 0
    made = tmp_path / "made/meta/hpt/embodiment.yaml"
    text = made.read_text().replace("name: so_100", "name: mine")
    (tmp_path / "mine.yaml").write_text(text)
    command = [
        "import",
        str(source),
        "--out",
        str(tmp_path / "out"),
        "--embodiment",
        str(tmp_path / "mine.yaml"),
    ]
    assert main(command) == 0
    assert open_dataset(tmp_path / "out").embodiment.name == "mine"
    capsys.readouterr()
    for old, new, words in (
        ("length: 4", "length: 5", "its state has 5 elements, the data has 4"),
        ("name: top", "name: side", "it has the view 'side', the data has top, wrist_cam"),
        ("tick_hz: 10.0", "tick_hz: 20.0", "its tick_hz is 20, the data has 10"),
    ):
        assert old in text
        (tmp_path / "mine.yaml").write_text(text.replace(old, new))
        assert main([*command, "--overwrite"]) == 2
        assert words in capsys.readouterr().err


def test_an_episode_whose_task_changes_is_split(tmp_path):
    source = write_v21(tmp_path / "source")
    path = source / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("task_index")
    table = table.set_column(place, "task_index", pa.array([1] * 5 + [0] * 4))
    pq.write_table(table, path)
    import_dataset(LeRobotSource(source), tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert [(e.task, e.length) for e in dataset.episodes] == [
        ("pour", 6),
        ("wipe", 5),
        ("pour", 4),
        ("pour", 4),
    ]
    frames = open_cache(dataset, tmp_path / "cache").frames
    np.testing.assert_allclose(
        frames[:, 0].mean(axis=(1, 2, 3)), np.concatenate([item[1] for item in episodes()]), atol=3
    )


def spoil(source, name, old, new):
    path = source / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda s: spoil(s, "meta/info.json", "v2.1", "v1.6"), "codebase_version 'v1.6', expected v2.0 or"),
        (lambda s: spoil(s, "meta/info.json", "{", ""), "info.json' cannot be read as JSON"),
        (
            lambda s: spoil(s, "meta/info.json", '"action"', '"act"'),
            "has no action column called action or actions; its columns of numbers are act (2)",
        ),
        (
            lambda s: spoil(s, "meta/info.json", "data/chunk", "../../data/chunk"),
            "outside its own folder",
        ),
        (lambda s: spoil(s, "meta/info.json", "{episode_chunk", "{chunk"), "cannot be filled in"),
        (
            lambda s: spoil(s, "meta/episodes.jsonl", '"length": 9', '"length": 8'),
            "has 9 rows in 'data/chunk-000/episode_000001.parquet', but its meta states 8",
        ),
        (
            lambda s: (s / "data/chunk-000/episode_000001.parquet").write_bytes(b"PAR1"),
            "episode_000001.parquet' cannot be read as parquet",
        ),
        (
            lambda s: next((s / "videos").rglob("*1.mp4")).write_bytes(b"no"),
            "episode_000001.mp4' cannot be decoded",
        ),
    ],
)
def test_when_the_source_is_damaged_expect_a_sentence_and_nothing_left(damage, words, tmp_path, capsys):
    source = write_v21(tmp_path / "source")
    damage(source)
    assert main(["import", str(source), "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_skip_bad_leaves_an_episode_out_and_says_so(tmp_path, capsys):
    source = write_v21(tmp_path / "source")
    for path in (source / "videos").rglob("*1.mp4"):
        path.write_bytes(path.read_bytes()[:600])
    out = str(tmp_path / "out")
    assert main(["import", str(source), "--out", out]) == 2
    assert main(["import", str(source), "--out", out, "--skip-bad"]) == 0
    assert "skipped episode 1 of dataset" in capsys.readouterr().out
    assert [episode.length for episode in open_dataset(out).episodes] == [6, 4]


def test_when_a_value_is_not_finite_expect_where(tmp_path):
    source = write_v21(tmp_path / "source")
    path = source / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path)
    states = np.array(table.column("observation.state").to_pylist())
    states[3, 1] = np.nan
    place = table.column_names.index("observation.state")
    pq.write_table(table.set_column(place, "observation.state", pa.array(list(states))), path)
    with pytest.raises(DatasetError, match="episode 0 of .* has the state nan in row 3, element 1"):
        import_dataset(LeRobotSource(source), tmp_path / "out")


def test_a_dataset_of_this_project_needs_no_import(tmp_path, capsys):
    assert main(["import", str(write_v21(tmp_path / "source")), "--out", str(tmp_path / "out")]) == 0
    assert main(["import", str(tmp_path / "out"), "--out", str(tmp_path / "again")]) == 2
    assert (
        "is a dataset of this project, which is not imported; train on it as it is" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "the dataset 'nowhere' does not exist"),
        (["{source}", "--size", "12"], "--size is '12', expected HEIGHTxWIDTH"),
        (["."], "'.' is no dataset, but 1 lie below it; give one of them, as 'source'"),
        (["source/data"], "'source/data' is none of a LeRobot dataset, "),
        (["{source}", "--fps", "0"], "--fps is 0, expected 1 to 1000 rows a second"),
    ],
)
def test_when_the_caller_errs_expect_one_sentence(arguments, words, tmp_path, capsys, monkeypatch):
    source = write_v21(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    filled = [argument.format(source=source) for argument in arguments]
    assert main(["import", *filled, "--out", "out"]) == 2
    assert words in capsys.readouterr().err


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=90), st.lists(st.sampled_from(["a", "b", "a_2", "a_3"]), max_size=8))
def test_names_are_made_valid_and_unique(text, names):
    from hpt_ros.embodiment.streams import NAME

    assert NAME.fullmatch(to_name(text))
    assert len(set(make_unique(names))) == len(names)
