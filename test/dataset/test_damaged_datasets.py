# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Damaged datasets, of others and of this project: each verb ends in one sentence or well, never in a trace."""

from __future__ import annotations

import warnings

import pytest
from support.foreign_dataset import write_v21, write_v30
from support.mutations import copy_of, mutate
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.errors import HptError
from hpt_ros.learning import open_cache
from rosbag_tools.converting.convert import convert

FOREIGN = ("v2.1 videos", "v2.1 images", "v3.0")
ARRAYS = ("hdf5", "hdf5 of images", "zarr")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    made = pytest.importorskip("support.foreign_arrays")
    folder = tmp_path_factory.mktemp("arrays")
    (folder / "robomimic").mkdir()
    made.robomimic(folder / "robomimic/lift.hdf5")
    places = (
        folder / "robomimic",
        made.aloha(folder / "aloha", True),
        made.replay_buffer(folder / "buffer.zarr"),
    )
    return dict(zip(ARRAYS, places, strict=True))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    return {
        "v2.1 videos": write_v21(folder / "videos"),
        "v2.1 images": write_v21(folder / "images", images="image"),
        "v3.0": write_v30(folder / "v30"),
    }


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A dataset of one bag with every sense, and a bag that may be appended to it."""
    folder, senses = tmp_path_factory.mktemp("own"), Senses()
    bags = [
        senses.write(folder / f"bag{number}", senses.all_messages(1.6 + 0.3 * number)) for number in (0, 1)
    ]
    convert([bags[0]], folder / "dataset", senses.embodiment)
    return folder / "dataset", bags[1]


def ends_in_a_sentence(capfd, arguments, what):
    """Run a verb; return whether it succeeded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        status = main([str(argument) for argument in arguments])
    err = capfd.readouterr().err
    assert status in (0, 1, 2), f"{arguments[0]}: {what}: {err[-3000:]}"
    if status == 2:
        sentence = err.strip().splitlines()[-1]
        assert sentence.startswith(f"hpt {arguments[0]}: error: "), f"{what}: {err}"
        assert len(sentence) < 3000
    return status == 0


def import_mutated(foreign, tmp_path, capfd, seeds):
    done = 0
    for seed in seeds:
        source = copy_of(list(foreign.values())[seed % len(foreign)], tmp_path / "source")
        what = mutate(source, seed)
        arguments = [
            "import",
            source,
            "--out",
            tmp_path / "out",
            "--overwrite",
            *(["--skip-bad"] if seed % 2 else []),
        ]
        if done_so := ends_in_a_sentence(capfd, arguments, what):
            open_dataset(tmp_path / "out")  # what was imported is whole
        done += done_so
    return done


def use_mutated(own, tmp_path, capfd, seeds):
    whole, bag = own
    for seed in seeds:
        dataset = copy_of(whole, tmp_path / "dataset")
        what = mutate(dataset, seed)
        for name in ("export.hdf5", "view.mp4", "report.html"):
            (tmp_path / name).unlink(missing_ok=True)
        ends_in_a_sentence(capfd, ["export", dataset, "--out", tmp_path / "export.hdf5"], what)
        ends_in_a_sentence(capfd, ["quality", dataset, "--out", tmp_path / "report.html", "--json"], what)
        if seed % 4 == 0:  # drawing takes long
            ends_in_a_sentence(capfd, ["view", dataset, "--out", tmp_path / "view.mp4"], what)
        try:  # as finetune and evaluate do
            opened = open_dataset(dataset, cache_root=tmp_path / "cache")
            open_cache(opened, tmp_path / "cache")
        except HptError as error:
            assert "\n" not in str(error)
        ends_in_a_sentence(capfd, ["convert", bag, "--out", dataset, "--append"], what)


def test_mutated_datasets_of_others(foreign, tmp_path, capfd):
    assert 0 < import_mutated(foreign, tmp_path, capfd, range(24)) < 24


def test_mutated_datasets_of_ours(own, tmp_path, capfd):
    use_mutated(own, tmp_path, capfd, range(4))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1600, 50))
def test_many_mutated_datasets_of_others(foreign, tmp_path, capfd, first):
    import_mutated(foreign, tmp_path, capfd, range(first, first + 50))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1300, 50))
def test_many_mutated_arrays_of_others(arrays, tmp_path, capfd, first):
    import_mutated(arrays, tmp_path, capfd, range(first, first + 50))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1400, 50))
def test_many_mutated_datasets_of_ours(own, tmp_path, capfd, first):
    use_mutated(own, tmp_path, capfd, range(first, first + 50))
