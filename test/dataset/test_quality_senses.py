# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The quality report of depth, touch, wrenches and point clouds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.tiny_senses import Senses

from hpt_ros.cli.main import main
from hpt_ros.dataset import write_dataset
from hpt_ros.dataset.quality.measure import measure_values

COUNT, TICKS = 3, 30


def made_episodes():
    """Good demonstrations; every sense has a little noise, as real ones do."""
    random = np.random.default_rng(2)
    made = []
    for number in range(COUNT):
        length = TICKS + number
        course = np.linspace(0.0, 0.5, length)[:, None] * random.uniform(0.8, 1.2, 2)
        left = random.integers(90, 110, (length, 16, 24, 3)).astype(np.uint8)
        left[np.arange(length), :, np.arange(length) % 24] = 220
        made.append(
            {
                "left": left,
                "right": left[:, ::-1],
                "near": random.integers(800, 900, (length, 12, 16)).astype(np.uint16),
                "finger": random.normal(size=(length, 5)),
                "cloud": random.normal(size=(length, 6, 3)),
                "wrench": random.normal(size=(length, 6)),
                "state": np.concatenate([course, course], axis=1),
                "action": course[:, ::-1],
            }
        )
    return made


def report_of(tmp_path, made):
    robot = Senses().embodiment
    episodes = [
        (
            "t",
            {k: v for k, v in entry.items() if k not in ("state", "action")},
            entry["state"],
            entry["action"],
        )
        for entry in made
    ]
    folder = write_dataset(tmp_path / "dataset", robot, episodes)
    out = tmp_path / "report.html"
    assert main(["quality", str(folder), "--out", str(out), "--json", "--min", "0"]) == 0
    return json.loads(out.with_suffix(".json").read_text())


def freeze(name):
    def spoil(made):
        made[1][name][5:20] = made[1][name][5]

    return spoil


def blind(made):
    made[2]["near"][:, 1:] = 0
    made[2]["near"][:, 0, 4:] = 0


def numb(made):
    for entry in made:
        entry["finger"][:] = 0.25


def stuck(made):
    for entry in made:
        entry["wrench"][:, 4] = -1.5


@pytest.mark.parametrize(
    ("spoil", "expected", "text"),
    [
        (lambda made: None, [], ""),
        (freeze("near"), [("frozen", 1, "near")], "stream near stays the same for 1.4 s while the arm moves"),
        (freeze("cloud"), [("frozen", 1, "cloud")], "stream cloud stays the same for 1.4 s"),
        (freeze("wrench"), [("frozen", 1, "wrench")], "stream wrench stays the same for 1.4 s"),
        (blind, [("blind", 2, "near")], "100% of the images of depth stream near have hardly a distance"),
        (numb, [("constant", -1, "tactile finger")], "tactile finger is always 0.25"),
        (stuck, [("constant", -1, "wrench tool.torque.y")], "wrench tool.torque.y is always -1.5"),
    ],
)
def test_what_is_wrong_with_a_sense_is_found_there_and_nowhere_else(tmp_path, spoil, expected, text):
    made = made_episodes()
    spoil(made)
    report = report_of(tmp_path, made)
    assert [(f["check"], f["episode"], f["subject"]) for f in report["findings"]] == expected
    assert all(finding["text"].startswith(text) for finding in report["findings"])
    # Nothing is left beside the dataset.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "report.html", "report.json"]


def test_values_are_compared_with_the_tick_before_and_counted():
    values = np.array([[0, 1], [0, 1], [2, 1], [0, 0]], np.uint16)
    sensed = measure_values(values)
    assert sensed.same.tolist() == [False, True, False, False]
    assert sensed.filled.tolist() == [0.5, 0.5, 1.0, 0.0]
