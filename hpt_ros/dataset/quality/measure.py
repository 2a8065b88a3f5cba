# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Episodes, pictures and dimensions of a dataset in numbers; `hpt_ros.dataset.quality.checks` judges them.

Works on arrays; who calls it reads the files. Speeds are shares of the embodiment file's limits, so that one
threshold serves every joint. They come from neighbouring ticks, so peaks between ticks are not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment

Floats = NDArray[np.float64]

# Slower than this share of every velocity limit is standing still: above encoder noise, below any wanted motion.
STILL_SHARE = 0.01
# A picture counts as the same if fewer than this share of its pixels changed by more than so many grey levels. A frozen
# camera of the simulated scene, through the converter's H.264, stays below 0.1 % (sharp edges jump where key frames
# are encoded anew), and its moving arm changes more than 0.8 % from one tick to the next.
CHANGED_LEVELS = 16
CHANGED_SHARE = 2e-3
# Mean grey level 0..255: a covered lens gives less than 16 (video black), a blinded sensor more than 240.
DARK_LEVEL, BRIGHT_LEVEL = 16.0, 240.0
# A depth camera that measures less than this share of its pixels sees nothing: too near, too far, or covered.
BLIND_FILLED = 0.05
# Within this share of a joint's range from a limit counts as touching it; 0.2 % is 0.7 degrees of a full turn.
TOUCH_SHARE = 0.002
# Ticks without motion before one counts as rest: the arm follows its command with a delay.
REST_TICKS = 3
BINS = 24
# Points of an episode's course of speed in the report.
COURSE_POINTS = 48


@dataclass(frozen=True, slots=True)
class Pictures:
    """One view's pictures of an episode in two numbers each.

    Attributes:
        brightness: float64 (length,), mean grey level 0..255.
        change: float64 (length,), share of pixels that differ from the last picture that was not the same as those
            before it, so that slow motion adds up; NaN for the first.
    """

    brightness: Floats
    change: Floats

    def part(self, start: int, stop: int) -> Pictures:
        """Those of one episode, out of a whole video's; the first has nothing before it."""
        change = self.change[start:stop].copy()
        change[:1] = np.nan
        return Pictures(self.brightness[start:stop], change)


def measure_pictures(frames: Iterable[NDArray[np.uint8]]) -> Pictures:
    """Measure RGB uint8 frames (height, width, 3) of a video, one at a time."""
    brightness: list[float] = []
    change: list[float] = []
    before: NDArray[np.int16] | None = None
    for frame in frames:
        grey = frame.mean(axis=2).astype(np.int16)
        brightness.append(float(grey.mean()))
        change.append(np.nan if before is None else float((np.abs(grey - before) > CHANGED_LEVELS).mean()))
        if not change[-1] < CHANGED_SHARE:
            before = grey
    return Pictures(np.array(brightness), np.array(change))


@dataclass(frozen=True, slots=True)
class Sensed:
    """A depth, wrench or point cloud stream of an episode in two numbers a tick.

    Attributes:
        same: bool (length,), true where every value is that of the tick before; false for the first.
        filled: float64 (length,), share of values that are not 0; of depth, of pixels that were measured.
    """

    same: NDArray[np.bool_]
    filled: Floats


def measure_values(values: NDArray[Any]) -> Sensed:
    """Measure an episode's values of a stream, (length, ...), one tick at a time: they may be memory-mapped."""
    same = np.zeros(len(values), dtype=bool)
    filled = np.zeros(len(values))
    for tick, value in enumerate(values):
        same[tick] = tick > 0 and np.array_equal(value, values[tick - 1])
        filled[tick] = np.count_nonzero(value) / value.size
    return Sensed(same, filled)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the conversion said of the recording that an episode is from.

    Attributes:
        ticks: of the recording.
        dropped: stream name to ticks that it cost.
        ages_s: stream name to the mean age of its newest sample at a tick.
        resized: stream name to how the size of its images changed, in words.
    """

    ticks: int
    dropped: dict[str, int]
    ages_s: dict[str, float]
    resized: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpisodeArrays:
    """What is measured: one episode of n ticks.

    Attributes:
        index, task: of the episode.
        state, action: (n, D) and (n, Da).
        pictures: by view.
        sensed: by depth and point cloud stream, and "wrench".
        vectors: wrench (n, Dw), and by tactile stream (n, length).
        recorded: what is known of its recording; None for a dataset that was not converted from bags.
    """

    index: int
    task: str
    state: Floats
    action: Floats
    pictures: dict[str, Pictures]
    sensed: dict[str, Sensed] = field(default_factory=dict)
    vectors: dict[str, Floats] = field(default_factory=dict)
    recorded: Recorded | None = None


@dataclass(frozen=True, slots=True)
class EpisodeQuality:
    """One episode in numbers; shares are 0..1, speeds are shares of the limits and may exceed 1.

    `course` is the largest speed within each of `COURSE_POINTS` equal parts of the episode, or fewer of a short one.
    """

    index: int
    task: str
    duration_s: float
    idle_share: float
    idle_start_s: float
    idle_end_s: float
    peak_velocity: float
    peak_acceleration: float
    peak_jerk: float
    limit_share: float
    path: float
    frozen_s: dict[str, float]
    dark_share: dict[str, float]
    bright_share: dict[str, float]
    blind_share: dict[str, float]
    dropped_share: dict[str, float]
    age_s: dict[str, float]
    resized: dict[str, str]
    course: list[float]


@dataclass(frozen=True, slots=True)
class DimensionQuality:
    """One element of state, wrench or action, or a tactile array, over the whole dataset.

    `lower` and `upper` are the limits, None without.
    """

    kind: str
    name: str
    minimum: float
    maximum: float
    mean: float
    variance: float
    histogram: list[int]
    lower: float | None
    upper: float | None
    rest_offset: (
        float | None
    )  # state only: mean of state - command at rest; None without a command or without rest


def _speed(robot: Embodiment, action: Floats) -> Floats:
    """Largest speed of any joint between neighbouring ticks as a share of its limit, (n - 1,)."""
    return robot.space.speeds(action)


def _moving(robot: Embodiment, episode: EpisodeArrays) -> NDArray[np.bool_]:
    """True where the command or the arm moved since the tick before, (n,); false at the first."""
    moving = np.zeros(len(episode.action), dtype=bool)
    moving[1:] = _speed(robot, episode.action) >= STILL_SHARE
    if robot.space.joints_measured:
        moving[1:] |= _speed(robot, robot.space.measured(episode.state)) >= STILL_SHARE
    return moving


def _peak(values: Floats) -> float:
    return float(np.abs(values).max()) if values.size else 0.0


def _longest_run(mask: NDArray[np.bool_]) -> int:
    best = run = 0
    for item in mask:
        run = run + 1 if item else 0
        best = max(best, run)
    return best


def measure_episode(robot: Embodiment, episode: EpisodeArrays) -> EpisodeQuality:
    """Measure one episode of at least one tick."""
    dt_s, action = robot.dt_s, episode.action
    moving = _moving(robot, episode)
    still = ~moving[1:]
    where = np.flatnonzero(moving)
    idle_start, idle_end = (
        (where[0] - 1, len(moving) - 1 - where[-1]) if len(where) else (len(still), len(still))
    )
    counted = robot.space.counted(action)
    acceleration = np.diff(counted, 2, axis=0) / dt_s**2 / robot.max_acceleration
    # A jerk of 2 a_max / dt turns the full acceleration around within one tick.
    jerk = np.diff(acceleration, axis=0) / 2.0
    margin = TOUCH_SHARE * (robot.upper - robot.lower)
    near = (action <= robot.lower + margin) | (action >= robot.upper - margin)
    touched = (near & ~robot.space.angles).any(axis=1)
    frozen = {
        view: _longest_run(moving & (pictures.change < CHANGED_SHARE)) * dt_s
        for view, pictures in episode.pictures.items()
    }
    frozen |= {name: _longest_run(moving & sensed.same) * dt_s for name, sensed in episode.sensed.items()}
    depths = [stream.name for stream in robot.streams_of("depth")]
    recorded, speed = episode.recorded, _speed(robot, action)
    return EpisodeQuality(
        index=episode.index,
        task=episode.task,
        duration_s=len(action) * dt_s,
        idle_share=float(still.mean()) if still.size else 1.0,
        idle_start_s=float(idle_start * dt_s),
        idle_end_s=float(idle_end * dt_s),
        peak_velocity=_peak(speed),
        peak_acceleration=_peak(acceleration),
        peak_jerk=_peak(jerk),
        limit_share=float(touched.mean()),
        path=float((np.abs(np.diff(counted, axis=0)) / (robot.upper - robot.lower)).sum()),
        frozen_s=frozen,
        dark_share={v: float((p.brightness < DARK_LEVEL).mean()) for v, p in episode.pictures.items()},
        bright_share={v: float((p.brightness > BRIGHT_LEVEL).mean()) for v, p in episode.pictures.items()},
        blind_share={
            name: float((sensed.filled < BLIND_FILLED).mean())
            for name, sensed in episode.sensed.items()
            if name in depths
        },
        dropped_share={}
        if recorded is None
        else {n: count / recorded.ticks for n, count in recorded.dropped.items()},
        age_s={} if recorded is None else dict(recorded.ages_s),
        resized={} if recorded is None else dict(recorded.resized),
        course=_course(speed),
    )


def _course(speed: Floats) -> list[float]:
    parts = np.array_split(speed, min(COURSE_POINTS, len(speed))) if len(speed) else []
    return [round(float(part.max()), 3) for part in parts]


def measure_dimensions(robot: Embodiment, episodes: Sequence[EpisodeArrays]) -> list[DimensionQuality]:
    """Measure each element of state, wrench and action, and each tactile array, over all episodes."""
    state = np.concatenate([episode.state for episode in episodes])
    action = np.concatenate([episode.action for episode in episodes])
    resting = np.concatenate([_resting(robot, episode) for episode in episodes])
    commands = {f"{name}.position": column for column, name in enumerate(robot.action.names)}
    found = []
    for column, name in enumerate(robot.state_names):
        command = commands.get(name)
        offset = None
        if command is not None and resting.any():
            offset = float((state[resting, column] - action[resting, command]).mean())
        found.append(_dimension(robot, "state", name, state[:, column], command, offset))
    for column, name in enumerate(robot.names_of("wrench")):
        values = np.concatenate([episode.vectors["wrench"][:, column] for episode in episodes])
        found.append(_dimension(robot, "wrench", name, values, None, None))
    for stream in robot.streams_of("tactile"):
        values = np.concatenate([episode.vectors[stream.name].reshape(-1) for episode in episodes])
        found.append(_dimension(robot, "tactile", stream.name, values, None, None))
    for column, name in enumerate(robot.action.names):
        found.append(_dimension(robot, "action", name, action[:, column], column, None))
    return found


def _resting(robot: Embodiment, episode: EpisodeArrays) -> NDArray[np.bool_]:
    """True where nothing has moved for `REST_TICKS` ticks, (n,)."""
    moving = _moving(robot, episode)
    moving[0] = True  # what was before is not known
    resting = ~moving
    for back in range(1, REST_TICKS):
        resting[back:] &= ~moving[:-back]
        resting[:back] = False
    return resting


def _dimension(
    robot: Embodiment, kind: str, name: str, values: Floats, limit: int | None, offset: float | None
) -> DimensionQuality:
    return DimensionQuality(
        kind=kind,
        name=name,
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean=float(values.mean()),
        variance=float(values.var()),
        histogram=[int(count) for count in np.histogram(values, BINS)[0]],
        lower=None if limit is None else float(robot.lower[limit]),
        upper=None if limit is None else float(robot.upper[limit]),
        rest_offset=offset,
    )
