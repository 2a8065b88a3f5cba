# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags to a LeRobotDataset v3.0: checked first, converted bag by bag, appended in order.

Each bag is converted by itself, in this process or in a pool, to rows and encoded video segments; only the appending
is serial, so the result does not depend on the number of workers. Memory holds an episode's rows (a few numbers a
tick) and the few pictures that wait for their tick, whatever the bag's length.
"""

from __future__ import annotations

import functools
import math
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpt_ros.dataset import DatasetWriter
from hpt_ros.dataset.append import ExistingDataset, open_existing
from hpt_ros.dataset.conversion_report import ACTION_SOURCES, EpisodeReport, Report
from hpt_ros.dataset.depth_codes import DEPTH_STORAGE
from hpt_ros.dataset.selection import check_known
from hpt_ros.dataset.writer import check_place
from hpt_ros.embodiment import Deployment, Embodiment, require_match
from hpt_ros.errors import Code, HptError, counted
from hpt_ros.observation import DecodeError, decode_on_one_thread
from hpt_ros.observation.image_size import image_size
from hpt_ros.observation.track import seconds
from rosbag_tools.converting.leader_arm import LEADER_TYPE, Leader
from rosbag_tools.converting.memory import reuse_freed_memory
from rosbag_tools.converting.process_pool import run_in_processes
from rosbag_tools.converting.progress import Progress, Watch, report_done, share_progress
from rosbag_tools.converting.ray_pool import run_on_ray
from rosbag_tools.converting.resample import Resampler, Row, measuring_stream, next_positions
from rosbag_tools.converting.resume import Converted, converted_once, kept_folder, key_of
from rosbag_tools.converting.segmentation import REST_KEPT_S, Spans, minimum_ticks
from rosbag_tools.converting.timing import ClockCheck, Timing, in_order_of_time, without_offsets
from rosbag_tools.converting.topic_names import named_in
from rosbag_tools.errors import BagError
from rosbag_tools.reading.episodes import Episode, find_episodes
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.reader import Bag, Message
from rosbag_tools.reading.set_back import SetBack

NO_EPISODE = "no episode"


@dataclass(frozen=True)
class Options:
    """What the caller may choose.

    Attributes:
        task: task text for every episode; empty to use what the language stream says, else what the recorder wrote,
            else the embodiment's.
        keep_failures: also convert episodes marked as failure.
        skip_bad: leave bags out that cannot be converted, and report them, instead of stopping.
        recover: use bags that were cut short as far as they go.
        workers: processes on this machine.
        ray: address of a Ray cluster to convert on instead, see `rosbag_tools.converting.ray_pool`; empty for none.
        resume: keep finished bags beside the dataset's place until it is whole, and use those that are there.
        overwrite: replace the dataset that is there.
        append: add to the dataset that is there, if there is one, what it does not have yet.
        action_source: what the actions are, see `ACTION_SOURCES`.
        leader: the leader arm, for that source.
        measured: outputs whose actions are the next measured positions, beside commands of the others.
        longest_rest_s: rests longer than this are cut out, and split the episode; infinite to keep all.
        namespace: that the embodiment's relative topics lie in; None finds it in each bag.
        deployment: of the cell, for bags that do not carry it.
        beside: bags of the same session as the one that is converted, such as of cameras and arm.
        episodes: numbers of those to keep, as they come without it; None for all.
        timing: what says when messages were measured, where it is not what the embodiment file states.
        depth: how depth is stored, one of `DEPTH_STORAGE`; None: as the dataset that is appended to, else the first.
    """

    task: str = ""
    keep_failures: bool = False
    skip_bad: bool = False
    recover: bool = False
    workers: int = 1
    ray: str = ""
    resume: bool = False
    overwrite: bool = False
    append: bool = False
    action_source: str = "command"
    leader: Leader | None = None
    measured: frozenset[str] = frozenset()
    longest_rest_s: float = math.inf
    namespace: str | None = None
    deployment: Deployment | None = None
    beside: tuple[str, ...] = ()
    episodes: tuple[int, ...] | None = None
    timing: Timing = field(default_factory=Timing)
    depth: str | None = None

    @property
    def optional(self) -> frozenset[str]:
        """Modalities that a bag need not have."""
        return frozenset({"language"}) if self.task else frozenset()

    def __post_init__(self) -> None:
        if self.overwrite and self.append:
            raise BagError(
                Code.CONFLICT, "a dataset", problem="cannot be both replaced and appended to",
                remedy="leave --overwrite or --append out",
            )  # fmt: skip
        if self.depth is not None and self.depth not in DEPTH_STORAGE:
            raise BagError(
                Code.UNKNOWN, "depth", self.depth, problem="is to be stored as {value}", known=DEPTH_STORAGE
            )
        if self.action_source not in ACTION_SOURCES:
            raise BagError(Code.UNKNOWN, "the action source", self.action_source, known=ACTION_SOURCES)
        if self.leader is None and self.action_source == "leader":
            raise BagError(
                Code.MISSING, "the action source", self.action_source,
                problem="is {value} without a leader arm's topic", remedy="name it with --leader-topic",
            )  # fmt: skip
        if self.leader is not None and self.action_source != "leader":
            raise BagError(
                Code.CONFLICT, "the action source", self.action_source,
                problem=f"is {{value}} but a leader arm on {self.leader.topic!r} was named",
                remedy="take --actions leader",
            )  # fmt: skip
        if self.measured and self.action_source != "command":
            raise BagError(
                Code.CONFLICT, "--measured", sorted(self.measured),
                problem=f"names {', '.join(sorted(self.measured))}, but the action source is {self.action_source!r}",
                remedy="leave --measured out, or take --actions command",
            )  # fmt: skip
        if not self.longest_rest_s >= 2 * REST_KEPT_S:
            raise BagError(
                Code.OUT_OF_RANGE, "the longest rest", self.longest_rest_s, problem="is {value} s",
                expected=f"at least {2 * REST_KEPT_S:g} s, of which half stays on either side", remedy="raise it",
            )  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One bag that passed the checks, with its episodes."""

    number: int
    path: Path
    embodiment: Embodiment
    episodes: tuple[Episode, ...]
    options: Options
    note: str  # what was lost, if the bag was recovered
    identity: str  # of the bag, by what is in it
    kept: Path | None = None  # where the result is kept, with `Options.resume`

    @property
    def length_s(self) -> float:
        """Seconds of recording in its episodes."""
        return sum(seconds(episode.end_ns - episode.start_ns) for episode in self.episodes)


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
        jobs = [replace(job, kept=kept_folder(Path(out)) / _key(job)) for job in jobs]
    if existing is not None:
        existing = open_existing(Path(out), robot)
    report.minimum_span_ticks = minimum_ticks(robot)
    with DatasetWriter(
        out, robot, overwrite=chosen.overwrite, existing=existing, coded=chosen.depth == "video"
    ) as writer:
        before, met = writer.episodes, 0
        watch = Watch({job.number: job.length_s for job in jobs}, say)
        with watch.looking():
            for job, outcome in _run(jobs, writer.segments, chosen, watch):
                if (converted := _result(job, outcome, report)) is not None:
                    met = _append(writer, job, converted, report, met)
                watch.finished_one()
        say("writing", "", 1, 1)
        if chosen.episodes is not None and met:
            check_known(chosen.episodes, range(met), "the conversion of these bags")
        if writer.episodes == before:
            raise _nothing_left(report)
        writer.finish(report.as_mapping())
    if chosen.resume:
        shutil.rmtree(kept_folder(Path(out)), ignore_errors=True)
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
    return converted_once(job.kept, folder, functools.partial(convert_bag, job))


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


def convert_bag(job: Job, folder: Path) -> Converted:
    """Convert one bag; video segments go into `folder`.

    Raises:
        BagError, DecodeError: the bag's data is bad.
    """
    decode_on_one_thread()  # bags are converted side by side
    reuse_freed_memory()
    result = Converted()
    earlier_s = 0.0
    with Bag.open(job.path, recover=job.options.recover, beside=job.options.beside) as bag:
        for number, episode in enumerate(job.episodes):
            options = job.options
            task = options.task or episode.task or job.embodiment.task
            entry = EpisodeReport(
                str(job.path), job.identity, episode.episode_id, task, episode.operator, episode.outcome
            )
            entry.left_out = episode.left_out(keep_failures=options.keep_failures)
            result.reports.append(entry)
            if not entry.left_out:
                stem = f"{job.number:06d}-{number:04d}"
                spans = Spans(
                    folder, stem, job.embodiment, entry,
                    task=task, forced_task=options.task, longest_rest_s=options.longest_rest_s,
                    coded=options.depth == "video",
                )  # fmt: skip
                rows = rows_of(bag, job.embodiment, episode, entry, options)
                if options.action_source == "state":
                    rows = next_positions(job.embodiment, rows)
                try:
                    for row in rows:
                        spans.add(row)
                        report_done(job.number, earlier_s + seconds(row.tick.stamp_ns - episode.start_ns))
                    result.episodes += spans.finish()
                except BaseException:
                    spans.abort()
                    raise
            earlier_s += seconds(episode.end_ns - episode.start_ns)
    return result


def rows_of(
    bag: Bag, embodiment: Embodiment, episode: Episode, entry: EpisodeReport, options: Options
) -> Iterator[Row]:
    """Yield the rows of an episode; what was noticed on the way goes into `entry`."""
    leader = options.leader
    # The leader's positions are taken for the commands that they stood for.
    source = "command" if leader is not None else options.action_source
    pushed = without_offsets(embodiment) if options.timing.ignore_arrival else embodiment
    resampler = Resampler(pushed, source, options.optional, options.measured)
    command = embodiment.action.topic
    topics = [leader.topic if leader and topic == command else topic for topic in resampler.topics]
    for stream in (item for item in embodiment.streams if item.kind.holds):
        # Sent once, before the episode began.
        earlier = deque(bag.messages([stream.topic], stop_ns=episode.start_ns), maxlen=1)
        for said in earlier:
            yield from resampler.push(said.topic, said.content, episode.start_ns)
    static = [stream.static_topic for stream in embodiment.streams if stream.frame]
    for said in bag.messages(dict.fromkeys(static), stop_ns=episode.start_ns):
        yield from resampler.push(said.topic, said.content, episode.start_ns)
    topics = list(dict.fromkeys(topics))
    set_backs = bag.set_backs()
    entry.set_back = [item.sentence(bag.start_ns) for item in set_backs]
    span = (episode.start_ns, episode.end_ns + 1)
    clocks: ClockCheck | None = None
    found: Iterator[Message | None]
    if options.timing.ignore_arrival:
        found = in_order_of_time(bag, embodiment, topics, *span)
    else:
        clocks = ClockCheck(str(bag.path), embodiment)
        found = _cut(bag.messages(topics, start_ns=span[0], stop_ns=span[1]), set_backs)
    unseen = set(topics)
    for message in found:
        if message is None:
            yield from resampler.restart("the clock was set back while the bag was recorded")
            continue
        if clocks is not None and not clocks.take(message, topics):
            continue
        if message.topic in unseen:
            unseen.discard(message.topic)
            for stream in embodiment.image_streams:
                if stream.topic == message.topic and (size := image_size(message.content)) is not None:
                    entry.image_sizes[stream.name] = list(size)
        yield from resampler.push(message.topic, message.content, message.log_ns)
        if leader is not None and message.topic == leader.topic:
            standing_for = leader.command(embodiment, message.content)
            yield from resampler.push(command, standing_for, message.log_ns)
    yield from resampler.finish()
    entry.refused, entry.resized = dict(resampler.refused), dict(resampler.resized)
    entry.wrapped = dict(resampler.wrapped)
    if clocks is not None:
        entry.clocks = clocks.notes()


def _cut(messages: Iterable[Message], set_backs: Sequence[SetBack]) -> Iterator[Message | None]:
    """Leave out what a bag has twice by its log times; None where something is left out, once."""
    waiting, cut = deque(set_backs), False
    for message in messages:
        while waiting and message.log_ns > waiting[0].end_ns:
            waiting.popleft()
        if waiting and message.log_ns >= waiting[0].start_ns:
            cut = True
            continue
        if cut:
            cut = False
            yield None
        yield message


def check_bags(
    paths: Sequence[Path],
    given: Embodiment | None,
    options: Options,
    report: Report,
    say: Progress,
    existing: ExistingDataset | None,
) -> tuple[list[Job], Embodiment]:
    """Open every bag before anything is written: is all there that the conversion needs, and is it there once?"""
    jobs: list[Job] = []
    known: set[str] = set()  # texts that match: the bags of one robot carry the same
    met: dict[str, Path] = {}
    in_dataset = 0
    robot = given
    robot_of = "the embodiment file"
    for number, path in enumerate(paths):
        say("checking", path.name, number, len(paths))
        try:
            with Bag.open(path, recover=options.recover, beside=options.beside) as bag:
                identity = bag.identity()
                if existing is not None and existing.has(path, identity):
                    in_dataset += 1
                    continue
                if (same := met.setdefault(identity, path)) != path:
                    report.passed_over.append(f"{str(path)!r} is a copy of {str(same)!r}, and counts once")
                    continue
                text = bag.embodiment_text()
                if text and text not in known:
                    carried = Embodiment.loads(text, where=f"the embodiment in bag {str(path)!r}")
                    if robot is None:
                        robot, robot_of = carried, f"bag {str(path)!r}"
                    require_match(carried, robot, a_name=f"bag {str(path)!r}", b_name=robot_of, settled="bag")
                    known.add(text)
                if robot is None:
                    raise BagError(
                        Code.MISSING, f"bag {str(path)!r}", problem="carries no embodiment",
                        remedy="pass --embodiment FILE",
                    )  # fmt: skip
                named = options.timing.over(named_in(bag, robot, options.namespace, options.deployment))
                require_topics(bag, named, options)
                if options.action_source == "state":
                    robot.space.states.require_positions()  # raises, naming what is not observed
                jobs.append(
                    Job(number, path, named, tuple(find_episodes(bag)), options, bag.recovered, identity)
                )
        except HptError as error:
            if not options.skip_bad:
                raise
            report.skipped_bags[str(path)] = str(error)
    if existing is not None and in_dataset and not jobs and not report.skipped_bags:
        raise BagError(
            Code.EXISTS, f"all {in_dataset} bags" if in_dataset > 1 else "the bag", in_dataset,
            problem=f"{'are' if in_dataset > 1 else 'is'} in the dataset {str(existing.folder)!r} already",
            remedy="name others, or convert with --overwrite",
        )  # fmt: skip
    if robot is None or not jobs:
        first = next(iter(report.skipped_bags.values()), "")
        which = "none of the bags" if len(paths) == 1 else f"none of the {len(paths)} bags"
        raise BagError(
            Code.EMPTY, which, first, problem=f"can be converted{': the first' * (len(paths) > 1)}: {first}"
        )
    return jobs, robot


def require_topics(bag: Bag, embodiment: Embodiment, options: Options) -> None:
    """Raise BagError unless the bag has every topic that a conversion needs."""
    for stream in embodiment.streams:
        if stream.modality not in options.optional:
            bag.require(stream.topic, stream.type, f"stream {stream.name!r}")
    if options.leader is not None:
        options.leader.check(embodiment)
        bag.require(options.leader.topic, LEADER_TYPE, "the leader arm")
    if options.action_source == "command":
        names = [output.name for output in embodiment.action.parts]
        for name in sorted(options.measured):
            if name not in names:
                raise BagError(
                    Code.UNKNOWN, "--measured", name, problem="names the output {value}", known=names
                )
        for output in embodiment.action.parts:
            if output.name in options.measured:
                measuring_stream(embodiment, output)
                continue
            what = f"the command {output.name!r}" if embodiment.action.outputs else "the action"
            without = "convert with --actions state if it was led by hand"
            bag.require(output.recorded_as.topic, output.recorded_as.type, what, without)


def _run(
    jobs: Sequence[Job], folder: Path, options: Options, watch: Watch
) -> Iterator[tuple[Job, Callable[[], Converted]]]:
    """Each job and how to get its result, in the order of the jobs."""
    work = functools.partial(convert_or_take, folder=folder.resolve())
    if options.ray:
        yield from run_on_ray(work, jobs, options.ray)
        return
    prepare = functools.partial(share_progress, watch.done_s)
    yield from run_in_processes(work, jobs, options.workers, prepare)


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
    if report.ignored_arrival or not report.reasons():
        remedy = "correct the recording or the tolerances in the embodiment file"
    else:
        remedy = (
            "if samples came late but are stamped right, pass --ignore-arrival; else correct the recording or the "
            "tolerances in the embodiment file"
        )
    return BagError(Code.EMPTY, NO_EPISODE, why, problem=f"is left to write ({why})", remedy=remedy)
