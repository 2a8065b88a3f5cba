# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Episodes, images and dimensions of a dataset in numbers; `hpt_ros.dataset.quality.checks` judges them.

Works on arrays; who calls it reads the files. Speeds are fractions of the embodiment file's limits, so that one
threshold serves every joint. They come from neighbouring ticks, so peaks between ticks are not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.layout import features_of
from hpt_ros.dataset.quality.motion import log_dimensionless_jerk, most_switches
from hpt_ros.embodiment import Embodiment

Floats = NDArray[np.float64]

# Slower than this fraction of every velocity limit is standing still: above encoder noise, below any wanted motion.
STILL_RATIO = 0.01
# An image counts as the same if fewer than this fraction of its pixels changed by more than so many grey levels. A
# frozen camera of the simulated scene, through the converter's H.264, stays below 0.1 % (sharp edges jump at key
# frames), and its moving arm changes more than 0.8 % from one tick to the next.
CHANGED_LEVELS = 16
CHANGED_RATIO = 2e-3
# Mean grey level 0..255: a covered lens gives less than 16 (video black), a blinded sensor more than 240.
DARK_LEVEL, BRIGHT_LEVEL = 16.0, 240.0
# A depth camera that measures less than this fraction of its pixels sees nothing: too near, too far, or covered.
BLIND_FILLED = 0.05
# Within this fraction of a joint's range from a limit counts as touching it; 0.2 % is 0.7 degrees of a full turn.
TOUCH_RATIO = 0.002
# Ticks without motion before one counts as rest: the arm follows its command with a delay.
REST_TICKS = 3
BINS = 24
# Points of an episode's speed profile in the report.
PROFILE_POINTS = 48


@dataclass(frozen=True, slots=True)
class ImageMeasures:
    """One view's images of an episode in two numbers each.

    Attributes:
        brightness: float64 (length,), mean grey level 0..255.
        change: float64 (length,), fraction of pixels that differ from the last image that was not the same as those
            before it, so that slow motion adds up; NaN for the first.
    """

    brightness: Floats
    change: Floats

    def part(self, start: int, stop: int) -> ImageMeasures:
        """Return those of one episode, out of a video's; the first has nothing before it."""
        change = self.change[start:stop].copy()
        change[:1] = np.nan
        return ImageMeasures(self.brightness[start:stop], change)


def measure_images(frames: Iterable[NDArray[np.uint8]]) -> ImageMeasures:
    """Measure RGB uint8 frames (height, width, 3) of a video, one at a time."""
    brightness: list[float] = []
    change: list[float] = []
    before: NDArray[np.int16] | None = None
    for frame in frames:
        grey = frame.mean(axis=2).astype(np.int16)
        brightness.append(float(grey.mean()))
        change.append(np.nan if before is None else float((np.abs(grey - before) > CHANGED_LEVELS).mean()))
        if not change[-1] < CHANGED_RATIO:
            before = grey
    return ImageMeasures(np.array(brightness), np.array(change))


@dataclass(frozen=True, slots=True)
class ValueMeasures:
    """A depth, wrench or point cloud stream of an episode in two numbers a tick.

    Attributes:
        same: bool (length,), true where every value is that of the tick before; false for the first.
        filled: float64 (length,), fraction of values that are not 0; of depth, of pixels that were measured. 0 where
            all have one value.
    """

    same: NDArray[np.bool_]
    filled: Floats


def measure_values(values: NDArray[Any]) -> ValueMeasures:
    """Measure an episode's values of a stream, (length, ...), one tick at a time: they may be memory-mapped."""
    same = np.zeros(len(values), dtype=bool)
    filled = np.zeros(len(values))
    for tick, value in enumerate(values):
        same[tick] = tick > 0 and np.array_equal(value, values[tick - 1])
        filled[tick] = np.count_nonzero(value) / value.size if value.min() != value.max() else 0.0
    return ValueMeasures(same, filled)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the conversion reported of the recording that an episode is from.

    Attributes:
        ticks: of the recording.
        dropped: stream name to ticks that it cost.
        ages_s: stream name to the mean age of its newest sample at a tick.
        resized: stream name to how the size of its images changed, in words.
        clocks: stream name to what is odd about its stamps, in words; "" to where the clock was set back.
        wrapped: joint to how its angle jumped by nearly a turn, in words.
    """

    ticks: int
    dropped: dict[str, int]
    ages_s: dict[str, float]
    resized: dict[str, str] = field(default_factory=dict)
    clocks: dict[str, str] = field(default_factory=dict)
    wrapped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpisodeArrays:
    """What is measured: one episode of n ticks.

    Attributes:
        index, task: of the episode.
        state, action: (n, D) and (n, Da).
        images: by view.
        sensed: by joined modality other than the state, and by stream of arrays of several axes, such as depth.
        vectors: by joined modality other than the state (n, D), and by stream of arrays of one axis (n, length).
        recorded: what is known of its recording; None for a dataset that was not converted from bags.
    """

    index: int
    task: str
    state: Floats
    action: Floats
    images: dict[str, ImageMeasures]
    sensed: dict[str, ValueMeasures] = field(default_factory=dict)
    vectors: dict[str, Floats] = field(default_factory=dict)
    recorded: Recorded | None = None


@dataclass(frozen=True, slots=True)
class EpisodeQuality:
    """One episode in numbers; ratios are 0..1, speeds are fractions of the limits and may exceed 1.

    `smoothness` is the log dimensionless jerk of the joints while they move, None if there is too little motion;
    `blind_at_s` when the first of the images came that `blind_ratio` counts, where there are any;
    `switches` how often each gripper is switched within a second, at most; `speed_profile` the largest speed in each
    of `PROFILE_POINTS` equal parts of the episode, one a tick at most.
    """

    index: int
    task: str
    duration_s: float
    idle_ratio: float
    idle_start_s: float
    idle_end_s: float
    peak_velocity: float
    peak_acceleration: float
    peak_jerk: float
    limit_ratio: float
    path: float
    smoothness: float | None
    switches: dict[str, int]
    frozen_s: dict[str, float]
    dark_ratio: dict[str, float]
    bright_ratio: dict[str, float]
    blind_ratio: dict[str, float]
    blind_at_s: dict[str, float]
    dropped_ratio: dict[str, float]
    age_s: dict[str, float]
    resized: dict[str, str]
    clocks: dict[str, str]
    wrapped: dict[str, str]
    speed_profile: list[float]


@dataclass(frozen=True, slots=True)
class DimensionQuality:
    """One element of a joined vector or of the action, or one array, over the dataset.

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
    """Return the largest speed of any joint between neighbouring ticks as a fraction of its limit, (n - 1,)."""
    return robot.space.speeds(action)


def find_motion(robot: Embodiment, state: Floats, action: Floats) -> NDArray[np.bool_]:
    """Return where the command or the arm moved since the tick before, (n,); false at the first."""
    moving = np.zeros(len(action), dtype=bool)
    moving[1:] = _speed(robot, action) >= STILL_RATIO
    if robot.space.states.joints_measured:
        moving[1:] |= _speed(robot, robot.space.states.control(state)) >= STILL_RATIO
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
    moving = find_motion(robot, episode.state, episode.action)
    still = ~moving[1:]
    where = np.flatnonzero(moving)
    idle_start, idle_end = (
        (where[0] - 1, len(moving) - 1 - where[-1]) if len(where) else (len(still), len(still))
    )
    counted = robot.space.counted(action)
    acceleration = np.diff(counted, 2, axis=0) / dt_s**2 / robot.max_acceleration
    # A jerk of 2 a_max / dt turns the full acceleration around within one tick.
    jerk = np.diff(acceleration, axis=0) / 2.0
    margin = TOUCH_RATIO * (robot.upper - robot.lower)
    near = (action <= robot.lower + margin) | (action >= robot.upper - margin)
    touched = (near & ~robot.space.angles).any(axis=1)
    frozen = {
        view: _longest_run(moving & (images.change < CHANGED_RATIO)) * dt_s
        for view, images in episode.images.items()
    }
    frozen |= {name: _longest_run(moving & sensed.same) * dt_s for name, sensed in episode.sensed.items()}
    depths = [stream.name for stream in robot.streams_of("depth")]
    blind = {name: item.filled < BLIND_FILLED for name, item in episode.sensed.items() if name in depths}
    recorded, speed = episode.recorded, _speed(robot, action)
    return EpisodeQuality(
        index=episode.index,
        task=episode.task,
        duration_s=len(action) * dt_s,
        idle_ratio=float(still.mean()) if still.size else 1.0,
        idle_start_s=float(idle_start * dt_s),
        idle_end_s=float(idle_end * dt_s),
        peak_velocity=_peak(speed),
        peak_acceleration=_peak(acceleration),
        peak_jerk=_peak(jerk),
        limit_ratio=float(touched.mean()),
        path=float((np.abs(np.diff(counted, axis=0)) / (robot.upper - robot.lower)).sum()),
        smoothness=_smoothness(robot, counted, where),
        switches=_switches(robot, action),
        frozen_s=frozen,
        dark_ratio={v: float((p.brightness < DARK_LEVEL).mean()) for v, p in episode.images.items()},
        bright_ratio={v: float((p.brightness > BRIGHT_LEVEL).mean()) for v, p in episode.images.items()},
        blind_ratio={name: float(blank.mean()) for name, blank in blind.items()},
        blind_at_s={name: float(blank.argmax() * dt_s) for name, blank in blind.items() if blank.any()},
        dropped_ratio={}
        if recorded is None
        else {n: count / recorded.ticks for n, count in recorded.dropped.items()},
        age_s={} if recorded is None else dict(recorded.ages_s),
        resized={} if recorded is None else dict(recorded.resized),
        clocks={} if recorded is None else dict(recorded.clocks),
        wrapped={} if recorded is None else dict(recorded.wrapped),
        speed_profile=_speed_profile(speed),
    )


def _grippers(robot: Embodiment) -> NDArray[np.bool_]:
    return np.array([name in robot.action.grippers for name in robot.action.names], dtype=bool)


def _smoothness(robot: Embodiment, counted: Floats, moved: NDArray[np.intp]) -> float | None:
    """Return the smoothness between the first and the last motion, of what is no gripper and has a range."""
    if not len(moved):
        return None
    scaled = counted[max(moved[0] - 1, 0) : moved[-1] + 1] / (robot.upper - robot.lower)
    joints = scaled[:, ~_grippers(robot)]
    return log_dimensionless_jerk(joints, robot.dt_s) if joints.shape[1] else None


def _switches(robot: Embodiment, action: Floats) -> dict[str, int]:
    scaled = (action - robot.lower) / (robot.upper - robot.lower)
    return {
        robot.action.names[column]: most_switches(scaled[:, column], robot.dt_s)
        for column in np.flatnonzero(_grippers(robot)).tolist()
    }


def _speed_profile(speed: Floats) -> list[float]:
    parts = np.array_split(speed, min(PROFILE_POINTS, len(speed))) if len(speed) else []
    return [round(float(part.max()), 3) for part in parts]


def measure_dimensions(robot: Embodiment, episodes: Sequence[EpisodeArrays]) -> list[DimensionQuality]:
    """Measure each element of joined vectors and of the action, and each array of one axis, over all episodes."""
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
    for feature in features_of(robot).values():
        kind = feature.modality
        if feature.stream in episodes[0].vectors:
            values = np.concatenate([episode.vectors[feature.stream].reshape(-1) for episode in episodes])
            found.append(_dimension(robot, kind, feature.stream, values, None, None))
        elif kind in episodes[0].vectors:
            for column, name in enumerate(robot.names_of(kind)):
                values = np.concatenate([episode.vectors[kind][:, column] for episode in episodes])
                found.append(_dimension(robot, kind, name, values, None, None))
    for column, name in enumerate(robot.action.names):
        found.append(_dimension(robot, "action", name, action[:, column], column, None))
    return found


def _resting(robot: Embodiment, episode: EpisodeArrays) -> NDArray[np.bool_]:
    """Return where nothing has moved for `REST_TICKS` ticks, (n,)."""
    moving = find_motion(robot, episode.state, episode.action)
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
