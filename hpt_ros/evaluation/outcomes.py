# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The file of an evaluation's outcomes: one parquet file, one row an episode, with what they were made by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from hpt_ros.atomic import replace_atomically
from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.rollout import EpisodeResult

FORMAT: Final = "hpt_ros/outcomes/2"
LOCK_STEP: Final = "lock step"
REAL_TIME: Final = "real time"
_KEY: Final = b"hpt_ros"
_OURS: Final = "give one that 'hpt eval --out' wrote"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What outcomes were made by; two files can be compared if their environments are the same.

    Attributes:
        environment: its name.
        environment_version: its version.
        mujoco_version: of the physics; empty without.
        policy: name of the arm, for people.
        checkpoint_sha256: of the weights; empty for a policy without.
        inference_s: what an inference took on the environment's clock; 0 in real time, where it takes what it takes.
        time_limit_s: of an episode.
        image_delay_s, image_jitter_s, image_lost: of the cameras' messages, see `hpt_ros.sim.transport.Transport`.
        variation: how far scenes differ, see `hpt_ros.sim.variation.Variation`.
        transports: of streams, beside those of the cameras; empty without.
        hpt_ros_version: of this package.
        clock: `LOCK_STEP`, or `REAL_TIME` over the ROS graph.
    """

    environment: str
    environment_version: str
    mujoco_version: str
    policy: str
    checkpoint_sha256: str
    inference_s: float
    time_limit_s: float
    image_delay_s: float
    image_jitter_s: float
    image_lost: float
    variation: str
    transports: str
    hpt_ros_version: str
    clock: str = LOCK_STEP

    def scenes_as(self, other: Provenance) -> bool:
        """Whether equal seeds are equal scenes in both."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("environment", "environment_version", "mujoco_version", "time_limit_s", "variation")
        )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Episodes of one arm, in the order of their seeds."""

    provenance: Provenance
    episodes: tuple[EpisodeResult, ...]

    @property
    def successes(self) -> int:
        """How many episodes succeeded."""
        return sum(episode.success for episode in self.episodes)

    @property
    def late_actions(self) -> float | None:
        """Mean number of a chunk's actions whose time is over when it comes; None where no chunk came."""
        chunks = sum(episode.counters.get("chunks", 0) for episode in self.episodes)
        late = sum(episode.counters.get("late_actions_dropped", 0) for episode in self.episodes)
        return late / chunks if chunks else None


def write_outcomes(path: Path, outcomes: Outcomes) -> None:
    """Write the file, complete or not at all, in place of one that is there.

    Raises:
        HptError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {**asdict(episode), "counters": json.dumps(dict(episode.counters), sort_keys=True)}
        for episode in sorted(outcomes.episodes, key=lambda item: item.seed)
    ]
    about = {"format": FORMAT, **asdict(outcomes.provenance)}
    table = pa.Table.from_pylist(rows, schema=_schema()).replace_schema_metadata({_KEY: json.dumps(about)})
    try:
        with replace_atomically(path) as work:
            pq.write_table(table, work, compression="zstd")
    except OSError as error:
        raise HptError(
            Code.UNWRITABLE, f"the file of outcomes {str(path)!r}", cause=error,
            remedy="name another place, or make room",
        ) from error  # fmt: skip


def read_outcomes(path: Path) -> Outcomes:
    """Read a file of outcomes.

    Raises:
        HptError: there is none, or it is another file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise HptError(
            Code.NOT_FOUND, f"the file of outcomes {str(path)!r}", remedy="'hpt eval --out' writes one"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise HptError(
            Code.UNREADABLE, f"the file of outcomes {str(path)!r}", cause=error, remedy=_OURS
        ) from error
    try:
        about = json.loads((table.schema.metadata or {}).get(_KEY, b"null"))
        known = {item.name for item in fields(Provenance)}
        provenance = Provenance(**{name: about[name] for name in known if name in about})
        if about["format"] != FORMAT or not table.schema.equals(_schema()):
            raise ValueError("another format")
        episodes = tuple(
            EpisodeResult(**{**row, "counters": json.loads(row["counters"])}) for row in table.to_pylist()
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HptError(
            Code.UNREADABLE, repr(str(path)), problem="is no file of outcomes", expected=f"the format {FORMAT}",
            remedy=_OURS,
        ) from error  # fmt: skip
    return Outcomes(provenance, episodes)


def resume_episodes(path: Path, provenance: Provenance) -> tuple[EpisodeResult, ...]:
    """Return the episodes of an evaluation that was interrupted; none if the file is not there.

    Raises:
        HptError: the file has the outcomes of something else.
    """
    if not path.exists():
        return ()
    found = read_outcomes(path)
    here, there = asdict(provenance), asdict(found.provenance)
    for name, value in here.items():
        if there[name] != value:
            raise HptError(
                Code.MISMATCH, f"{name} of the outcomes in {str(path)!r}", there[name],
                expected=f"{value!r}, as this evaluation has", remedy="name another --out",
            )  # fmt: skip
    return found.episodes


def arm_of(outcomes: Sequence[Outcomes], seeds: Sequence[int]) -> list[list[float]]:
    """Return (files, seeds) 1.0 for success, 0.0 else."""
    tables: list[Mapping[int, bool]] = [
        {episode.seed: episode.success for episode in item.episodes} for item in outcomes
    ]
    return [[float(table[seed]) for seed in seeds] for table in tables]


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"int": pa.int64(), "bool": pa.bool_(), "float": pa.float64(), "str": pa.string()}
    return pa.schema([(item.name, kinds.get(str(item.type), pa.string())) for item in fields(EpisodeResult)])
