# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Finds what is wrong with a dataset to learn from, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hpt_ros.dataset.quality.findings import (
    APART_TICKS,
    CHECKS,
    DARK_RATIO,
    DROPPED_RATIO,
    DUPLICATE_RATIO,
    FROZEN_S,
    IDLE_EDGE_S,
    IDLE_RATIO,
    MAD_FLOOR,
    OFFSET_RATIO,
    OLD_TICKS,
    OUTLIER_EPISODES,
    OUTLIER_Z,
    OVER_JERK,
    OVER_LIMIT,
    ZERO_RATIO,
    Finding,
    Quality,
)
from hpt_ros.dataset.quality.measure import (
    DimensionQuality,
    EpisodeArrays,
    EpisodeQuality,
    Floats,
    measure_dimensions,
    measure_episode,
)
from hpt_ros.dataset.quality.motion import CHATTER_S, CHATTER_SWITCHES
from hpt_ros.embodiment import Embodiment


def assess(robot: Embodiment, episodes: Sequence[EpisodeArrays]) -> Quality:
    """Measure all episodes and dimensions.

    Args:
        robot: names, limits and rate.
        episodes: at least one, each with at least one tick.
    """
    measured = [measure_episode(robot, episode) for episode in episodes]
    dimensions = measure_dimensions(robot, episodes)
    findings = [finding for entry in measured for finding in _episode_findings(robot, entry)]
    findings += _duplicates(robot, episodes)
    findings += _outliers(robot, episodes, measured)
    findings += _roughest(measured)
    findings += _dimension_findings(robot, dimensions)
    order = list(CHECKS)
    findings.sort(key=lambda finding: (order.index(finding.check), finding.episode))
    left = not_assessed(robot, episodes, measured)
    return Quality(robot.name, robot.tick_hz, measured, dimensions, findings, left)


def _episode_findings(robot: Embodiment, entry: EpisodeQuality) -> list[Finding]:
    found: list[Finding] = []

    def add(check: str, subject: str, text: str) -> None:
        found.append(Finding(check, entry.index, subject, text))

    for view, frozen_s in entry.frozen_s.items():
        if frozen_s >= FROZEN_S:
            kind = "view" if view in entry.dark_ratio else "stream"
            add("frozen", view, f"{kind} {view} stays the same for {frozen_s:.1f} s while the arm moves")
    for check, word, ratios in (
        ("dark", "dark", entry.dark_ratio),
        ("bright", "overexposed", entry.bright_ratio),
    ):
        for view, ratio in ratios.items():
            if ratio >= DARK_RATIO:
                add(check, view, f"{ratio:.0%} of the images of view {view} are {word}")
    for name, ratio in entry.blind_ratio.items():
        if ratio >= DARK_RATIO:
            text = (
                f"{ratio:.0%} of the images of depth stream {name} have hardly a distance, or one everywhere, the "
                f"first at {entry.blind_at_s[name]:.1f} s"
            )
            add("blind", name, text)
    if entry.idle_ratio > IDLE_RATIO:
        add("idle", "", f"stands still for {entry.idle_ratio:.0%} of {entry.duration_s:.1f} s")
    else:
        for where, rest_s in (("start", entry.idle_start_s), ("end", entry.idle_end_s)):
            if rest_s >= IDLE_EDGE_S:
                add("idle_edge", where, f"rests for {rest_s:.1f} s at the {where}")
    if entry.peak_velocity > OVER_LIMIT:
        add("velocity", "", f"peak velocity is {entry.peak_velocity:.0%} of the limit")
    if entry.peak_jerk > OVER_JERK:
        add(
            "jerk",
            "",
            f"peak jerk is {entry.peak_jerk:.0%} of turning the full acceleration around in one tick",
        )
    for name, count in entry.switches.items():
        if count >= CHATTER_SWITCHES:
            add("chatter", name, f"gripper {name} is switched {count} times within {CHATTER_S:g} s")
    if entry.limit_ratio > 0:
        add("limit", "", f"{entry.limit_ratio:.1%} of the commands lie at or beyond a position limit")
    for name, ratio in entry.dropped_ratio.items():
        if ratio >= DROPPED_RATIO:
            add("dropped", name, f"{ratio:.0%} of its recording's ticks were lost for {name}")
    for name, change in entry.resized.items():
        add("resized", name, f"the images of {name} changed {change} within the recording")
    for name, jump in entry.wrapped.items():
        add(
            "wrapped",
            name,
            f"{name} jumps {jump} from one message to the next, and was interpolated through it",
        )
    for name, note in entry.clocks.items():
        add("clock", name, note)
    _skews(robot, entry, add)
    return found


def _skews(robot: Embodiment, entry: EpisodeQuality, add: Callable[[str, str, str], None]) -> None:
    """Add streams out of step; states are interpolated to the tick and a task holds, so neither is old."""
    held = [stream.name for stream in robot.streams if stream.modality not in ("state", "language")]
    for name in held:
        if (age_s := entry.age_s.get(name, 0.0)) > OLD_TICKS * robot.dt_s:
            add("skew", name, f"{name} is {age_s * 1e3:.0f} ms old at its ticks on average, more than a tick")
    views = {s.name: entry.age_s[s.name] for s in robot.image_streams if s.name in entry.age_s}
    if views:
        newest, oldest = min(views, key=views.__getitem__), max(views, key=views.__getitem__)
        apart_s = views[oldest] - views[newest]
        if apart_s > APART_TICKS * robot.dt_s:
            add("skew", oldest, f"{oldest} is {apart_s * 1e3:.0f} ms behind {newest} on average")


def _duplicates(robot: Embodiment, episodes: Sequence[EpisodeArrays]) -> list[Finding]:
    """Find pairs of one length whose every state and action agrees.

    Sorted by mean, candidates stand together: if no value differs by more than the tolerance, no mean does.
    """
    tolerance = DUPLICATE_RATIO * (robot.upper - robot.lower)
    groups: dict[int, list[EpisodeArrays]] = {}
    for episode in episodes:
        groups.setdefault(len(episode.action), []).append(episode)
    found: list[Finding] = []
    for group in groups.values():
        scaled = [(float((item.action / tolerance).mean()), item) for item in group]
        scaled.sort(key=lambda pair: (pair[0], pair[1].index))
        for at, (mean, first) in enumerate(scaled):
            for other_mean, second in scaled[at + 1 :]:
                if other_mean - mean > 1.0:
                    break
                if (np.abs(first.action - second.action) > tolerance).any():
                    continue
                scale = float(tolerance.max())
                if (np.abs(first.state - second.state) > scale).any():
                    continue
                early, late = sorted((first.index, second.index))
                found.append(Finding("duplicate", late, "", f"the same as episode {early}"))
                break
    return found


def robust_z(values: Floats) -> Floats:
    """Return robust z-scores, (n,): 0.6745 (x - median) / MAD, the MAD at least `MAD_FLOOR` of the median.

    Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993.
    """
    median = np.median(values)
    mad = max(float(np.median(np.abs(values - median))), MAD_FLOOR * abs(float(median)), 1e-12)
    z: Floats = 0.6745 * (values - median) / mad
    return z


def _outliers(
    robot: Embodiment, episodes: Sequence[EpisodeArrays], measured: Sequence[EpisodeQuality]
) -> list[Finding]:
    if len(episodes) < OUTLIER_EPISODES:
        return []
    shapes = np.stack([_shape(robot, episode.action) for episode in episodes])
    # Distance of the trajectory from the median trajectory, as a fraction of the range.
    distance = np.sqrt(((shapes - np.median(shapes, axis=0)) ** 2).mean(axis=(1, 2)))
    features: dict[str, tuple[Floats, Callable[[float], str]]] = {
        "duration": (np.array([e.duration_s for e in measured]), lambda x: f"{x:.1f} s"),
        "path length": (np.array([e.path for e in measured]), lambda x: f"{x:.2f} joint ranges"),
        "peak velocity": (np.array([e.peak_velocity for e in measured]), lambda x: f"{x:.0%} of the limit"),
        "distance from the median trajectory": (distance, lambda x: f"{x:.1%} of the range"),
    }
    found = []
    for name, (values, text) in features.items():
        z = robust_z(values)
        # A trajectory nearer to the median than others is no fault.
        odd = z > OUTLIER_Z if values is distance else np.abs(z) > OUTLIER_Z
        for at in np.flatnonzero(odd).tolist():
            middle = text(float(np.median(values)))
            found.append(
                Finding(
                    "outlier",
                    episodes[at].index,
                    name,
                    f"{name} is {text(float(values[at]))}, the median episode's is {middle}",
                )
            )
    return found


def _roughest(measured: Sequence[EpisodeQuality]) -> list[Finding]:
    """Find episodes that are less smooth than the others: the measure has no absolute scale, see `motion`."""
    known = [(entry.index, entry.smoothness) for entry in measured if entry.smoothness is not None]
    if len(known) < OUTLIER_EPISODES:
        return []
    values = np.array([value for _, value in known])
    middle = float(np.median(values))
    return [
        Finding(
            "smoothness",
            known[at][0],
            "",
            f"log dimensionless jerk {values[at]:.1f}, the median's {middle:.1f}",
        )
        for at in np.flatnonzero(robust_z(values) < -OUTLIER_Z).tolist()
    ]


def not_assessed(
    robot: Embodiment, episodes: Sequence[EpisodeArrays], measured: Sequence[EpisodeQuality]
) -> dict[str, str]:
    """Return the checks that could find nothing, and why."""
    few = f"fewer than {OUTLIER_EPISODES} episodes"
    commands = {f"{name}.position" for name in robot.action.names}
    unknown = all(episode.recorded is None for episode in episodes)
    reasons = {
        "frozen": (
            not robot.image_streams and not any(e.sensed for e in episodes),
            "no cameras, depth, wrench or points",
        ),
        "dark": (not robot.image_streams, "no cameras"),
        "bright": (not robot.image_streams, "no cameras"),
        "blind": (not robot.streams_of("depth"), "no depth camera"),
        "dropped": (unknown, "the dataset has no report of its recordings"),
        "resized": (unknown, "the dataset has no report of its recordings"),
        "skew": (unknown, "the dataset has no report of its recordings"),
        "offset": (
            not commands & set(robot.state_names),
            "no state element is the position of a commanded joint",
        ),
        "outlier": (len(episodes) < OUTLIER_EPISODES, few),
        "smoothness": (
            sum(e.smoothness is not None for e in measured) < OUTLIER_EPISODES,
            f"{few} with motion",
        ),
        "chatter": (not robot.action.grippers, "the embodiment file names no grippers"),
        "duplicate": (len(episodes) < 2, "one episode"),
    }
    return {check: reason for check, (applies, reason) in reasons.items() if applies}


def _shape(robot: Embodiment, action: Floats, points: int = 32) -> Floats:
    """Return the trajectory of an episode with its duration taken out, (points, Da), as a fraction of the range."""
    at = np.linspace(0.0, len(action) - 1.0, points)
    ticks = np.arange(len(action))
    counted = robot.space.counted(action)
    # How many turns a continuous joint is away from 0 is no difference between episodes.
    counted = np.where(robot.space.angles, counted - counted[0], counted)
    trajectory = np.stack([np.interp(at, ticks, column) for column in counted.T], axis=1)
    scaled: Floats = trajectory / (robot.upper - robot.lower)
    return scaled


def _dimension_findings(robot: Embodiment, dimensions: Sequence[DimensionQuality]) -> list[Finding]:
    found = []
    for entry in dimensions:
        label = f"{entry.kind} {entry.name}"
        span = 1.0 if entry.lower is None or entry.upper is None else entry.upper - entry.lower
        if np.sqrt(entry.variance) < ZERO_RATIO * span:
            found.append(Finding("constant", -1, label, f"{label} is always {entry.mean:g}"))
        if entry.rest_offset is not None and abs(entry.rest_offset) > OFFSET_RATIO * span:
            text = (
                f"at rest {label} is {entry.rest_offset:+.4g} {robot.action.unit} off its command on average"
            )
            found.append(Finding("offset", -1, label, text))
    return found
