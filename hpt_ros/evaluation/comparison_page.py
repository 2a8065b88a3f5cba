# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The page of one evaluation or of two: success with intervals, paired scenes, distributions, faults, videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt_ros.evaluation import CONFIDENCE
from hpt_ros.evaluation.arms import Arm, Comparison, interval_heading, success_of
from hpt_ros.evaluation.outcomes import arm_of
from hpt_ros.evaluation.rollout import EpisodeResult
from hpt_ros.evaluation.videos import Video
from hpt_ros.report.charts import Line, draw_bars, draw_histogram, draw_lines
from hpt_ros.report.images import inline
from hpt_ros.report.page import number, render

MOST_SCENES = 500  # in the table of scenes


@dataclass(frozen=True, slots=True)
class Shown:
    """One scene with its videos.

    Attributes:
        environment: its name.
        seed: of the scene.
        videos: arm's name, what was recorded of it, and the video.
    """

    environment: str
    seed: int
    videos: tuple[tuple[str, EpisodeResult, Video], ...]


def evaluation_page(arm: Arm, shown: Sequence[Shown] = ()) -> str:
    """Return the page of one arm."""
    rows = []
    for name, runs in arm.runs.items():
        seeds = sorted(set.intersection(*({episode.seed for episode in run.episodes} for run in runs)))
        rows.append((name, len(seeds), success_of(np.array(arm_of(runs, seeds)))))
    episodes = [
        (arm.name, [episode for runs in arm.runs.values() for run in runs for episode in run.episodes])
    ]
    chart = draw_bars(
        [name for name, *_ in rows], [100 * item.estimate for *_, item in rows], label="success", unit="%", most=100.0,
        intervals=[(100 * item.lower, 100 * item.upper) for *_, item in rows],
    )  # fmt: skip
    return _page(
        f"Evaluation of {arm.name}",
        arms=[arm],
        rows=[{"name": name, "scenes": scenes, "success": [_interval(item)]} for name, scenes, item in rows],
        paired=False,
        interval=interval_heading(CONFIDENCE),
        success=[("", chart)],
        episodes=episodes,
        scenes=[],
        shown=shown,
    )


def comparison_page(comparison: Comparison, shown: Sequence[Shown] = ()) -> str:
    """Return the page of two arms."""
    names = _letters(comparison)
    rows = [
        {
            "name": row.name,
            "scenes": row.paired.scenes,
            "success": [_interval(item) for item in row.success],
            "difference": f"{100 * row.paired.difference.estimate:+.1f}",
            "interval": f"{100 * row.paired.difference.lower:+.1f} to {100 * row.paired.difference.upper:+.1f}",
            "better": row.paired.difference.lower > 0,
            "worse": row.paired.difference.upper < 0,
            "paired": row.paired,
            "p": number(row.paired.p_value),
            "e": number(row.paired.e_value),
        }
        for row in comparison.rows
    ]
    charts = []
    for index, name in enumerate(names):
        chart = draw_bars(
            [row.name for row in comparison.rows], [100 * row.success[index].estimate for row in comparison.rows],
            label=f"success of {name}", unit="%", most=100.0,
            intervals=[(100 * row.success[index].lower, 100 * row.success[index].upper) for row in comparison.rows],
        )  # fmt: skip
        charts.append((name, chart))
    return _page(
        f"{comparison.arms[1].name} against {comparison.arms[0].name}",
        arms=list(comparison.arms),
        rows=rows,
        paired=True,
        interval=comparison.interval,
        success=charts,
        episodes=[(name, comparison.episodes(index)) for index, name in enumerate(names)],
        scenes=_scenes(comparison),
        shown=shown,
    )


def _letters(comparison: Comparison) -> list[str]:
    return [f"{letter}: {arm.name}" for letter, arm in zip("AB", comparison.arms, strict=True)]


def _interval(item: Any) -> dict[str, str]:
    return {
        "estimate": f"{100 * item.estimate:.1f} %",
        "interval": f"{100 * item.lower:.1f} to {100 * item.upper:.1f}",
    }


def _page(
    title: str,
    *,
    arms: Sequence[Arm],
    rows: Sequence[Mapping[str, Any]],
    paired: bool,
    interval: str,
    success: Sequence[tuple[str, str]],
    episodes: Sequence[tuple[str, Sequence[EpisodeResult]]],
    scenes: Sequence[Mapping[str, Any]],
    shown: Sequence[Shown],
) -> str:
    return render(
        "hpt_ros.evaluation",
        "comparison.html",
        title=title,
        names=[name for name, _ in episodes],
        rows=rows,
        paired=paired,
        interval=interval,
        success=success,
        solved=_draw_solved(episodes),
        progress=[
            (
                name,
                draw_histogram(
                    np.array([e.progress for e in own]), label=f"progress, {name}", low=0.0, high=1.0
                ),
            )
            for name, own in episodes
        ],
        measures=_measures(episodes),
        faults=_faults(episodes),
        scenes=scenes[:MOST_SCENES],
        scene_count=len(scenes),
        shown=[_describe(item) for item in shown],
        provenance=_provenance(arms),
    )


def _draw_solved(episodes: Sequence[tuple[str, Sequence[EpisodeResult]]]) -> str:
    """Return a chart: the ratio of episodes that have succeeded by a time."""
    lines = []
    for name, own in episodes:
        times = sorted(episode.duration_s for episode in own if episode.success)
        last = max([episode.duration_s for episode in own], default=1.0)
        x, y = [0.0], [0.0]
        for index, time in enumerate(times, start=1):
            x += [time, time]
            y += [y[-1], 100 * index / len(own)]
        lines.append(Line(name, [*x, last], [*y, y[-1]]))
    return draw_lines(
        lines, label="succeeded by a time", x_label="time, s", y_label="succeeded, %", zero=True
    )


def _measures(episodes: Sequence[tuple[str, Sequence[EpisodeResult]]]) -> list[tuple[str, list[str]]]:
    def median(values: list[float]) -> str:
        finite = [value for value in values if np.isfinite(value)]
        return number(float(np.median(finite))) if finite else number(None)

    entries: tuple[tuple[str, Callable[[Sequence[EpisodeResult]], str]], ...] = (
        ("mean progress", lambda own: f"{100 * float(np.mean([e.progress for e in own])):.0f} %"),
        ("time to success, median, s", lambda own: median([e.duration_s for e in own if e.success])),
        ("smoothness (SPARC, 0 is best), median", lambda own: median([e.arc_length for e in own])),
        ("peak jerk, median", lambda own: median([e.peak_jerk for e in own])),
        ("largest velocity over its limit", lambda own: number(max(e.limits_used for e in own))),
        ("holds, in all", lambda own: str(sum(e.holds for e in own))),
        ("commands refused by the controller", lambda own: str(sum(e.refused for e in own))),
        ("episodes with a fault", lambda own: str(sum(bool(e.fault) for e in own))),
        ("inference, median, ms", lambda own: median([1e3 * e.inference_s for e in own])),
    )
    return [(title, [value(own) for _, own in episodes]) for title, value in entries]


def _faults(episodes: Sequence[tuple[str, Sequence[EpisodeResult]]]) -> list[tuple[str, list[int]]]:
    counts = [Counter(episode.fault for episode in own if episode.fault) for _, own in episodes]
    every = sum(counts, Counter[str]())
    return [(reason, [count[reason] for count in counts]) for reason, _ in every.most_common(20)]


def _scenes(comparison: Comparison) -> list[dict[str, Any]]:
    """Return every scene with what each run of each arm came to."""
    found = []
    for name, seeds in comparison.seeds.items():
        tables = [
            [{episode.seed: episode for episode in run.episodes} for run in arm.runs[name]]
            for arm in comparison.arms
        ]
        for seed in seeds:
            runs = [[table[seed] for table in own] for own in tables]
            wins = [sum(episode.success for episode in own) / len(own) for own in runs]
            found.append(
                {
                    "environment": name,
                    "seed": seed,
                    "wins": [f"{sum(e.success for e in own)} of {len(own)}" for own in runs],
                    "progress": [f"{100 * float(np.mean([e.progress for e in own])):.0f} %" for own in runs],
                    "detail": [own[0].detail for own in runs],
                    "difference": wins[1] - wins[0],
                }
            )
    return sorted(found, key=lambda item: -abs(item["difference"]))


def _describe(item: Shown) -> dict[str, Any]:
    return {
        "title": f"{item.environment}, scene {item.seed}",
        "videos": [
            {
                "arm": name,
                "success": recorded.success,
                "detail": recorded.detail,
                "duration": f"{video.episode.duration_s:.1f} s",
                "fault": recorded.fault,
                "same": video.episode.success == recorded.success,
                "address": inline(video.data, "video/mp4"),
            }
            for name, recorded, video in item.videos
        ],
    }


def _provenance(arms: Sequence[Arm]) -> list[list[str]]:
    rows = []
    for arm in arms:
        for runs in arm.runs.values():
            for run in runs:
                about = run.provenance
                images = (
                    f"{about.image_delay_s:g} s, {about.image_jitter_s:g} s, {100 * about.image_lost:g} %"
                )
                rows.append(
                    [
                        arm.path.name, about.policy, about.checkpoint_sha256[:12] or "–",
                        f"{about.environment} {about.environment_version}", about.mujoco_version,
                        f"{about.inference_s:g} s", f"{about.time_limit_s:g} s", images, str(len(run.episodes)),
                        about.hpt_ros_version,
                    ]
                )  # fmt: skip
    return rows
