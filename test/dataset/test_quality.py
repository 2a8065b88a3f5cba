# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The quality report: what is wrong with a dataset is found, and nothing is found in a good one."""

from __future__ import annotations

import dataclasses
import html
import json

import numpy as np
import pytest
from support.quality_faults import (
    COUNT,
    ROBOT,
    constant,
    darken,
    duplicate,
    idle,
    in_memory,
    made_episodes,
    write,
)

from hpt_ros.cli.main import main
from hpt_ros.dataset.quality.checks import assess
from hpt_ros.dataset.quality.findings import CHECKS, SEVERITIES
from hpt_ros.dataset.quality.measure import (
    EpisodeArrays,
    ImageMeasures,
    measure_images,
)
from hpt_ros.dataset.quality.page import page
from hpt_ros.embodiment import Embodiment


def freeze(made):
    made[2]["images"][10:] = made[2]["images"][10]


def overexpose(made):
    made[3]["images"][:] = np.maximum(made[3]["images"], 250)


def rush(made):
    made[6]["action"][20:] += 0.5


def touch(made):
    made[7]["action"][:, 0] = np.minimum(made[7]["action"][:, 0] * 2.2, 2.0)


def offset(made):
    for entry in made:
        entry["state"][:, 0] += 0.1


def wander(made):
    made[8]["action"][:, 1] *= -1.0


def assessed(folder, out):
    status = main(["quality", str(folder), "--out", str(out), "--json", "--min", "0"])
    report = json.loads(out.with_suffix(".json").read_text())
    # Whatever fraction is asked for, an error of the dataset as a whole fails.
    of_all = [finding for finding in report["findings"] if finding["episode"] < 0]
    assert status == any(report["checks"][finding["check"]]["severity"] == "error" for finding in of_all)
    return json.loads(out.with_suffix(".json").read_text())


def where(report, check):
    return sorted(
        {(entry["episode"], entry["subject"]) for entry in report["findings"] if entry["check"] == check}
    )


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return assessed(write(folder / "dataset", made_episodes()), folder / "report.html")


def test_a_good_dataset_gives_no_finding(good):
    assert good["findings"] == []
    assert len(good["episodes"]) == COUNT
    assert [entry["duration_s"] for entry in good["episodes"][:3]] == pytest.approx([4.0, 4.1, 4.2])


def test_figures_of_a_good_episode_are_those_of_its_course(good):
    action = made_episodes()[0]["action"]
    speed = np.abs(np.diff(action, axis=0)).max() * 10.0 / 2.0
    entry = good["episodes"][0]
    assert entry["peak_velocity"] == pytest.approx(speed, rel=1e-4)
    assert entry["limit_ratio"] == 0.0
    assert 0.3 <= entry["idle_end_s"] <= 0.6
    (dimension,) = [item for item in good["dimensions"] if (item["kind"], item["name"]) == ("action", "a")]
    assert sum(dimension["histogram"]) == sum(len(item["action"]) for item in made_episodes())
    assert dimension["maximum"] == pytest.approx(max(item["action"][:, 0].max() for item in made_episodes()))


@pytest.mark.parametrize(
    ("spoil", "check", "expected"),
    [
        (freeze, "frozen", [(2, "top")]),
        (darken, "dark", [(3, "top")]),
        (overexpose, "bright", [(3, "top")]),
        (idle, "idle", [(4, "")]),
        (duplicate, "duplicate", [(9, "")]),
        (constant, "constant", [(-1, "state b.position")]),
        (rush, "velocity", [(6, "")]),
        (rush, "jerk", [(6, "")]),
        (touch, "limit", [(7, "")]),
        (offset, "offset", [(-1, "state a.position")]),
    ],
)
def test_when_something_is_wrong_expect_it_found_there_and_nowhere_else(tmp_path, spoil, check, expected):
    made = made_episodes()
    spoil(made)
    report = assessed(write(tmp_path / "dataset", made), tmp_path / "report.html")
    assert where(report, check) == expected
    spoiled = {episode for episode, _ in expected}
    assert {entry["episode"] for entry in report["findings"]} <= spoiled | {-1}
    assert CHECKS[check].remedy in html.unescape((tmp_path / "report.html").read_text())


def test_when_an_episode_goes_elsewhere_expect_an_outlier():
    made = made_episodes()
    wander(made)
    assert {finding.episode for finding in assess(ROBOT, in_memory(made)).of("outlier")} == {8}


def test_when_all_goes_wrong_at_once_expect_all_found(tmp_path):
    made = made_episodes()
    for spoil in (freeze, idle, duplicate, constant):
        spoil(made)
    report = assessed(write(tmp_path / "dataset", made), tmp_path / "report.html")
    assert where(report, "frozen") == [(2, "top")]
    assert where(report, "idle") == [(4, "")]
    assert where(report, "duplicate") == [(9, "")]
    assert where(report, "constant") == [(-1, "state b.position")]


def test_a_still_picture_of_a_still_arm_is_not_frozen():
    made = made_episodes()[0]
    action = np.repeat(made["action"][:1], 20, axis=0)
    images = ImageMeasures(np.full(20, 100.0), np.concatenate([[np.nan], np.zeros(19)]))
    quality = assess(ROBOT, [EpisodeArrays(0, "rest", action, action, {"top": images})])
    assert {finding.check for finding in quality.findings} == {"idle", "constant"}


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_short_episode_is_measured(length):
    action = np.linspace(0.0, 0.1, length)[:, None] * np.ones((1, 2))
    images = measure_images(np.full((length, 48, 64, 3), 100, np.uint8))
    (entry,) = assess(ROBOT, [EpisodeArrays(0, "", action, action, {"top": images})]).episodes
    assert entry.duration_s == pytest.approx(length / 10)
    assert np.isfinite([entry.idle_ratio, entry.peak_velocity, entry.peak_jerk]).all()


def test_episodes_that_nearly_agree_are_no_duplicates():
    made = made_episodes()
    made[9] = {key: value.copy() for key, value in made[5].items()}
    made[9]["state"] = made[9]["state"] + 1e-3
    made[10] = {key: value.copy() for key, value in made[4].items()}
    made[10]["action"][7, 1] += 1e-3
    assert assess(ROBOT, in_memory(made)).of("duplicate") == []


def test_three_of_a_kind_are_two_duplicates():
    made = made_episodes()
    made[2] = made[7] = made[11]
    assert [finding.episode for finding in assess(ROBOT, in_memory(made)).of("duplicate")] == [7, 11]


def rest_at_start(made):
    """More than two seconds of rest before the motion."""
    for key in ("action", "state"):
        made[3][key] = np.concatenate([np.repeat(made[3][key][:1], 22, axis=0), made[3][key]])


def test_a_long_rest_before_the_motion_is_found_and_a_short_one_is_not():
    made = made_episodes()
    assert assess(ROBOT, in_memory(made)).of("idle_edge") == []
    rest_at_start(made)
    found = assess(ROBOT, in_memory(made)).of("idle_edge")
    assert [(finding.episode, finding.subject) for finding in found] == [(3, "start")]


def test_the_verdict_is_of_the_worst_finding_and_every_check_has_a_severity():
    assert {check.severity for check in CHECKS.values()} == set(SEVERITIES)
    made = made_episodes()
    assert "Nothing found" in page(assess(ROBOT, in_memory(made)), "x")
    duplicate(made)
    assert "look at the warnings" in page(assess(ROBOT, in_memory(made)), "x")
    offset(made)
    quality = assess(ROBOT, in_memory(made))
    assert "Fix the errors" in page(quality, "x")
    assert quality.count("error") + quality.count("warning") + quality.count("note") == len(quality.findings)


def test_a_camera_that_stops_before_a_scene_with_sharp_edges_is_found_through_the_video(tmp_path):
    # Sharp edges jump where the codec begins anew, every few images.
    made = made_episodes()
    random = np.random.default_rng(8)
    texture = np.kron(random.integers(20, 235, (24, 32)), np.ones((2, 2)))[..., None].astype(np.uint8)
    for entry in made:
        square = entry["images"] == 220
        entry["images"] = np.where(square, entry["images"], np.repeat(texture[None], len(square), 0))
    freeze(made)
    report = assessed(write(tmp_path / "dataset", made), tmp_path / "report.html")
    assert where(report, "frozen") == [(2, "top")]


def test_an_episode_that_shakes_is_less_smooth_than_the_others():
    made = made_episodes()
    arrays = in_memory(made)
    shaking = arrays[4].action + 0.02 * np.sin(2.5 * np.arange(len(arrays[4].action)))[:, None]
    arrays[4] = dataclasses.replace(arrays[4], action=shaking)
    found = assess(ROBOT, arrays).of("smoothness")
    assert [finding.episode for finding in found] == [4]
    assert "log dimensionless jerk" in found[0].text


def test_a_gripper_that_chatters_is_found_and_one_that_grasps_twice_is_not():
    text = ROBOT.to_yaml().replace("rate_hz: 50.0, horizon", "grippers: [b], rate_hz: 50.0, horizon")
    robot = Embodiment.loads(
        text if "grippers" in text else text.replace("  horizon: 4", "  horizon: 4\n  grippers: [b]")
    )
    assert robot.action.grippers == ("b",)
    found = {}
    for name, half_period in (("chatter", 2), ("grasp", 10)):
        arrays = in_memory(made_episodes())
        switched = np.where((np.arange(len(arrays[0].action)) // half_period) % 2, 2.0, -2.0)
        arrays[0] = dataclasses.replace(
            arrays[0], action=np.stack([arrays[0].action[:, 0], switched], axis=1)
        )
        found[name] = [finding.episode for finding in assess(robot, arrays).of("chatter")]
    assert found == {"chatter": [0], "grasp": []}


def test_what_was_not_assessed_is_told_with_its_reason(good, tmp_path, capsys):
    quality = assess(ROBOT, in_memory(made_episodes())[:3])
    assert quality.not_assessed["outlier"] == "fewer than 8 episodes"
    assert quality.not_assessed["chatter"] == "the embodiment file names no grippers"
    assert "dark" not in quality.not_assessed
    text = page(quality, "here")
    assert "not assessed</span> unlike the others: fewer than 8 episodes" in text
