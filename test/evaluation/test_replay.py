# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Recordings replayed through the robot's path: `hpt evaluate`, of bags and of the dataset that is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.html_page import checked_page
from support.refused import refused
from support.tiny_bag import write_tiny_bag
from support.tiny_mixture import robot

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.dataset_recording import dataset_recordings
from hpt_ros.evaluation.replay import Arrival, Recording, Replay, ReplayConfig, replay, seam_jumps, summarise
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import Observation
from rosbag_tools.converting.convert import convert
from rosbag_tools.converting.replaying import iterate_recorded_episodes

TINY = robot("arm", 3, 5)
ARM = replace(TINY, action=replace(TINY.action, rate_hz=50.0))


class Shifted:
    """Goes on from where the robot is, off by a tenth of the first joint's angle, more at later steps."""

    def __init__(self, speed: float = 0.1) -> None:
        self.speed, self.asked = speed, 0

    def predict(self, observation: Observation) -> Any:
        self.asked += 1
        state = observation.inputs["state"][0, -1].astype(np.float64)
        return state * 1.1 + self.speed * ARM.dt_s * np.arange(ARM.action.horizon)[:, None]

    def reset(self) -> None:
        pass


def loaded(policy: Any = None) -> LoadedPolicy:
    return LoadedPolicy(policy or Shifted(), ARM, "", ARM.observation_horizon)


def of_bags(paths: list[Path]) -> list[Replay]:
    found = []
    for episode in iterate_recorded_episodes(paths, ARM):

        def arrivals(episode: Any = episode) -> Any:
            for message in episode.messages():
                yield Arrival(ARM.streams[0], message.log_ns, message=message.content)

        found.append(replay(Recording(episode.name, "", episode.actions, arrivals), loaded()))
    return found


def of_dataset(folder: Path, make: Callable[[], LoadedPolicy] = loaded) -> list[Replay]:
    return [replay(recording, make()) for recording in dataset_recordings(open_dataset(folder))]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    return [write_tiny_bag(folder / f"bag{seed}", ARM, seed=seed) for seed in range(2)]


@pytest.fixture(scope="module")
def dataset(bags: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "dataset"
    convert(bags, out, ARM)
    return out


def test_bags_and_the_dataset_that_was_made_of_them_have_the_same_errors(
    bags: list[Path], dataset: Path
) -> None:
    a, b = summarise(of_bags(bags), ARM), summarise(of_dataset(dataset), ARM)
    assert a.ticks == b.ticks == open_dataset(dataset).length
    # A dataset holds float32.
    assert a.errors == pytest.approx(b.errors, abs=1e-6)
    assert a.errors.min() > 0.001


def test_the_errors_are_those_of_chunks_against_what_was_recorded(dataset: Path) -> None:
    data = open_dataset(dataset)
    sums, counts = np.zeros((5, 3)), np.zeros(5)
    for episode in data.episodes:
        for row in range(episode.start, episode.stop):
            for step in range(min(5, episode.stop - row)):
                predicted = data.state[row] * 1.1 + 0.1 * ARM.dt_s * step
                sums[step] += np.abs(predicted - data.action[row + step])
                counts[step] += 1
    found = summarise(of_dataset(dataset), ARM)
    assert found.errors == pytest.approx(sums / counts[:, None], abs=1e-5)


def test_each_tick_is_asked_about_once(dataset: Path) -> None:
    policy = Shifted()
    (first, *_) = dataset_recordings(open_dataset(dataset))
    found = replay(first, loaded(policy))
    assert len(found.ticks) == len(first.actions)
    assert policy.asked <= len(found.ticks) + 1  # one more after the end, where the controller wants to go on
    assert found.holds == 0  # the end of a recording is none
    assert not found.fault
    assert found.running_ratio > 0.9
    assert len(found.jumps) > 3


def test_a_gap_in_a_bag_is_a_hold_and_no_error_reaches_over_it(tmp_path: Path) -> None:
    (found,) = of_bags([write_tiny_bag(tmp_path / "bag", ARM, length_s=6.0, silent_s=(2.0, 3.0))])
    assert found.holds == 1
    before = found.ticks[np.flatnonzero(np.diff(found.ticks) > 1)[0]]
    last = found.recorded[found.ticks == before][0]
    assert np.isfinite(last[0]).all()
    assert np.isnan(last[1:]).all()


def test_a_policy_that_would_leave_the_limits_is_seen_to(dataset: Path) -> None:
    class Far(Shifted):
        def predict(self, observation: Observation) -> Any:
            chunk = np.zeros((ARM.action.horizon, 3))
            chunk[:, 1] = 4.0  # the limit is 3
            chunk[:, 2] = np.arange(ARM.action.horizon)  # 10 rad/s, and the limit is 2
            return chunk

    found = summarise(of_dataset(dataset, lambda: loaded(Far())), ARM)
    assert found.outside.tolist() == pytest.approx([0.0, 1.0, 0.2])
    assert found.too_fast.tolist() == pytest.approx([0.0, 0.0, 1.0])


def test_a_policy_that_fails_is_a_sentence_of_the_command(dataset: Path) -> None:
    class Broken(Shifted):
        def predict(self, observation: Observation) -> Any:
            raise HptError(Code.INVALID, "the policy", problem="cannot")

    (first, *_) = dataset_recordings(open_dataset(dataset))
    with refused(HptError, Code.INVALID, subject="the policy"):
        replay(first, loaded(Broken()))


def test_a_recording_without_a_usable_tick_is_refused() -> None:
    with refused(HptError, Code.EMPTY, subject="nothing"):
        replay(Recording("nothing", "", {}, lambda: iter(())), loaded())


@given(st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4), st.floats(0.0, 0.2), st.floats(-0.5, 0.5))
def test_a_seam_is_how_far_two_chunks_are_apart_when_the_second_comes_into_use(
    starts: list[float], late_s: float, off: float
) -> None:
    chunk = np.array(starts)[:, None] * np.ones((1, 3))
    first_ns = 10**12
    second = chunk[1:] + off  # of a tick later, and the same but for an offset
    now_ns = first_ns + round((ARM.dt_s + late_s * 0.9) * 1e9)
    taken = [(first_ns, first_ns, chunk), (now_ns, first_ns + round(ARM.dt_s * 1e9), second)]
    (jump,) = seam_jumps(taken, ARM)
    assert jump == pytest.approx(np.full(3, abs(off)), abs=1e-6)
    assert seam_jumps(taken[:1], ARM).shape == (0, 3)


def test_the_command_prints_tables_json_and_a_page(
    dataset: Path, bags: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "pages" / "hold.html"
    assert main(["evaluate", "hold", str(dataset), "--html", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "2 episodes" in printed
    for words in ("j0", "rad", "4 (0.4 s)", "smoothness", "faults"):
        assert words in printed
    seen = checked_page(page.read_text(encoding="utf-8"))
    assert "j2, rad" in seen.text
    assert main(["evaluate", "hold", str(dataset), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in found["dimensions"]] == ["j0", "j1", "j2"]
    assert found["faults"] == {}
    assert found["error_per_step"][0] < found["error_per_step"][-1]
    episodes = tmp_path / "one.json"
    episodes.write_text("[1]")
    assert main(["evaluate", "hold", str(dataset), "--episodes", str(episodes), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hold", "DATASET", "DATASET"], "second dataset"),
        (["expert", "DATASET"], "the policy 'expert' needs an environment"),
        (["hold", "BAG", "--episodes", "x.json"], "--episodes is of a dataset"),
        (["hold", "BAG"], "carries no embodiment file"),
        (["hold", "DATASET", "--html", "page.pdf"], "ends in .html"),
        (["hold", "DATASET", "--inference-s", "-1"], "time of an inference"),
        (["hold", "nowhere"], "does not exist"),
        (["feed_dog", "DATASET"], "name is feed_dog"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], said: str, dataset: Path, bags: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"DATASET": str(dataset), "BAG": str(bags[0])}
    assert main(["evaluate", *(places.get(word, word) for word in words)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_times_that_are_none_are_refused() -> None:
    with refused(HptError, Code.OUT_OF_RANGE, value=11.0):
        ReplayConfig(inference_s=11.0)


def test_units_of_an_action_are_those_of_its_outputs() -> None:
    tool = Embodiment.loads(
        """
format: hpt_ros/embodiment/1
name: tool
tick_hz: 10.0
streams:
  - {name: tcp, modality: state, topic: tool_pose, type: geometry_msgs/msg/PoseStamped, rate_hz: 100.0,
     tolerance_s: 0.1, unit: m}
action:
  rate_hz: 50.0
  horizon: 8
  outputs:
    - {name: tool, topic: target, type: geometry_msgs/msg/PoseStamped, kind: cartesian_pose, unit: m,
       rotation: rotation_6d, frame_id: base, pose: tcp, rotation_limit: {velocity: 2.0, acceleration: 10.0}}
  limits:
    - {name: tool.x, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 5.0}
    - {name: tool.y, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 5.0}
    - {name: tool.z, lower: 0.0, upper: 1.2, velocity: 1.0, acceleration: 5.0}
"""
    )
    assert tool.space.units == ("m",) * 3 + ("",) * 6
    assert ARM.space.elements == (("j0", "rad"), ("j1", "rad"), ("j2", "rad"))
