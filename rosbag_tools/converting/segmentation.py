# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cuts an episode's rows into the stretches that become episodes of the dataset, and writes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.conversion_report import Blank, EpisodeReport, Span
from hpt_ros.dataset.episode_writer import EpisodeData, EpisodeWriter
from hpt_ros.dataset.layout import ACTION, join_feature_name, stream_feature
from hpt_ros.dataset.quality.measure import STILL_RATIO
from hpt_ros.embodiment import Embodiment
from hpt_ros.observation import Tick
from rosbag_tools.converting.resample import Row

# Shorter stretches between gaps teach nothing: less than one chunk of actions of most robots.
MIN_SPAN_S = 1.0
# What stays of a rest that is cut out, on either side: the policy must learn to begin and to stop.
REST_KEPT_S = 0.5


def minimum_ticks(embodiment: Embodiment) -> int:
    """Ticks that a span must have to become an episode: `MIN_SPAN_S`, and at least two."""
    return max(2, math.ceil(MIN_SPAN_S * embodiment.tick_hz))


@dataclass
class _Rest:
    """Rows in which nothing moves, until it is known whether they are a pause or a rest to cut out."""

    longest: int  # ticks
    kept: int  # ticks on either side of one that is cut out
    rows: list[Row]
    cut: bool  # the present one is longer than that


class Spans:
    """Cuts an episode's rows into spans of consecutive whole ticks of one task, and writes those that are long enough.

    A span's first ticks wait in memory until it has the minimum, so that a gappy bag costs no encoder per gap; so do
    the ticks of a rest, up to the longest that is kept.

    Args:
        folder: where segments and arrays go.
        stem: first part of their names.
        embodiment: the robot.
        task: task text where the rows have none.
        forced_task: task text whatever the rows have.
        longest_rest_s: rests longer than this are cut out but for `REST_KEPT_S` on either side; infinite to keep all.
        coded: depth is stored as a video of codes.
        entry: the episode's report, filled in.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        embodiment: Embodiment,
        entry: EpisodeReport,
        *,
        task: str,
        forced_task: str = "",
        longest_rest_s: float = math.inf,
        coded: bool = False,
    ) -> None:
        self._coded = coded
        self._folder, self._stem, self._embodiment = folder, stem, embodiment
        self._default_task, self._forced_task = task, forced_task
        self._entry = entry
        self._minimum = minimum_ticks(embodiment)
        self._rest: _Rest | None = None
        if math.isfinite(longest_rest_s):
            kept = math.ceil(REST_KEPT_S * embodiment.tick_hz)
            self._rest = _Rest(max(round(longest_rest_s * embodiment.tick_hz), 2 * kept), kept, [], False)
        # A robot may command joints that it does not measure.
        self._measured = embodiment.space.states.joints_measured
        self._depths = [stream.name for stream in embodiment.streams_of("depth")]
        self._first_ns: int | None = None  # of the first whole tick
        self._last: Row | None = None  # the row before, if this one may follow it in a span
        self._task = ""
        self._held: list[Row] = []
        self._writer: EpisodeWriter | None = None
        self._count = self._ticks = 0
        self._start_ns = 0
        self._done: list[EpisodeData] = []
        self._ended: EpisodeWriter | None = None  # its encoders may still be at work

    def add(self, row: Row) -> None:
        """Take the next row."""
        self._entry.ticks += 1
        if row.tick.restart is not None:
            self._entry.restarts.append(str(row.tick.restart))
        last, self._last = self._last, None
        gap = last is not None and (row.missing or row.tick.restart or row.tick.index != last.tick.index + 1)
        if gap:
            self._end()
            last = None
        if row.missing:
            self._entry.drop(row.missing)
            return
        self._entry.take(row.tick.ages_s)
        self._look_at_depth(row.tick)
        task = self._forced_task or row.tick.task or self._default_task
        if task != self._task:
            if last is not None:
                self._end()
                at_s = (row.tick.stamp_ns - self._start_ns) * 1e-9
                self._entry.task_changes.append(f"to {task!r} from {self._task!r} after {at_s:.1f} s")
                last = None
            self._task = task
        if self._rest is None or (last is not None and self._has_moved(last, row)):
            self._motion(row)
        else:
            self._still(self._rest, row)
        self._last = row

    def end(self) -> None:
        """End the last span: no row comes any more, and encoders go on by themselves."""
        self._end()

    def finish(self) -> list[EpisodeData]:
        """End the last span, wait for the encoders and return the spans that were kept."""
        self._end()
        self._finish_ended()
        return self._done

    def abort(self) -> None:
        """Delete what was written of spans that are not finished."""
        for writer in (self._writer, self._ended):
            if writer is not None:
                writer.abort()
        self._writer = self._ended = None

    def _finish_ended(self) -> None:
        if self._ended is not None:
            self._done.append(self._ended.finish())
            self._ended = None

    def _look_at_depth(self, tick: Tick) -> None:
        """Note depth images that show nothing: a covered or switched off camera still sends them."""
        self._first_ns = tick.stamp_ns if self._first_ns is None else self._first_ns
        for name in self._depths:
            image = tick.arrays.get(name)
            if image is not None and image.min() == image.max():
                since_s = (tick.stamp_ns - self._first_ns) * 1e-9
                self._entry.blank.setdefault(name, Blank(first_s=since_s)).ticks += 1

    def _motion(self, row: Row) -> None:
        if self._rest is not None:
            for resting in self._rest.rows:
                self._take(resting)
            self._rest.rows.clear()
            self._rest.cut = False
        self._take(row)

    def _still(self, rest: _Rest, row: Row) -> None:
        rest.rows.append(row)
        if not rest.cut and len(rest.rows) > rest.longest:
            rest.cut = True
            if self._ticks:
                for resting in rest.rows[: rest.kept]:
                    self._take(resting)
                del rest.rows[: rest.kept]
            self._close()
        if rest.cut and len(rest.rows) > rest.kept:
            self._entry.idle += len(rest.rows) - rest.kept
            del rest.rows[: -rest.kept]

    def _end(self) -> None:
        if self._rest is not None:
            if self._rest.cut:
                self._entry.idle += len(self._rest.rows)
            else:
                for resting in self._rest.rows:
                    self._take(resting)
            self._rest.rows.clear()
            self._rest.cut = False
        self._close()

    def _take(self, row: Row) -> None:
        if not self._ticks:
            self._start_ns = row.tick.stamp_ns
        self._ticks += 1
        if self._writer is not None:
            self._write(self._writer, row)
            return
        self._held.append(row)
        if len(self._held) == self._minimum:
            stem = f"{self._stem}-{self._count:04d}"
            self._count += 1
            self._writer = EpisodeWriter(self._folder, stem, self._embodiment, self._task, coded=self._coded)
            for held in self._held:
                self._write(self._writer, held)
            self._held.clear()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.end()
            self._finish_ended()  # an encoder has much memory: no more than two spans have theirs
            self._ended = self._writer
            self._entry.kept += self._ticks
        else:
            self._entry.too_short += self._ticks
        if self._ticks:
            self._entry.spans.append(Span(self._start_ns, self._ticks, -1, self._task))
        self._writer, self._ticks = None, 0
        self._held.clear()

    def _write(self, writer: EpisodeWriter, row: Row) -> None:
        assert row.action is not None  # a row without missing streams has one
        writer.add(_tick_values(self._embodiment, row.tick, row.action))

    def _has_moved(self, before: Row, row: Row) -> bool:
        """Command or arm went faster than `STILL_RATIO` of a limit since the row before."""
        assert before.action is not None
        assert row.action is not None
        pairs = [(before.action, row.action)]
        if self._measured:
            measured = self._embodiment.space.states.control
            pairs.append((measured(before.tick.state), measured(row.tick.state)))
        return any(bool(self._embodiment.space.speeds(np.stack(pair))[0] >= STILL_RATIO) for pair in pairs)


def _tick_values(embodiment: Embodiment, tick: Tick, action: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return a valid tick and the command at it, by feature name."""
    values: dict[str, NDArray[Any]] = {ACTION: action}
    for modality, vector in tick.vectors.items():
        values[join_feature_name(modality)] = vector
    for name, array in tick.arrays.items():
        values[stream_feature(embodiment.stream(name).modality, name)] = array
    return values
