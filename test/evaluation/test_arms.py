# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Arms over several environments, and the page of what they show."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.html_page import checked_page
from support.refused import refused

from hpt_ros.cli.compare import choose_scenes
from hpt_ros.cli.main import main
from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.arms import Arm, compare, read_arm
from hpt_ros.evaluation.comparison_page import Shown, comparison_page, evaluation_page
from hpt_ros.evaluation.outcomes import (
    LOCK_STEP,
    REAL_TIME,
    Outcomes,
    Provenance,
    read_outcomes,
    write_outcomes,
)
from hpt_ros.evaluation.rollout import Episode
from hpt_ros.evaluation.videos import Video, encode

SHORT = ["--time-limit-s", "0.6", "--workers", "1"]


def episode(seed: int, success: bool, **changes: Any) -> Episode:
    made = Episode(
        seed=seed, success=success, progress=1.0 if success else 0.25, duration_s=4.0 + seed % 7,
        detail="<b>poured</b>",
        fault="", holds=0, counters={}, refused=0, arc_length=-2.0, peak_jerk=5.0, limits_used=0.5, inference_s=0.01,
    )  # fmt: skip
    return replace(made, **changes)


def outcomes(environment: str, won: list[bool], policy: str = "policy", **changes: Any) -> Outcomes:
    about = Provenance(
        environment, "1", "4.0.0", policy, "ab" * 32, 0.05, 13.0, 0.0, 0.0, 0.0, "standard", "", "0.1"
    )
    episodes = tuple(episode(1000 + place, success, **changes) for place, success in enumerate(won))
    return Outcomes(about, episodes)


def of_weights(made: Outcomes, sha256: str) -> Outcomes:
    return replace(made, provenance=replace(made.provenance, checkpoint_sha256=sha256))


def arm(name: str, runs: dict[str, list[list[bool]]], **changes: Any) -> Arm:
    made = {env: tuple(outcomes(env, won, name, **changes) for won in seeds) for env, seeds in runs.items()}
    return Arm(Path(name), made)


def of(successes: int, scenes: int = 20) -> list[bool]:
    return [place < successes for place in range(scenes)]


def test_each_environment_each_suite_and_all_have_a_row() -> None:
    a = arm("a", {"suite/reach": [of(4)], "suite/push": [of(10)], "feed_dog": [of(0)]})
    b = arm("b", {"suite/reach": [of(8)], "suite/push": [of(10)], "feed_dog": [of(20)]})
    rows = {row.name: row for row in compare(a, b).rows}
    assert list(rows) == ["suite/reach", "suite/push", "feed_dog", "suite", "all"]
    assert rows["suite/reach"].paired.only_b == 4
    assert rows["suite"].paired.difference.estimate == pytest.approx(0.1)  # of 20 % and 0 %
    assert rows["all"].paired.difference.estimate == pytest.approx((0.2 + 0.0 + 1.0) / 3)
    assert rows["all"].paired.scenes == 60
    assert rows["all"].paired.difference.lower > 0.3
    assert rows["suite"].success[0].estimate == pytest.approx(0.35)


def test_one_environment_has_its_row_alone() -> None:
    (row,) = compare(arm("a", {"feed_dog": [of(4)]}), arm("b", {"feed_dog": [of(4)]})).rows
    assert row.name == "feed_dog"
    assert row.paired.difference.estimate == 0.0


def test_intervals_are_of_the_confidence_that_is_asked_for() -> None:
    a, b = arm("a", {"feed_dog": [of(4), of(6)]}), arm("b", {"feed_dog": [of(9), of(11)]})
    usual, wide = (compare(a, b, confidence) for confidence in (0.95, 0.999))
    assert (usual.interval, wide.interval) == ("95 % interval", "99.9 % interval")
    (one,), (other,) = usual.rows, wide.rows
    assert other.paired.difference.lower < one.paired.difference.lower
    assert other.paired.difference.upper > one.paired.difference.upper
    assert other.success[0].lower < one.success[0].lower
    for impossible in (0.0, 1.0, 95.0, float("nan")):
        with refused(HptError, Code.OUT_OF_RANGE, subject="the confidence"):
            compare(a, b, impossible)


def test_an_environment_that_one_arm_lacks_is_refused() -> None:
    a, b = arm("a", {"feed_dog": [of(1)], "reach": [of(1)]}), arm("b", {"feed_dog": [of(1)]})
    for one, other in ((a, b), (b, a)):
        with refused(HptError, Code.MISMATCH, subject="'a'", value="reach"):
            compare(one, other)


def test_files_of_several_environments_lie_in_one_folder(tmp_path: Path) -> None:
    for environment in ("feed_dog", "reach"):
        folder = tmp_path / "arm" / environment
        folder.mkdir(parents=True)
        for seed in (1, 2):
            write_outcomes(
                folder / f"{seed}.parquet", of_weights(outcomes(environment, of(seed)), f"{seed:064}")
            )
    found = read_arm(tmp_path / "arm")
    assert {name: len(runs) for name, runs in found.runs.items()} == {"feed_dog": 2, "reach": 2}
    assert found.training_seeds == 2
    assert found.name == "arm (policy)"


@pytest.mark.parametrize(
    ("changes", "problem", "expected"),
    [
        ({"inference_s": 0.2}, "", "0.05 as in"),
        ({"clock": REAL_TIME}, "", f"'{LOCK_STEP}' as in"),
        ({"image_lost": 0.1}, "", "0.0 as in"),
        ({}, "same weights as", ""),
    ],
)
def test_conditions_and_repetitions_are_no_training_seeds(
    tmp_path: Path, changes: dict[str, Any], problem: str, expected: str
) -> None:
    first = outcomes("feed_dog", of(3))
    other = replace(first, provenance=replace(first.provenance, **changes))
    write_outcomes(tmp_path / "1.parquet", first)
    write_outcomes(tmp_path / "2.parquet", of_weights(other, "cd" * 32) if changes else other)
    with refused(HptError, Code.MISMATCH, problem=problem, expected=expected, remedy="its own folder"):
        read_arm(tmp_path)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12), st.integers(0, 6))
def test_scenes_to_see_are_those_that_differ_first_and_each_once(
    won: list[tuple[bool, bool]], most: int
) -> None:
    seeds = tuple(range(100, 100 + len(won)))
    found = choose_scenes([[pair[0] for pair in won], [pair[1] for pair in won]], seeds, most)
    assert len(found) == len(set(found)) == min(most, len(won))
    differ = [seed for seed, pair in zip(seeds, won, strict=True) if pair[0] != pair[1]]
    if differ and most:
        assert found[0] in differ
    patterns = set(won)
    if most >= len(patterns):
        assert {won[seed - 100] for seed in found} == patterns


def test_the_page_of_two_arms_stands_alone_and_shows_faults_and_videos_side_by_side() -> None:
    frames = [np.full((48, 64, 3), 20 * index, np.uint8) for index in range(5)]
    hostile = '"><script>alert(1)</script>'
    a = arm("a", {"feed_dog": [of(5), of(7)]}, fault=hostile)
    b = arm("b", {"feed_dog": [of(15), of(15)]})
    videos = tuple(
        (name, own.runs["feed_dog"][0].episodes[0], Video(episode(1000, success), encode(frames)))
        for name, own, success in (("A", a, True), ("B", b, False))
    )
    comparison = compare(a, b)
    page = checked_page(comparison_page(comparison, [Shown("feed_dog", 1000, videos)]))
    for words in (
        "B less A",
        "+45.0",
        hostile,
        "<b>poured</b>",
        "Succeeded by a time",
        "feed_dog, scene 1000",
    ):
        assert words in page.text
    assert page.text.count("ended otherwise") == 1  # B's first episode was a success, and its video is none
    assert len([place for place in page.addresses if place.startswith("data:video/mp4")]) == 2
    assert "Evaluation of a" in checked_page(evaluation_page(a)).text


def test_a_video_is_an_mp4_that_browsers_play() -> None:
    frames = [np.full((48, 64, 3), 20 * index, np.uint8) for index in range(7)]
    data = encode(frames)
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert len(list(container.decode(stream))) == 7
    assert data.index(b"moov") < data.index(b"mdat")  # plays before all of it is there
    assert len(data) < 5000


def test_an_evaluation_and_a_comparison_write_pages_with_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "pages" / "eval.html"
    for policy in ("hold", "random"):
        words = ["eval", policy, "--episodes", "2", "--out", str(tmp_path / f"{policy}.parquet"), *SHORT]
        assert main([*words, *(["--html", str(page), "--videos", "1"] if policy == "hold" else [])]) == 0
    seen = checked_page(page.read_text(encoding="utf-8"))
    assert "Evaluation of hold" in seen.text
    (address,) = [place for place in seen.addresses if place.startswith("data:video/mp4")]
    with av.open(io.BytesIO(b64decode(address.partition(",")[2]))) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert 5 <= len(images) <= 8  # ten a second of 0.6 s
    assert images[0].std() > 20  # a scene, not a blank
    files = [str(tmp_path / f"{policy}.parquet") for policy in ("hold", "random")]
    both = tmp_path / "both.html"
    assert main(["compare", *files, "--html", str(both), "--videos", "1"]) == 0
    seen = checked_page(both.read_text(encoding="utf-8"))
    assert len(re.findall("data:video/mp4", " ".join(seen.addresses))) == 2
    assert "ended otherwise" not in seen.text  # the same twice
    # A policy that is not the one that was evaluated is not shown for it.
    marked = read_outcomes(tmp_path / "hold.parquet")
    other = replace(marked, provenance=replace(marked.provenance, checkpoint_sha256="cd" * 32))
    write_outcomes(tmp_path / "other.parquet", other)
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "other.parquet"), files[1], "--html", str(both)]) == 2
    assert "the policy of arm A has weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"), [(["--html", "page.txt"], "ends in .html"), (["--videos", "-1"], "--videos is -1")]
)
def test_mistakes_are_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["eval", "hold", "--episodes", "1"], ["compare", "a", "b"]):
        assert main([*verb, *words]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.strip().splitlines()) == 1
