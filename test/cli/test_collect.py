# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt collect`: bags that the other verbs take, or a dataset; interrupted, and gone on with."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.cli.collection import MANIFEST, open_seeds
from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.sim.suites.fetch.environment import FetchEnvironment

ALONE = ["--workers", "1"]


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_demonstrations_become_a_dataset(tmp_path, capsys):
    bags, dataset = tmp_path / "bags", tmp_path / "dataset"
    arguments = ["collect", "feed_dog", "-n", "1", "--out", str(bags), *ALONE]
    assert main([*arguments, "--disturbance-rad", "0.01"]) == 0
    assert "1 successes" in capsys.readouterr().out
    assert names(bags) == ["feed_dog_01000000"]
    shown = [path.name for path in bags.iterdir() if not path.name.startswith(".")]  # as a shell's bags/*
    assert shown == ["feed_dog_01000000"]
    assert main(["convert", str(bags), "--out", str(dataset)]) == 0
    (episode,) = open_dataset(dataset).episodes
    assert episode.length > 50
    assert main(arguments) == 2  # those were disturbed
    error = capsys.readouterr().err
    assert "disturbance of the demonstrations" in error
    assert "is '0.01 rad', expected '0 rad'" in error


@pytest.fixture
def fetch():
    pytest.importorskip("gymnasium_robotics", reason="the extra suites is not installed")
    return ["collect", "fetch/reach", "fetch/push", "-n", "2", *ALONE]


def files(folder):
    """What is in a dataset, but for where it came from and when."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and b'"source"' not in path.read_bytes()
    }


def scene_start_m(task):
    environment = FetchEnvironment(task=task)
    try:
        environment.reset(0)
        return environment.grip_m
    finally:
        environment.close()


def test_a_dataset_at_once_is_what_conversion_makes_of_the_bags(tmp_path, fetch, capsys):
    bags, converted, direct = (tmp_path / name for name in ("bags", "converted", "direct"))
    assert main([*fetch, "--out", str(bags)]) == 0
    assert main(["convert", str(bags), "--out", str(converted)]) == 0
    assert main([*fetch, "--dataset", str(direct)]) == 0
    assert "4 successes" in capsys.readouterr().out
    assert files(direct) == files(converted)
    assert len(files(direct)) >= 5
    found = open_dataset(direct)
    tasks = {episode.task for episode in found.episodes}
    assert tasks == {"move the gripper to the red ball", "push the block to the red ball"}
    # Every policy begins with the hand where the scene puts it, so demonstrations must show it there.
    starts_m = {"move": scene_start_m("reach"), "push": scene_start_m("push")}
    for episode in found.episodes:
        start_m = starts_m[episode.task.split()[0]]
        # It settles by 3 mm; the first step of its way is 13 mm.
        np.testing.assert_allclose(found.state[episode.start, :3], start_m, atol=5e-3)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert main([*fetch, "--dataset", str(direct)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_dataset_of_two_robots_is_refused_before_anything_is_recorded(tmp_path, fetch, capsys):
    assert main(["collect", "feed_dog", "fetch/reach", "--dataset", str(tmp_path / "both"), *ALONE]) == 2
    assert "one robot in a dataset" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_was_interrupted_goes_on_as_if_it_had_not_been(tmp_path, fetch, capsys):
    bags = tmp_path / "bags"
    assert main([*fetch, "--out", str(bags)]) == 0
    whole = names(bags)
    assert len(whole) == 4
    kept = bags / whole[-1]
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    for name in whole[:2]:
        shutil.rmtree(bags / name)
    cut = bags / whole[1]
    cut.mkdir()
    (cut / f"{whole[1]}.mcap").write_bytes(b"\x89MCAP0\r\n and no more")  # a process that was killed
    (bags / "fetch.push_notes").mkdir()  # somebody's own
    capsys.readouterr()
    assert main([*fetch, "--out", str(bags)]) == 0
    assert "2 episodes of" in capsys.readouterr().err
    assert names(bags) == sorted([*whole, "fetch.push_notes"])
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    (bags / "fetch.push_notes").rmdir()
    assert main(["convert", str(bags), "--out", str(tmp_path / "dataset")]) == 0


@given(st.lists(st.booleans(), min_size=40, max_size=40), st.integers(1, 6), st.data())
def test_which_scenes_are_recorded_does_not_depend_on_interruptions(outcomes, wanted, data):
    outcomes += [True] * wanted  # so that there is an end

    def finished(recorded, most):
        while seeds := open_seeds(recorded, 7, wanted):
            assert not set(seeds) & set(recorded)
            for seed in seeds[:most]:
                recorded[seed] = outcomes[seed - 7]
        return recorded

    straight = finished({}, None)
    assert sum(straight.values()) == wanted
    assert sorted(straight) == list(range(7, 7 + len(straight)))
    assert straight[max(straight)]
    left = data.draw(st.sets(st.sampled_from(sorted(straight))))
    assert finished({seed: straight[seed] for seed in left}, 1) == straight


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("\\begin")
    assert main(["collect", "feed_dog", "--out", str(tmp_path), *ALONE]) == 2
    assert "holds something already" in capsys.readouterr().err
    (tmp_path / MANIFEST).write_text("{")
    assert main(["collect", "feed_dog", "--out", str(tmp_path), *ALONE]) == 2
    assert MANIFEST in capsys.readouterr().err
    (tmp_path / MANIFEST).write_text(json.dumps({"format": "another"}))
    assert main(["collect", "feed_dog", "--out", str(tmp_path), *ALONE]) == 2
    assert "format of the demonstrations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["feed_cat"], "did you mean 'feed_dog'"),
        (["metaworld/hpt5"], "did you mean 'metaworld/hpt4'"),
        (["feed_dog", "-n", "0"], "--episodes is 0"),
        (["feed_dog", "--disturbance-rad", "nan"], "--disturbance-rad is nan"),
        (["feed_dog", "--policy", "nobody"], "nobody"),
    ],
)
def test_mistakes_are_one_sentence(arguments, words, tmp_path, capsys):
    assert main(["collect", *arguments, "--out", str(tmp_path / "bags"), *ALONE]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "bags").exists()


def test_a_file_is_no_folder_for_bags(tmp_path, capsys):
    file = tmp_path / "bags"
    file.write_bytes(b"")
    assert main(["collect", "feed_dog", "-n", "1", "--out", str(file), *ALONE]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_policy_that_fails_too_often_is_no_demonstrator(tmp_path, capsys):
    out = str(tmp_path / "bags")
    arguments = ["--policy", "hold", "-n", "10", "--time-limit-s", "0.1", *ALONE]
    assert main(["collect", "feed_dog", "--out", out, *arguments]) == 2
    assert "0 of 10" in capsys.readouterr().err
