# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Quality report: what the conversion said of the recordings, ticks that were lost and streams out of step."""

from __future__ import annotations

import dataclasses
import json

from support.quality_faults import ROBOT, in_memory, made_episodes, write

from hpt_ros.cli.main import main
from hpt_ros.dataset.quality.checks import assess
from hpt_ros.dataset.quality.findings import DROPPED_RATIO
from hpt_ros.dataset.quality.measure import Recorded
from hpt_ros.embodiment import Embodiment

from .test_quality import assessed, where


def recorded_as(**changed):
    plain = Recorded(100, {}, {"top": 0.02, "joints": 0.01})
    nothing = in_memory(made_episodes())
    return [
        dataclasses.replace(entry, recorded=dataclasses.replace(plain, **changed) if place == 5 else plain)
        for place, entry in enumerate(nothing)
    ]


def test_ticks_lost_in_the_recording_are_found_from_a_twentieth_on():
    few, many = round(100 * DROPPED_RATIO) - 1, round(100 * DROPPED_RATIO)
    assert assess(ROBOT, recorded_as(dropped={"top": few})).of("dropped") == []
    (finding,) = assess(ROBOT, recorded_as(dropped={"top": many})).of("dropped")
    assert (finding.episode, finding.subject) == (5, "top")


def test_a_stream_older_than_a_tick_is_out_of_step_and_a_state_is_not():
    assert assess(ROBOT, recorded_as(ages_s={"top": 0.09, "joints": 0.3})).of("skew") == []
    (finding,) = assess(ROBOT, recorded_as(ages_s={"top": 0.11, "joints": 0.01})).of("skew")
    assert (finding.episode, finding.subject) == (5, "top")


def test_images_that_changed_their_size_are_found():
    (finding,) = assess(ROBOT, recorded_as(resized={"top": "from 64x48 to 48x64 pixels"})).of("resized")
    assert (finding.episode, finding.subject) == (5, "top")
    assert "the images of top changed from 64x48 to 48x64 pixels within the recording" in finding.text


def test_two_views_of_different_moments_are_out_of_step():
    text = ROBOT.to_yaml().replace("streams:\n", "streams:\n" + SECOND, 1)
    two = Embodiment.loads(text)
    for apart_s, count in ((0.04, 0), (0.06, 1)):
        episodes = recorded_as(ages_s={"top": 0.02, "side": 0.02 + apart_s})
        found = assess(two, episodes).of("skew")
        assert [finding.subject for finding in found] == ["side"] * count


SECOND = """- {name: side, modality: image, topic: /side, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
   image: {height: 48, width: 64}}
"""


def test_what_the_conversion_said_of_the_recordings_is_read(tmp_path):
    folder = write(tmp_path / "dataset", made_episodes())
    spans = [{"start_ns": 0, "ticks": 40, "episode_index": 7}]
    entry = {
        "ticks": 60,
        "dropped": {"top": {"ticks": 20, "first": "late"}},
        "ages_s": {"top": 0.2},
        "resized": {"top": "from 64x48 to 48x64 pixels"},
        "spans": spans,
    }
    file = folder / "meta/hpt/report.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"action_source": "command", "episodes": [entry]}))
    report = assessed(folder, tmp_path / "report.html")
    assert where(report, "dropped") == [(7, "top")]
    assert where(report, "skew") == [(7, "top")]
    assert where(report, "resized") == [(7, "top")]
    file.write_text(json.dumps({"action_source": "command", "episodes": [{"ticks": 3, "spans": 5}]}))
    assert main(["quality", str(folder), "--out", str(tmp_path / "report.html")]) == 2
