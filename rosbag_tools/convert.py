"""Bags to a LeRobotDataset v3.0: checked first, converted bag by bag, appended in order.

Each bag is converted by itself, in this process or in a pool, to rows and encoded video segments; only the appending
is serial, so the result does not depend on the number of workers. Memory holds an episode's rows (a few numbers a
tick) and the few pictures that wait for their tick, whatever the bag's length.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpt_ros.embodiment import Embodiment, EmbodimentError, require_match
from hpt_ros.observation import DecodeError, decode_on_one_thread, stamp_ns
from hpt_ros.observation.track import seconds
from rosbag_tools.dataset import DatasetWriter, EpisodeData, EpisodeWriter
from rosbag_tools.episodes import Episode, find_episodes
from rosbag_tools.errors import BagError
from rosbag_tools.reader import Bag, Message, find_bags
from rosbag_tools.report import EpisodeReport, Report, Span
from rosbag_tools.resample import Resampler, Row

# Shorter stretches between gaps teach nothing: less than one chunk of actions of most robots.
MIN_SPAN_S = 1.0
# Stamps and log times further apart than this are of different clocks.
CLOCKS_APART_S = 60.0


@dataclass(frozen=True)
class Options:
    """What the caller may choose.

    Attributes:
        task: task text for every episode; empty to use what the recorder wrote, or the embodiment's.
        keep_failures: also convert episodes marked as failure.
        skip_bad: leave bags out that cannot be converted, and report them, instead of stopping.
        recover: use bags that were cut short as far as they go.
        workers: processes.
        overwrite: replace the dataset that is there.
    """

    task: str = ""
    keep_failures: bool = False
    skip_bad: bool = False
    recover: bool = False
    workers: int = 1
    overwrite: bool = False


@dataclass(frozen=True)
class Job:
    """One bag that passed the checks, with its episodes."""

    number: int
    path: Path
    embodiment: Embodiment
    episodes: tuple[Episode, ...]
    options: Options
    note: str  # what was lost, if the bag was recovered


@dataclass
class Converted:
    """What became of one bag."""

    reports: list[EpisodeReport] = field(default_factory=list)
    episodes: list[EpisodeData] = field(default_factory=list)


Progress = Callable[[str, int, int], None]


def convert(
    bags: Sequence[str | Path],
    out: str | Path,
    embodiment: Embodiment | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Report:
    """Convert bags to a dataset.

    Args:
        bags: bags, or folders of bags.
        out: the dataset's folder; it appears when all is done.
        embodiment: the robot; the one that the bags carry if None.
        options: see `Options`.
        progress: called with what is being done, how many bags are done, and how many there are.

    Raises:
        BagError: a bag is bad, bags are of different robots, or nothing is left to write.
        DatasetExistsError: `out` is there.
        EmbodimentError: a bag carries another embodiment; names the field and both values.
        DecodeError: messages do not fit the embodiment file.
    """
    chosen = options or Options()
    report = Report(minimum_span_ticks=0)
    say = progress or (lambda doing, done, total: None)
    jobs, robot = _check(find_bags(bags), embodiment, chosen, report, say)
    report.minimum_span_ticks = minimum_ticks(robot)
    with DatasetWriter(out, robot, overwrite=chosen.overwrite) as writer:
        for done, (job, outcome) in enumerate(_run(jobs, writer.segments, chosen.workers)):
            say(job.path.name, done, len(jobs))
            converted = _result(job, outcome, report)
            if converted is None:
                continue
            episodes = iter(converted.episodes)
            for entry in converted.reports:
                for index, span in enumerate(entry.spans):
                    if span.ticks >= report.minimum_span_ticks:
                        entry.spans[index] = replace(span, episode_index=writer.episodes)
                        writer.append(next(episodes))
            report.episodes += converted.reports
            if job.note:
                report.recovered_bags.append(job.note)
        say("writing", len(jobs), len(jobs))
        if not writer.episodes:
            raise BagError(_nothing_left(report))
        writer.finish(report.as_mapping())
    return report


def minimum_ticks(embodiment: Embodiment) -> int:
    """Ticks that a span must have to become an episode: `MIN_SPAN_S`, and at least two."""
    return max(2, math.ceil(MIN_SPAN_S * embodiment.tick_hz))


def convert_bag(job: Job, folder: Path) -> Converted:
    """Convert one bag; video segments go into `folder`.

    Raises:
        BagError, DecodeError: the bag's data is bad.
    """
    decode_on_one_thread()  # bags are converted side by side
    result = Converted()
    with Bag.open(job.path, recover=job.options.recover) as bag:
        for number, episode in enumerate(job.episodes):
            task = job.options.task or episode.task or job.embodiment.task
            entry = EpisodeReport(str(job.path), episode.episode_id, task, episode.operator, episode.outcome)
            entry.left_out = episode.left_out(keep_failures=job.options.keep_failures)
            result.reports.append(entry)
            if not entry.left_out:
                spans = _Spans(folder, f"{job.number:06d}-{number:04d}", job.embodiment, task, entry)
                for row in _rows(bag, job.embodiment, episode, entry):
                    spans.add(row)
                result.episodes += spans.finish()
    return result


def _rows(bag: Bag, embodiment: Embodiment, episode: Episode, entry: EpisodeReport) -> Iterator[Row]:
    resampler = Resampler(embodiment)
    messages = bag.messages(resampler.topics, start_ns=episode.start_ns, stop_ns=episode.end_ns + 1)
    unseen = set(resampler.topics)
    for message in messages:
        if message.topic in unseen:
            unseen.discard(message.topic)
            _check_clock(bag, message)
        yield from resampler.push(message.topic, message.content, message.log_ns)
    yield from resampler.finish()
    entry.refused = dict(resampler.refused)


def _check_clock(bag: Bag, message: Message) -> None:
    apart_s = seconds(stamp_ns(message.content, message.log_ns) - message.log_ns)
    if abs(apart_s) > CLOCKS_APART_S:
        raise BagError(
            f"bag {str(bag.path)!r} has a message on {message.topic!r} whose stamp is {apart_s:.0f} s away from its "
            f"log time, but {CLOCKS_APART_S:.0f} s at most were expected; record with the clock of the stamps "
            "(use_sim_time in a simulation)"
        )


class _Spans:
    """Cuts an episode's rows into spans of consecutive whole ticks, and writes those that are long enough.

    A span's first ticks wait in memory until it has the minimum, so that a gappy bag costs no encoder per gap.
    """

    def __init__(
        self, folder: Path, stem: str, embodiment: Embodiment, task: str, entry: EpisodeReport
    ) -> None:
        self._folder, self._stem, self._embodiment, self._task = folder, stem, embodiment, task
        self._entry = entry
        self._minimum = minimum_ticks(embodiment)
        self._held: list[Row] = []
        self._writer: EpisodeWriter | None = None
        self._ticks = 0
        self._start_ns = 0
        self._last_index = 0
        self._done: list[EpisodeData] = []

    def add(self, row: Row) -> None:
        """Take the next row."""
        self._entry.ticks += 1
        if row.tick.restart:
            self._entry.restarts.append(row.tick.restart)
        if self._ticks and (row.missing or row.tick.restart or row.tick.index != self._last_index + 1):
            self._end()
        if row.missing:
            self._entry.drop(row.missing)
            return
        if not self._ticks:
            self._start_ns = row.tick.stamp_ns
        self._ticks += 1
        self._last_index = row.tick.index
        if self._writer is not None:
            _write(self._writer, row)
            return
        self._held.append(row)
        if len(self._held) == self._minimum:
            stem = f"{self._stem}-{len(self._done):04d}"
            self._writer = EpisodeWriter(self._folder, stem, self._embodiment, self._task)
            for held in self._held:
                _write(self._writer, held)
            self._held.clear()

    def finish(self) -> list[EpisodeData]:
        """End the last span and return those that were kept."""
        self._end()
        return self._done

    def _end(self) -> None:
        if self._writer is not None:
            self._done.append(self._writer.finish())
            self._entry.kept += self._ticks
        else:
            self._entry.too_short += self._ticks
        if self._ticks:
            self._entry.spans.append(Span(self._start_ns, self._ticks, -1))
        self._writer, self._ticks = None, 0
        self._held.clear()


def _write(writer: EpisodeWriter, row: Row) -> None:
    assert row.action is not None  # a row without missing streams has one
    writer.add(row.tick.images, row.tick.state, row.action)


def _check(
    paths: Sequence[Path], given: Embodiment | None, options: Options, report: Report, say: Progress
) -> tuple[list[Job], Embodiment]:
    """Open every bag before anything is written: is all there that the conversion needs?"""
    jobs: list[Job] = []
    robot = given
    robot_of = "the embodiment file"
    for number, path in enumerate(paths):
        say(f"checking {path.name}", number, len(paths))
        try:
            with Bag.open(path, recover=options.recover) as bag:
                text = bag.embodiment_text()
                carried = (
                    Embodiment.loads(text, where=f"the embodiment in bag {str(path)!r}") if text else None
                )
                if robot is None:
                    if carried is None:
                        raise BagError(f"bag {str(path)!r} carries no embodiment; pass --embodiment FILE")
                    robot, robot_of = carried, f"bag {str(path)!r}"
                elif carried is not None:
                    require_match(carried, robot, a_name=f"bag {str(path)!r}", b_name=robot_of, settled="bag")
                require_topics(bag, robot)
                jobs.append(Job(number, path, robot, tuple(find_episodes(bag)), options, bag.recovered))
        except (BagError, EmbodimentError) as error:
            if not options.skip_bad:
                raise
            report.skipped_bags[str(path)] = str(error)
    if robot is None or not jobs:
        first = next(iter(report.skipped_bags.values()), "")
        raise BagError(f"none of the {len(paths)} bags can be converted; the first: {first}")
    return jobs, robot


def require_topics(bag: Bag, embodiment: Embodiment) -> None:
    """Raise BagError unless the bag has every topic that a conversion needs."""
    for stream in embodiment.streams:
        bag.require(stream.topic, stream.type, f"stream {stream.name!r}")
    bag.require(embodiment.action.topic, embodiment.action.type, "the action")


def _run(jobs: Sequence[Job], folder: Path, workers: int) -> Iterator[tuple[Job, Callable[[], Converted]]]:
    """Each job and how to get its result, in the order of the jobs."""
    if workers <= 1 or len(jobs) == 1:
        for job in jobs:
            yield job, lambda job=job: convert_bag(job, folder)  # type: ignore[misc]
        return
    # Spawned, not forked: the parent may have threads of OpenCV and FFmpeg.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        futures: list[Future[Converted]] = [pool.submit(convert_bag, job, folder) for job in jobs]
        try:
            for job, future in zip(jobs, futures, strict=True):
                yield job, future.result
        finally:
            for future in futures:
                future.cancel()


def _result(job: Job, outcome: Callable[[], Converted], report: Report) -> Converted | None:
    try:
        return outcome()
    except (BagError, DecodeError) as error:
        if not job.options.skip_bad:
            if isinstance(error, DecodeError):
                raise BagError(f"bag {str(job.path)!r}: {error}") from error
            raise
        report.skipped_bags[str(job.path)] = str(error)
        return None


def _nothing_left(report: Report) -> str:
    parts = [f"{count} episodes left out as {reason}" for reason, count in report.left_out().items()]
    parts += report.reasons()
    parts += [f"skipped {path}: {reason}" for path, reason in report.skipped_bags.items()]
    if too_short := sum(episode.too_short for episode in report.episodes):
        parts.append(f"{too_short} ticks in spans of fewer than {report.minimum_span_ticks}")
    why = "; ".join(parts)[:1500] or "there are no ticks"
    return (
        f"no episode is left to write ({why}); correct the recording or the tolerances in the embodiment file"
    )
