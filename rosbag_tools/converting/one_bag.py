# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One bag to rows and encoded video segments; its encoders may be at work while the next bag is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hpt_ros.dataset.conversion_report import EpisodeReport
from hpt_ros.observation import decode_on_one_thread
from hpt_ros.observation.track import seconds
from rosbag_tools.converting.checking import Job
from rosbag_tools.converting.memory import reuse_freed_memory
from rosbag_tools.converting.progress import report_done
from rosbag_tools.converting.resample import next_positions
from rosbag_tools.converting.resume import Converted
from rosbag_tools.converting.rows import rows_of
from rosbag_tools.converting.segmentation import Spans
from rosbag_tools.reading.reader import Bag


def convert_bag(job: Job, folder: Path) -> Converted:
    """Convert one bag; video segments go into `folder`.

    Raises:
        BagError, DecodeError: the bag's data is bad.
    """
    return begin_bag(job, folder).finish()


@dataclass
class Begun:
    """A bag that has been read, of whose last span the encoders may still be at work."""

    converted: Converted = field(default_factory=Converted)
    spans: Spans | None = None

    def finish(self) -> Converted:
        """Wait for the encoders; raises what encoding raised."""
        if self.spans is not None:
            try:
                self.converted.episodes += self.spans.finish()
            except BaseException:
                self.abort()
                raise
            self.spans = None
        return self.converted

    def abort(self) -> None:
        """Stop the encoders and delete what they wrote."""
        if self.spans is not None:
            self.spans.abort()


def begin_bag(job: Job, folder: Path) -> Begun:
    """Read one bag and hand its images to encoders.

    Raises:
        BagError, DecodeError: the bag's data is bad.
    """
    decode_on_one_thread()  # bags are converted side by side
    reuse_freed_memory()
    begun = Begun()
    try:
        with Bag.open(job.path, recover=job.options.recover, beside=job.options.beside) as bag:
            _read(bag, job, folder, begun)
    except BaseException:
        begun.abort()
        raise
    return begun


def _read(bag: Bag, job: Job, folder: Path, begun: Begun) -> None:
    earlier_s = 0.0
    for number, episode in enumerate(job.episodes):
        options = job.options
        task = options.task or episode.task or job.embodiment.task
        entry = EpisodeReport(
            str(job.path), job.identity, episode.episode_id, task, episode.operator, episode.outcome
        )
        left_out = episode.left_out(keep_failures=options.keep_failures)
        entry.left_out = None if left_out is None else left_out.value
        begun.converted.reports.append(entry)
        if not entry.left_out:
            stem = f"{job.number:06d}-{number:04d}"
            begun.finish()
            begun.spans = spans = Spans(
                folder, stem, job.embodiment, entry,
                task=task, forced_task=options.task, longest_rest_s=options.longest_rest_s,
                coded=options.depth == "video",
            )  # fmt: skip
            rows = rows_of(bag, job.embodiment, episode, entry, options)
            if options.action_source == "state":
                rows = next_positions(job.embodiment, rows)
            for row in rows:
                spans.add(row)
                report_done(job.number, earlier_s + seconds(row.tick.stamp_ns - episode.start_ns))
            spans.end()
        earlier_s += seconds(episode.end_ns - episode.start_ns)
