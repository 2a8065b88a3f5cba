# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mixtures: which datasets, how much of each, and what each step draws."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused
from support.tiny_mixture import (
    ROBOTS,
    add_column,
    mapping_of_recipe,
    robot,
    write_mixture,
    write_robot,
    write_robots,
)

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.dataset.labels import read_labels
from hpt_ros.errors import Code, HptError
from hpt_ros.learning.mixture import Mixture, counts_before, open_mixture
from hpt_ros.learning.mixture_config import load_mixture
from hpt_ros.learning.samples import samples_between, split_episodes
from hpt_ros.learning.statistics import STATISTICS, training_statistics
from hpt_ros.model import load_checkpoint


@pytest.fixture(scope="module")
def robots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a mixture of three robots; tests must not write beside it."""
    return write_robots(tmp_path_factory.mktemp("robots"))


def opened(file: Path, fraction: float = 0.3, seed: int = 0) -> Mixture:
    return open_mixture(load_mixture(file), fraction, seed)


@given(
    sizes=st.lists(st.floats(0.01, 100.0), min_size=1, max_size=9),
    n=st.integers(0, 10**9),
    more=st.integers(1, 300),
    seed=st.integers(0, 100),
)
def test_any_stretch_of_a_run_has_each_datasets_share_to_within_a_few_samples(
    sizes: list[float], n: int, more: int, seed: int
) -> None:
    fractions = np.array(sizes) / sum(sizes)
    before, after = counts_before(n, fractions, seed), counts_before(n + more, fractions, seed)
    assert before.sum() == n
    assert after.sum() == n + more
    assert (after >= before).all()
    assert (np.abs(after - before - more * fractions) <= 2 + len(sizes) * fractions).all()


@given(count=st.integers(1, 40), seed=st.integers(0, 50), data=st.data())
def test_an_epoch_has_each_sample_as_often_as_its_weight_says(
    count: int, seed: int, data: st.DataObject
) -> None:
    values = data.draw(
        st.lists(st.floats(0.0, 5.0), min_size=count, max_size=count).filter(lambda v: sum(v) > 0.1)
    )
    weights = np.array(values)
    drawn = samples_between(0, count, count, (seed,), weights=weights)
    often, wanted = np.bincount(drawn, minlength=count), weights * count / weights.sum()
    assert (often >= np.floor(wanted - 1e-9)).all()
    assert (often <= np.ceil(wanted + 1e-9)).all()


def test_when_datasets_have_no_weight_expect_the_square_root_of_their_size(robots: Path) -> None:
    mixture = opened(robots)
    sizes = np.array([len(member.windows) for member in mixture.members])
    assert sizes.tolist() == [24, 24, 48]
    fractions = [member.fraction for member in mixture.members]
    np.testing.assert_allclose(fractions, np.sqrt(sizes) / np.sqrt(sizes).sum())
    assert sum(fractions) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "weights", "wanted"),
    [
        ({"temperature": 1.0}, None, [24, 32, 56]),
        ({"temperature": 1e9}, None, [1, 1, 1]),
        ({}, [1.0, 3.0, 0.5], [1, 3, 0.5]),
        ({}, [1.0, 0.0, 1.0], [1, 1]),
    ],
)
def test_fractions_follow_temperature_or_weights(
    robots: Path, tmp_path: Path, changes: dict[str, Any], weights: list[float] | None, wanted: list[float]
) -> None:
    entries: list[dict[str, Any]] = [{"path": str(robots.parent / name)} for name in ROBOTS]
    for entry, weight in zip(entries, weights or (), strict=False):
        entry["weight"] = weight
    mixture = opened(write_mixture(tmp_path, entries, **changes), fraction=0.26)
    np.testing.assert_allclose([m.fraction for m in mixture.members], np.array(wanted) / sum(wanted))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_together_draw_what_one_would_and_every_batch_mixes_all(robots: Path, world: int) -> None:
    mixture = opened(robots)
    for step in (0, 1, 77):
        alone = mixture.draws(step, 12, 5)
        assert [draw.member for draw in alone] == [0, 1, 2]
        assert sum(len(draw.rows) for draw in alone) == 12
        parts = [mixture.draws(step, 12, 5, rank=rank, world=world) for rank in range(world)]
        assert all(sum(len(draw.rows) for draw in part) == 12 // world for part in parts)
        for draw in alone:
            mine = [part_draw for part in parts for part_draw in part if part_draw.member == draw.member]
            assert all(np.array_equal(m.samples, draw.samples) for m in mine)
            assert sorted(np.concatenate([m.rows for m in mine]).tolist()) == list(range(len(draw.samples)))


def test_when_a_step_is_of_one_dataset_expect_all_in_turn_by_their_shares(robots: Path) -> None:
    mixture = opened(robots)
    drawn = [mixture.draws(step, 6, 0, whole=True) for step in range(300)]
    assert all(len(draws) == 1 and len(draws[0].samples) == 6 for draws in drawn)
    often = np.bincount([draws[0].member for draws in drawn]) / 300
    np.testing.assert_allclose(often, [member.fraction for member in mixture.members], atol=0.01)
    # Every sample of a dataset comes before one comes again.
    first = np.concatenate([d.samples for draws in drawn for d in draws if d.member == 0])[:24]
    assert sorted(first.tolist()) == list(range(24))


def test_draws_depend_on_seed_and_step_alone(robots: Path) -> None:
    mixture, again = opened(robots), opened(robots)
    for one, two in zip(mixture.draws(9, 12, 3), again.draws(9, 12, 3), strict=True):
        assert np.array_equal(one.samples, two.samples)
    other = mixture.draws(9, 12, 4)
    assert any(
        not np.array_equal(a.samples, b.samples) for a, b in zip(mixture.draws(9, 12, 3), other, strict=True)
    )


def test_a_dataset_is_cut_to_its_most_episodes_at_random(robots: Path, tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = [{"path": str(robots.parent / name)} for name in ROBOTS]
    entries[0]["max_episodes"] = 2
    file = write_mixture(tmp_path, entries, max_episodes=4)
    found = opened(file).members
    counts = [len(member.split.train) + len(member.split.validation) for member in found]
    assert counts == [2, 4, 4]
    assert [member.capped for member in found] == [2, 1, 5]
    chosen = {
        tuple(sorted(e.index for e in (*m.split.train, *m.split.validation)))
        for seed in range(5)
        for m in opened(file, seed=seed).members[2:]
    }
    assert len(chosen) > 1  # not always the first


def test_failed_episodes_are_left_out_unless_asked_for(robots: Path, tmp_path: Path) -> None:
    root = write_robot(tmp_path / "slider", "slider", episodes=5, length=8)
    ends = [step == 7 for step in range(8)]
    add_column(root, "next.success", [*ends, *[False] * 8, *ends, *ends, *ends])
    report = {
        "episodes": [
            {"outcome": "failure", "spans": [{"episode_index": 3}]},
            {"outcome": "success", "spans": []},
        ]
    }
    (root / "meta/hpt/report.json").write_text(json.dumps(report))
    assert read_labels(open_dataset(root)).failed == {1, 3}
    entries = [{"path": str(root)}, {"path": str(robots.parent / "arm")}]
    member = opened(write_mixture(tmp_path, entries)).members[0]
    assert {e.index for e in (*member.split.train, *member.split.validation)} == {0, 2, 4}
    assert member.failed == 2
    assert opened(write_mixture(tmp_path, entries, include_failed=True)).members[0].failed == 0
    add_column(write_robot(tmp_path / "lost", "gantry", episodes=2), "next.success", [False] * 16)
    with pytest.raises(
        HptError, match=r"lost' has no episode that is not marked as a failure \(of 2\).*include_failed"
    ):
        opened(write_mixture(tmp_path, [*entries, {"path": "lost"}]))


def test_ticks_at_which_a_person_took_over_are_drawn_as_often_as_asked(robots: Path, tmp_path: Path) -> None:
    root = write_robot(tmp_path / "slider", "slider", episodes=4, length=8)
    add_column(root, "intervention", [step >= 6 for step in range(8)] * 4)
    entries = [{"path": str(root)}, {"path": str(robots.parent / "arm")}]
    mixture = opened(write_mixture(tmp_path, entries, intervention_weight=3.0), fraction=0.0)
    counts = np.zeros(32)
    for step in range(200):
        counts += np.bincount(mixture.draws(step, 32, 0)[0].samples, minlength=32)
    often = counts.reshape(4, 8)
    assert often[:, 6:].mean() / often[:, :6].mean() == pytest.approx(3.0, rel=0.1)
    none = opened(write_mixture(tmp_path, entries, intervention_weight=0.0), fraction=0.0)
    assert all((none.draws(step, 32, 0)[0].samples % 8 < 6).all() for step in range(20))
    assert opened(write_mixture(tmp_path, entries), fraction=0.0).members[0].weights is None


def test_the_licence_is_the_mixtures_or_the_cards(robots: Path, tmp_path: Path) -> None:
    root = write_robot(tmp_path / "slider", "slider")
    (root / "README.md").write_text("---\ntags:\n- robot\nlicense: cc-by-4.0\n---\n# Card\nlicense: none\n")
    entries: list[dict[str, Any]] = [{"path": str(root)}, {"path": str(robots.parent / "arm")}]
    assert [m.licence for m in opened(write_mixture(tmp_path, entries)).members] == [
        "cc-by-4.0",
        "not stated",
    ]
    entries[0]["licence"] = "MIT"
    assert opened(write_mixture(tmp_path, entries)).members[0].licence == "MIT"


def test_two_datasets_of_one_robot_have_one_set_of_statistics(tmp_path: Path) -> None:
    for name, episodes in (("one", 3), ("two", 6)):
        write_robot(tmp_path / name, "arm", episodes)
    mixture = opened(write_mixture(tmp_path, [{"path": "one"}, {"path": "two"}]))
    assert list(mixture.robots) == ["arm"]
    data = [(member.dataset, member.split) for member in mixture.members]
    values = np.concatenate(
        [m.dataset.state[e.start : e.stop] for m in mixture.members for e in m.split.train]
    )
    found = training_statistics(data)["state"]
    for figure, wanted in zip(
        (found.min, found.max, found.mean, found.std),
        (values.min(0), values.max(0), values.mean(0), values.std(0)),
        strict=True,
    ):
        np.testing.assert_allclose(figure, wanted, rtol=1e-5)


def test_quantiles_are_robust_to_outliers_and_keep_a_gripper_that_seldom_closes(tmp_path: Path) -> None:
    dataset = open_dataset(write_robot(tmp_path / "arm", "arm", episodes=40))
    action = dataset.action.copy()
    action[:, 2] = 0.0
    action[5, 2] = 1.0  # once in 320 ticks
    action[9, 0] = 50.0
    dataset = replace(dataset, action=action)
    split = split_episodes(dataset, 0.0, 0)
    limits, quantiles = (training_statistics([(dataset, split)], kind=kind)["action"] for kind in STATISTICS)
    assert limits.max[0] == 50.0
    assert quantiles.max[0] == pytest.approx(np.quantile(action[:, 0], 0.99), rel=1e-6)
    assert quantiles.min[0] == pytest.approx(np.quantile(action[:, 0], 0.01), rel=1e-6)
    assert (quantiles.min[2], quantiles.max[2]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(datasets=[]), "the mixture has no datasets, expected two or more; name them"),
        (lambda d: d["datasets"].__delitem__(slice(1, None)), "has one dataset, .*slider', expected two or more; "),
        (lambda d: d["datasets"][0].update(weight=1.0), "gantry' of the mixture has no weight, but 1 of its 3"),
        (lambda d: [e.update(weight=0.0) for e in d["datasets"]], "sum of the weights of the mixture's datasets is 0"),
        (lambda d: d["datasets"][1].update(name="slider"), "two datasets of the mixture are called 'slider'"),
        (lambda d: d["datasets"][1].update(path="nowhere"), "nowhere"),
        (lambda d: d["datasets"][1].update(wieght=2), "'wieght'.*did you mean 'weight'"),
        (lambda d: d["datasets"][1].update(weight=-1.0), "weight"),
        (lambda d: d["datasets"][1].update(weight=float("inf")), "weight"),
        (lambda d: d["datasets"][1].update(weight=float("nan")), "weight"),
        (lambda d: d.update(temperature=0.0), "temperature"),
        (lambda d: d.update(max_episodes=0), "max_episodes"),
        (lambda d: d["datasets"].append({"path": "other", "name": "o"}), "different embodiments: action.horizon is 3"),
        (lambda d: d["datasets"].append({"path": "leader", "name": "l"}), "is 'leader', expected 'command' as in"),
        (lambda d: d["datasets"].append("path"), "expected a mapping"),
    ],
)  # fmt: skip
def test_when_a_mixture_makes_no_sense_expect_one_sentence(tmp_path: Path, change: Any, message: str) -> None:
    file = write_robots(tmp_path)
    write_robot(tmp_path / "other", "slider", embodiment=robot("slider", 1, 5))
    write_robot(tmp_path / "leader", "slider")
    (tmp_path / "leader/meta/hpt/report.json").write_text(
        json.dumps({"action_source": "leader", "episodes": []})
    )
    data = yaml.safe_load(file.read_text())
    change(data)
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(HptError, match=message):
        opened(file)


def test_when_a_dataset_stands_for_a_mixture_expect_what_trains_on_it(tmp_path: Path) -> None:
    with refused(
        HptError, Code.WRONG_TYPE, subject=repr(str(tmp_path)), problem="is a folder", remedy="name the file"
    ):
        load_mixture(tmp_path)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text("{}")
    with refused(
        HptError, Code.WRONG_TYPE, problem="is a dataset", remedy="'hpt finetune', or write a mixture"
    ):
        load_mixture(tmp_path)


def test_robots_of_other_rates_keep_their_own_and_one_robot_has_one(tmp_path: Path, capsys: Any) -> None:
    rates = {"slider": 10.0, "gantry": 20.0, "arm": 30.0}
    for name, hz in rates.items():
        write_robot(tmp_path / name, name, embodiment=robot(name, *ROBOTS[name], hz))
    file = write_mixture(tmp_path, [{"path": name} for name in rates])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(mapping_of_recipe(iterations=2)))
    assert main(["pretrain", str(file), "--out", str(tmp_path / "run"), "--recipe", str(recipe)]) == 0
    spans = {
        "slider": "10 Hz, observes 2 ticks (0.1 s), chunks of 3 (0.3 s)",
        "gantry": "20 Hz, observes 2 ticks (0.05 s), chunks of 4 (0.2 s)",
        "arm": "30 Hz, observes 2 ticks (0.033 s), chunks of 2 (0.067 s)",
    }
    said = "; ".join(f"{name} {text}" for name, text in spans.items())
    assert f"rates differ, and nothing is resampled: {said}\n" in capsys.readouterr().err
    for place in ("last/README.md", "report.html"):
        page = (tmp_path / "run" / place).read_text()
        assert all(text in page for text in spans.values())
    assert "nothing is resampled" in (tmp_path / "run/last/README.md").read_text()
    # A policy that goes to a robot takes its rate along.
    checkpoint = load_checkpoint(tmp_path / "run/last/embodiments/arm")
    assert "tick_hz: 30.0" in checkpoint.embodiment_yaml
    write_robot(tmp_path / "again", "arm", embodiment=robot("arm", *ROBOTS["arm"], 10.0))
    both = write_mixture(tmp_path, [{"path": "arm"}, {"path": "again"}])
    with pytest.raises(HptError, match=r"are of different embodiments: .* in the first and .* in the second"):
        opened(both)
    file = write_mixture(tmp_path, [{"path": name} for name in rates])
    info = tmp_path / "arm/meta/info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "fps": 15}))
    with pytest.raises(HptError, match=r"fps 15, but embodiment 'arm' has tick_hz 30"):
        opened(file)
    info.write_text(json.dumps({**json.loads(info.read_text()), "fps": 30}))
    for path in (tmp_path / "arm").glob("data/*/*.parquet"):
        table = pq.read_table(path)
        doubled = pc.multiply(table["timestamp"], 2.0)
        pq.write_table(table.set_column(table.column_names.index("timestamp"), "timestamp", doubled), path)
    with pytest.raises(
        HptError, match=r"fps is 30, expected 15, since the timestamps of its rows are 0.06667 s apart"
    ):
        opened(file)
