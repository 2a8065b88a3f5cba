# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a run writes for people while it goes: metrics.jsonl, TensorBoard's events, report.html, and W&B if asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from hpt_ros.learning.batch_source import BatchSource
from hpt_ros.learning.initial_weights import InitialWeights
from hpt_ros.learning.metrics import Metrics
from hpt_ros.learning.mixture import Mixture
from hpt_ros.learning.predictions import predict_episodes
from hpt_ros.learning.recipe import Recipe, recipe_mapping
from hpt_ros.learning.report import spread_of, training_page
from hpt_ros.learning.trackers import TensorBoard, Tracker, TrackerLostError, WeightsAndBiases, flatten
from hpt_ros.model import MultiPolicy, Statistics
from hpt_ros.report.page import write_page

REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What does not change while a run goes on.

    Attributes:
        mixture: its data.
        recipe: as it is trained with.
        start: where the first weights came from.
        statistics: what the normalisers take, by embodiment.
        device: that it trains on.
        processes: how many share it.
        command: the command line.
    """

    mixture: Mixture
    recipe: Recipe
    start: InitialWeights
    statistics: Mapping[str, Mapping[str, Statistics]]
    device: str
    processes: int
    command: str


class RunLog(AbstractContextManager["RunLog"]):
    """Writes nothing in any process but the first."""

    def __init__(
        self,
        out: Path,
        after: int,
        facts: RunFacts,
        *,
        first: bool = True,
        wandb: str = "",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open what is written to.

        Args:
            out: the run's folder.
            after: the step that the run goes on from; 0 of a new one.
            facts: of the run.
            first: whether this process writes.
            wandb: project of Weights & Biases; empty: none.
            say: takes lines for people.

        Raises:
            HptError: Weights & Biases is not installed or refuses.
        """
        self._out, self._facts, self._first, self._say = out, facts, first, say
        self._trackers: list[Tracker] = []
        self._spread: list[dict[str, Any]] | None = None
        if not first:
            return
        if wandb:
            config = recipe_mapping(facts.recipe)
            self._trackers.append(WeightsAndBiases(wandb, out, config, resumed=after > 0))
        self._metrics = Metrics(out / "metrics.jsonl", after)
        self._trackers.append(TensorBoard(out, after))
        self._dimensions = {name: list(robot.action.names) for name, robot in facts.mixture.robots.items()}

    def write(self, step: int, **values: Any) -> None:
        """Note numbers at a step."""
        if not self._first:
            return
        self._metrics.write(step=step, **values)
        numbers = flatten(values, self._dimensions)
        self._to_each(lambda tracker: tracker.scalars(step, numbers))

    def note_validation(
        self, step: int, measured: Mapping[str, Any], policy: MultiPolicy, sources: Sequence[BatchSource]
    ) -> None:
        """Note what a validation measured, and write the report again, with what the policy predicts by now."""
        if not self._first:
            return
        if measured:
            self.write(step, **measured)
        if self._spread is None:  # once: quantiles want all values
            statistics = self._facts.statistics
            each = (
                spread_of(self._facts.mixture, name, statistics[name], self._facts.recipe.statistics)
                for name in statistics
            )
            self._spread = [entry for entries in each for entry in entries]
        predictions = predict_episodes(policy, self._facts.mixture, sources)
        write_page(self._out / REPORT, training_page(self._out, self._facts, step, predictions, self._spread))

    def close(self) -> None:
        """Write what is left."""
        self._to_each(lambda tracker: tracker.close())

    def _to_each(self, do: Callable[[Tracker], None]) -> None:
        """Do something with each tracker; one that is lost is reported once, and left out from then on."""
        for tracker in list(self._trackers):
            try:
                do(tracker)
            except TrackerLostError as error:
                self._trackers.remove(tracker)
                self._say(str(error))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
