# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An episode of a bag to rows, in the order of log time or of the times that count."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from hpt_ros.dataset.conversion_report import EpisodeReport
from hpt_ros.embodiment import Embodiment
from hpt_ros.observation.image_size import image_size
from rosbag_tools.converting.options import Options
from rosbag_tools.converting.resample import Resampler, Row
from rosbag_tools.converting.timing import ClockCheck, in_order_of_time, without_offsets
from rosbag_tools.reading.episodes import Episode
from rosbag_tools.reading.reader import Bag, Message
from rosbag_tools.reading.set_back import SetBack


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
    entry.wrapped, entry.unfit = dict(resampler.wrapped), resampler.unfit
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
