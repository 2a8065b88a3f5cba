# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a conversion did with each episode: ``meta/hpt/report.json``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpt_ros.dataset.layout import REPORT
from hpt_ros.dataset.tables import Record, read_json
from hpt_ros.errors import Refusal, format_count

# What an action of the dataset is: the command at its tick, the measured position at the next one, or
# the leader arm's position at its tick.
ACTION_SOURCES: Mapping[str, str] = {
    "command": "commands",
    "state": "the next measured positions",
    "leader": "the leader arm's positions",
}


@dataclass
class Dropped:
    """Ticks that a stream cost.

    Attributes:
        ticks: how many.
        reasons: of each kind of reason how many ticks it cost, and its first wording. Reasons that differ in their
            values alone, as ages do, are of one kind.
    """

    ticks: int = 0
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)

    def count(self, kind: str, sentence: str, ticks: int = 1) -> None:
        """Count ticks that were lost for a kind of reason."""
        known, example = self.reasons.get(kind, (0, sentence))
        self.ticks += ticks
        self.reasons[kind] = (known + ticks, example)

    @property
    def most_frequent(self) -> str:
        """The reason that cost most ticks, by its first wording."""
        return max(self.reasons.values(), key=lambda item: item[0], default=(0, ""))[1]


@dataclass(frozen=True)
class Span:
    """Consecutive complete ticks of an episode.

    Attributes:
        start_ns: header-stamp time of its first tick.
        ticks: how many.
        episode_index: its episode in the dataset; -1 if it was too short to keep.
        task: task text.
    """

    start_ns: int
    ticks: int
    episode_index: int
    task: str


@dataclass
class Blank:
    """Depth images that show nothing: no pixel was measured, or all have one distance.

    Attributes:
        ticks: ticks that have one.
        first_s: when the first came, since the first complete tick.
    """

    ticks: int = 0
    first_s: float = 0.0


@dataclass
class EpisodeReport:
    """One recorded episode.

    Attributes:
        source: path of the bag.
        identity: hash of what is in the bag, by which it is known again wherever it lies.
        episode_id, task, operator, outcome: as recorded.
        left_out: why the episode is not in the dataset; None if it was converted.
        ticks: ticks of the grid within it.
        kept: ticks in the dataset.
        dropped: stream name to the ticks that it made invalid.
        too_short: complete ticks in spans below the minimum.
        idle: complete ticks of rests that were cut out.
        restarts: clock jumps, each described.
        spans: the spans, in order.
        refused: stream name to why a message of it did not count.
        unfit: stream name (``"action"`` for commands) to how many messages did not fit the embodiment file.
        blank: depth stream's name to its images that show nothing.
        resized: stream name to how the size of its images changed; all have one size in the dataset.
        task_changes: where the task's text changed; the episode was split there.
        whole: ticks that lacked no stream.
        ages_s: stream name to the mean age of its newest sample at those ticks.
        clocks: stream or output name to what is odd about its stamps, as text.
        wrapped: joint to how its angle jumped, which was interpolated as if it had not.
        set_back: where the clock of the log times was set back, a sentence each.
        image_sizes: camera's stream name to height and width of its first image in pixels, before it is resized.
    """

    source: str
    identity: str
    episode_id: str
    task: str
    operator: str
    outcome: str
    left_out: str | None = None
    ticks: int = 0
    kept: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)
    too_short: int = 0
    idle: int = 0
    restarts: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    resized: dict[str, str] = field(default_factory=dict)
    task_changes: list[str] = field(default_factory=list)
    whole: int = 0
    ages_s: dict[str, float] = field(default_factory=dict)
    image_sizes: dict[str, list[int]] = field(default_factory=dict)
    clocks: dict[str, str] = field(default_factory=dict)
    wrapped: dict[str, str] = field(default_factory=dict)
    set_back: list[str] = field(default_factory=list)
    unfit: dict[str, int] = field(default_factory=dict)
    blank: dict[str, Blank] = field(default_factory=dict)

    def take(self, ages_s: Mapping[str, float]) -> None:
        """Count a complete tick and the ages of its samples; an absent stream has none."""
        self.whole += 1
        for name, age_s in ages_s.items():
            if math.isfinite(age_s):
                mean_s = self.ages_s.get(name, 0.0)
                self.ages_s[name] = mean_s + (age_s - mean_s) / self.whole

    def drop(self, missing: Mapping[str, Refusal]) -> None:
        """Count an incomplete tick, for each stream that it lacks."""
        for name, reason in missing.items():
            self.dropped.setdefault(name, Dropped()).count(_kind(reason), str(reason))


@dataclass
class ConversionReport:
    """A conversion of bags.

    Attributes:
        minimum_span_ticks: shorter spans were left out.
        action_source: what the actions are, see `ACTION_SOURCES`.
        leader_topic: topic of the leader arm, if actions are of one.
        longest_rest_s: longer rests were cut out; 0 if none were.
        episodes: the recorded episodes.
        skipped_bags: bag to why it was left out.
        recovered_bags: what was lost of bags that were cut short, or is odd about them, as text.
        passed_over: copies of bags, and folders and links that were not looked into, as text.
        measured: outputs whose actions are the next measured positions.
        ignored_arrival: samples counted by their stamps, however late they arrived.
    """

    minimum_span_ticks: int
    action_source: str = "command"
    longest_rest_s: float = 0.0
    leader_topic: str = ""
    episodes: list[EpisodeReport] = field(default_factory=list)
    skipped_bags: dict[str, str] = field(default_factory=dict)
    recovered_bags: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    ignored_arrival: bool = False
    measured: list[str] = field(default_factory=list)

    def as_mapping(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return dataclasses.asdict(self)

    @property
    def kept(self) -> int:
        """Ticks in the dataset."""
        return sum(episode.kept for episode in self.episodes)

    @property
    def ticks(self) -> int:
        """Ticks of the grid in episodes that were converted."""
        return sum(episode.ticks for episode in self.episodes)

    def count_left_out(self) -> dict[str, int]:
        """Return the number of episodes that each reason excluded."""
        counts: dict[str, int] = {}
        for episode in self.episodes:
            reason = episode.left_out
            if reason is None and not any(span.ticks >= self.minimum_span_ticks for span in episode.spans):
                reason = f"nowhere {format_count(self.minimum_span_ticks, 'whole tick')} in a row"
            if reason is not None:
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def sample_notes(self) -> list[str]:
        """Return which messages did not count and which depth images show nothing, a line for each stream."""
        found = []
        for entry in self.episodes:
            for name, count in entry.unfit.items():
                found.append(
                    f"{entry.source}: {format_count(count, 'message')} of {name} did not count: {entry.refused[name]}"
                )
            for name, blank in entry.blank.items():
                found.append(
                    f"{entry.source}: {blank.ticks / entry.whole:.0%} of the depth images of {name} have no "
                    f"distance, or one everywhere, the first {blank.first_s:.1f} s after the first whole tick"
                )
        return found

    def clock_notes(self) -> list[str]:
        """Return what is odd about the clocks of the recordings, each sentence once."""
        return list(
            dict.fromkeys(
                note for entry in self.episodes for note in (*entry.set_back, *entry.clocks.values())
            )
        )

    def reasons(self) -> list[str]:
        """Return why ticks were dropped, a line a stream, the most frequent first."""
        totals: dict[str, Dropped] = {}
        for episode in self.episodes:
            for name, entry in episode.dropped.items():
                total = totals.setdefault(name, Dropped())
                for kind, (ticks, sentence) in entry.reasons.items():
                    total.count(kind, sentence, ticks)
        ordered = sorted(totals.items(), key=lambda item: -item[1].ticks)
        return [
            f"{name}: {format_count(entry.ticks, 'tick')}{', most of them' * (entry.ticks > 1)} because "
            f"{entry.most_frequent}"
            for name, entry in ordered
        ]


def _kind(reason: Refusal) -> str:
    """Return what reasons have in common that differ in their values alone."""
    cause = f" ({_kind(reason.cause)})" if isinstance(reason.cause, Refusal) else ""
    return f"{reason.code.value} {reason.subject}".rstrip() + cause


def read_report(root: Path) -> Record:
    """Return a dataset's report; without values if it has none.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return read_json(root / REPORT)
    except FileNotFoundError:
        return Record(repr(str(root / REPORT)), {})


def list_reported_episodes(root: Path) -> list[Record]:
    """Return what the conversion reports of each recorded episode; empty for datasets that are of no bags.

    Raises:
        DatasetError: the report cannot be read.
    """
    report = read_report(root)
    return report.records("episodes") if "episodes" in report else []
