# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags to a LeRobotDataset v3.0: checked first, converted bag by bag, appended in order.

Each bag is converted by itself, in this process or in a pool, to rows and encoded video segments; only the appending
is serial, so the result does not depend on the number of workers. Memory holds an episode's rows (a few numbers a
tick) and the few pictures that wait for their tick, whatever the bag's length.
"""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hpt_ros.dataset import DatasetWriter
from hpt_ros.dataset.append import ExistingDataset, open_existing
from hpt_ros.dataset.conversion_report import Report
from hpt_ros.dataset.selection import check_known
from hpt_ros.dataset.writer import check_place
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError, counted
from hpt_ros.observation import DecodeError
from rosbag_tools.converting.checking import Job, check_bags
from rosbag_tools.converting.one_bag import Begun, begin_bag, convert_bag
from rosbag_tools.converting.options import Options
from rosbag_tools.converting.process_pool import run_in_processes
from rosbag_tools.converting.progress import Progress, Watch, share_progress
from rosbag_tools.converting.ray_pool import run_on_ray
from rosbag_tools.converting.resume import Converted, convert_once, find_resume_folder, key_of
from rosbag_tools.converting.segmentation import minimum_ticks
from rosbag_tools.errors import BagError
from rosbag_tools.reading.finding import find_bags

__all__ = ["NO_EPISODE", "Options", "convert", "convert_bag", "convert_or_take"]

NO_EPISODE = "no episode"


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
        progress: called with what is being done, something about it, how much is done, and how much there is: bags
            while they are checked, then seconds of recording. Also from another thread.

    Raises:
        BagError: a bag is bad, bags are of different robots, or nothing is left to write.
        DatasetExistsError: `out` is there.
        EmbodimentError: a bag carries another embodiment; names the field and both values.
        DecodeError: messages do not fit the embodiment file.
    """
    chosen = options or Options()
    rest_s = chosen.longest_rest_s
    leader_topic = chosen.leader.topic if chosen.leader else ""
    report = Report(
        0, chosen.action_source, rest_s if math.isfinite(rest_s) else 0.0, leader_topic,
        ignored_arrival=chosen.timing.ignore_arrival, measured=sorted(chosen.measured),
    )  # fmt: skip
    say = progress or (lambda *words: None)
    if not chosen.append:
        check_place(out, overwrite=chosen.overwrite)
    paths = find_bags(bags, report.passed_over.append)
    if chosen.beside and len(paths) != 1:
        raise BagError(
            Code.CONFLICT, "--together", len(paths),
            problem="is of one session, but {value} bags were given to convert",
            remedy="give one, and the others of its session with --together",
        )  # fmt: skip
    existing = open_existing(Path(out)) if chosen.append and Path(out).exists() else None
    if existing is not None:
        _check_source(existing, chosen)
        chosen = replace(chosen, depth=_depth_of(existing, chosen))
    jobs, robot = check_bags(paths, embodiment, chosen, report, say, existing)
    if chosen.resume:
        jobs = [replace(job, kept=find_resume_folder(Path(out)) / _key(job)) for job in jobs]
    if existing is not None:
        existing = open_existing(Path(out), robot)
    report.minimum_span_ticks = minimum_ticks(robot)
    with DatasetWriter(
        out, robot, overwrite=chosen.overwrite, existing=existing, coded=chosen.depth == "video"
    ) as writer:
        before, met = writer.episodes, 0
        watch = Watch({job.number: job.length_s for job in jobs}, say)
        with watch.looking(), contextlib.closing(_run(jobs, writer.segments, chosen, watch)) as running:
            for job, outcome in running:
                if (converted := _result(job, outcome, report)) is not None:
                    met = _append(writer, job, converted, report, met)
                watch.count_finished()
        say("writing", "", 1, 1)
        if chosen.episodes is not None and met:
            check_known(chosen.episodes, range(met), "the conversion of these bags")
        if writer.episodes == before:
            raise _nothing_left(report)
        writer.finish(report.as_mapping())
    if chosen.resume:
        shutil.rmtree(find_resume_folder(Path(out)), ignore_errors=True)
    return report


def _append(writer: DatasetWriter, job: Job, converted: Converted, report: Report, met: int) -> int:
    """Add what became of one bag; return how many episodes were met so far, those that are not wanted included."""
    episodes = iter(converted.episodes)
    wanted = job.options.episodes
    for entry in converted.reports:
        for index, span in enumerate(entry.spans):
            if span.ticks >= report.minimum_span_ticks:
                data = next(episodes)
                if wanted is None or met in wanted:
                    entry.spans[index] = replace(span, episode_index=writer.episodes)
                    writer.append(data)
                else:
                    data.discard()
                    entry.kept -= span.ticks
                met += 1
    report.episodes += converted.reports
    if job.note:
        report.recovered_bags.append(job.note)
    return met


def _check_source(existing: ExistingDataset, options: Options) -> None:
    source = existing.report.text("action_source") if "action_source" in existing.report else "command"
    if source != options.action_source:
        raise BagError(
            Code.MISMATCH, f"dataset {str(existing.folder)!r}", source,
            problem=f"has actions of the source {{value}}, but {options.action_source!r} was asked for",
            remedy=f"add --actions {source}, or convert all bags again",
        )  # fmt: skip


def _depth_of(existing: ExistingDataset, options: Options) -> str | None:
    """Return how depth is stored in a dataset that is appended to; None leaves it open."""
    if None in (existing.depth, options.depth):
        return existing.depth or options.depth
    if options.depth != existing.depth:
        raise BagError(
            Code.MISMATCH, f"dataset {str(existing.folder)!r}", existing.depth,
            problem=f"stores depth as {{value}}, but {options.depth!r} was asked for",
            remedy="leave --depth out, or convert all bags again",
        )  # fmt: skip
    return existing.depth


def convert_or_take(job: Job, folder: Path) -> Converted:
    """Convert one bag into `folder`, or take what an interrupted run made of it."""
    if job.kept is None:
        return convert_bag(job, folder)
    return convert_once(job.kept, folder, functools.partial(convert_bag, job))


def _key(job: Job) -> str:
    """What a bag's result depends on."""
    options = job.options
    chosen = (
        options.task, options.keep_failures, options.recover, options.action_source, options.leader,
        options.longest_rest_s, options.namespace, options.timing.ignore_arrival,
        sorted(options.measured), options.depth == "video",
    )  # fmt: skip
    others = [key_of(Path(path)) for path in options.beside]
    return key_of(job.path, repr(chosen), job.embodiment.to_yaml(), *others)


def _run(
    jobs: Sequence[Job], folder: Path, options: Options, watch: Watch
) -> Generator[tuple[Job, Callable[[], Converted]], None, None]:
    """Each job and how to get its result, in the order of the jobs."""
    work = functools.partial(convert_or_take, folder=folder.resolve())
    if (options.workers <= 1 or len(jobs) == 1) and not (options.ray or options.resume):
        yield from _run_here(jobs, folder.resolve())
        return
    if options.ray:
        yield from run_on_ray(work, jobs, options.ray)
        return
    prepare = functools.partial(share_progress, watch.done_s)
    yield from run_in_processes(work, jobs, options.workers, prepare)


def _run_here(jobs: Sequence[Job], folder: Path) -> Iterator[tuple[Job, Callable[[], Converted]]]:
    """The same in this process: encoders have the last images of a bag while the next one is read already."""
    before: tuple[Job, Begun | HptError] | None = None
    try:
        for job in jobs:
            begun: Begun | HptError
            try:
                begun = begin_bag(job, folder)
            except HptError as error:  # when its turn has come
                begun = error
            if before is not None:
                yield before[0], functools.partial(_finish, before[1])
            before = job, begun
        if before is not None:
            last, before = before, None
            yield last[0], functools.partial(_finish, last[1])
    finally:
        if before is not None and isinstance(before[1], Begun):
            before[1].abort()


def _finish(begun: Begun | HptError) -> Converted:
    if isinstance(begun, HptError):
        raise begun
    return begun.finish()


def _result(job: Job, outcome: Callable[[], Converted], report: Report) -> Converted | None:
    try:
        return outcome()
    except HptError as error:
        if not job.options.skip_bad:
            if isinstance(error, DecodeError):
                raise BagError.of(error.refusal.within(f"bag {str(job.path)!r}")) from error
            raise
        report.skipped_bags[str(job.path)] = str(error)
        return None


def _nothing_left(report: Report) -> BagError:
    parts = [
        f"{counted(count, 'episode')} left out as {reason}" for reason, count in report.left_out().items()
    ]
    parts += report.reasons()
    parts += report.clock_notes()
    parts += [f"skipped {path}: {reason}" for path, reason in report.skipped_bags.items()]
    if idle := sum(episode.idle for episode in report.episodes):
        parts.append(f"{idle} ticks of rests that were cut out")
    if too_short := sum(episode.too_short for episode in report.episodes):
        parts.append(f"{too_short} ticks in spans of fewer than {report.minimum_span_ticks}")
    why = "; ".join(parts)[:1500]
    if report.episodes and not report.ticks and not any(episode.left_out for episode in report.episodes):
        # Ticks come with time that passes: all log times are one, or nearly.
        return BagError(
            Code.EMPTY, NO_EPISODE, problem="is left to write (there are no ticks: hardly any log time passes)",
            remedy="if the stamps are right, pass --ignore-arrival to go by them alone",
        )  # fmt: skip
    refused = {name for entry in report.episodes for name in entry.dropped if name in entry.refused}
    if refused:
        names = ", ".join(map(repr, sorted(refused)))
        remedy = (
            f"correct what publishes {names}, whose messages were refused, or take another topic for it in the "
            "embodiment file"
        )
    elif report.ignored_arrival or not report.reasons():
        remedy = "correct the recording or the tolerances in the embodiment file"
    else:
        remedy = (
            "if samples came late but are stamped right, pass --ignore-arrival; else correct the recording or the "
            "tolerances in the embodiment file"
        )
    return BagError(Code.EMPTY, NO_EPISODE, why, problem=f"is left to write ({why})", remedy=remedy)
