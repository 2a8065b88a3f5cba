# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a run writes for people: report.html and TensorBoard's events, of one robot and of many, resumed too."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from support.html_page import checked_page
from support.tiny_mixture import mapping_of_recipe, write_mixture, write_robot, write_robots

from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.extras import MissingExtraError
from hpt_ros.learning import Recipe, read_recipe, train
from hpt_ros.learning.mixture import mixture_of, open_mixture
from hpt_ros.learning.mixture_config import load_mixture
from hpt_ros.learning.trackers import WeightsAndBiases

from .conftest import make_recipe


def recipe(**changes: object) -> Recipe:
    return read_recipe(mapping_of_recipe(**changes), where="the recipe")


def scalars(folder: Path) -> dict[str, list[int]]:
    """Steps of each curve in TensorBoard's files: records of a length, its checksum, an event and its checksum."""
    from tensorboardX.proto.event_pb2 import Event  # what another program reads them by

    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event()
            event.ParseFromString(data[place + 12 : place + 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
            place += length + 16
    return found


def test_the_report_of_one_robot_shows_its_dimensions_frames_and_recipe(
    dataset_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run <b>"
    made = make_recipe(iterations=8, validation_every=4, log_every=2)
    train(open_dataset(dataset_folder), made, out, cache_root=tmp_path, command="hpt finetune <script>")
    page = checked_page((out / "report.html").read_text(encoding="utf-8"))
    assert "Training of run <b>" in page.text
    assert "hpt finetune <script>" in page.text
    assert "8 of 8" in page.text
    for name in ("j1, rad", "j2, rad", "j3, rad", "Learning rate", "batch_size: "):
        assert name in page.text
    # three dimensions of at least one validation episode, beside its frames from two cameras
    assert page.text.count("predicted") >= 3
    assert len([place for place in page.addresses if place.startswith("data:image/jpeg")]) >= 6
    steps = scalars(out / "tensorboard")
    assert steps["training/loss"] == [2, 4, 6, 8]
    assert steps["validation/tiny/error/j2"] == [4, 8]


def test_the_report_of_a_resumed_mixture_has_the_whole_curve_and_every_dataset(tmp_path: Path) -> None:
    file, out = write_robots(tmp_path), tmp_path / "run"
    mixture = open_mixture(load_mixture(file), 0.3, 0)
    train(mixture, recipe(), out, stop_after=4)
    first = checked_page((out / "report.html").read_text(encoding="utf-8"))
    assert "4 of 8" in first.text
    train(mixture, recipe(), out, resume=True)
    page = checked_page((out / "report.html").read_text(encoding="utf-8"))
    assert "8 of 8" in page.text
    for name in ("slider", "gantry", "arm"):
        assert f"licence of {name}" in page.text
        assert f"of each dimension: {name}" in page.text
        assert f"of {name} move the {name}" in " ".join(page.text.split())
    steps = scalars(out / "tensorboard")
    assert steps["training/loss"] == [2, 4, 6, 8]
    assert steps["validation/gantry/loss"] == [4, 8]


def test_outliers_are_named_where_they_stretch_the_limits(tmp_path: Path) -> None:
    from hpt_ros.learning.report import spread_of

    mixture = mixture_of(open_dataset(write_robot(tmp_path / "arm", "arm", length=200)), 0.3, 0)

    def narrow() -> set[tuple[str, str]]:
        spread = spread_of(mixture, "arm", {"action", "state"})
        return {(entry["what"], entry["name"]) for entry in spread if entry["narrow"]}

    before = narrow()
    arm = mixture.of("arm")[0]
    row = arm.split.train[0].start
    arm.dataset.action.setflags(write=True)
    arm.dataset.action[row, 1] = 50.0
    assert ("action", "j1") not in before
    assert narrow() - before == {("action", "j1")}


def test_a_dimension_that_hardly_moves_is_named_in_the_report(tmp_path: Path) -> None:
    from hpt_ros.learning.report import spread_of

    mixture = mixture_of(open_dataset(write_robot(tmp_path / "arm", "arm")), 0.3, 0)
    actions = mixture.of("arm")[0].dataset.action
    actions.setflags(write=True)
    noise = np.random.default_rng(0).uniform(-2e-4, 2e-4, len(actions))
    actions[:, 1] = 0.5 + noise
    actions[:, 2] = 0.5  # only shifted
    still = [
        (entry["what"], entry["name"])
        for entry in spread_of(mixture, "arm", {"action", "state"})
        if entry["still"]
    ]
    assert still == [("action", "j1")]
    train(mixture, recipe(), tmp_path / "run")
    page = checked_page((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert "action j1 of arm hardly moves" in " ".join(page.text.split())


def test_a_run_without_validation_episodes_has_a_report_too(tmp_path: Path) -> None:
    mixture = open_mixture(load_mixture(write_robots(tmp_path)), 0.0, 0)
    train(mixture, recipe(validation_ratio=0.0), tmp_path / "run")
    page = checked_page((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert "Predicted and recorded" not in page.text
    assert "Loss" in page.text


def test_names_from_anywhere_cannot_break_the_page(tmp_path: Path) -> None:
    write_robots(tmp_path)
    hostile = '"><script>alert(1)</script>'
    file = write_mixture(tmp_path, [{"path": "slider", "name": hostile, "licence": hostile}, {"path": "arm"}])
    train(open_mixture(load_mixture(file), 0.3, 0), recipe(), tmp_path / "run")
    page = checked_page((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert hostile in page.text


@pytest.mark.parametrize(
    ("module", "project", "error"),
    [("wandb", "project", MissingExtraError), ("tensorboardX", "", ModuleNotFoundError)],
)
def test_a_tracker_that_is_not_installed_is_reported_before_images_are_decoded(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    project: str,
    error: type[Exception],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(error, match=module):
        train(
            dataset, make_recipe(), tmp_path / "run", cache_root=tmp_path / "cache", wandb=project
        )  # fmt: skip
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "run" / "train_state.pt").exists()


def test_weights_and_biases_takes_a_run_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = WeightsAndBiases("project", tmp_path, {"lr": 0.1}, resumed=False)
    tracker.scalars(1, {"training/loss": 2.0})
    tracker.close()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
