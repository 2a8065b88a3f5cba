# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the policies of a study do in closed loop: files of outcomes, one for each cell and environment.

The files of an arm are training seeds of it, as `hpt compare` wants them: ``outcomes/ARM/ENVIRONMENT.seedN.parquet``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import torch

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.conditions import Contender
from hpt_ros.evaluation.evaluate import Job, evaluate
from hpt_ros.evaluation.outcomes import Outcomes, Provenance, read_outcomes
from hpt_ros.evaluation.rollout import Episode, require_robot_fits
from hpt_ros.evaluation.scenes import run_scenes
from hpt_ros.learning.mixture import Mixture
from hpt_ros.learning.reporter import Reporter
from hpt_ros.model.checkpoint_folder import EMBODIMENTS, is_many
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.sim.environment import Environment
from hpt_ros.studies.budget import SCENES, spent
from hpt_ros.studies.config import Cell, EvaluationConfig, StudyConfig, recipe_of
from hpt_ros.studies.pool import Pool

OUTCOMES: Final = "outcomes"
VALIDATION: Final = "validation"  # scenes to choose by


def kinds_of(config: EvaluationConfig) -> dict[str, range]:
    """Return the folders that outcomes go to, with the seeds of their scenes."""
    both = {VALIDATION: config.seeds_to_choose, OUTCOMES: config.seeds}
    return {kind: seeds for kind, seeds in both.items() if seeds}


def file_of(out: Path, kind: str, cell: Cell, environment: str) -> Path:
    """Return the file of a cell's outcomes in an environment."""
    return out / kind / cell.arm / f"{environment.replace('/', '.')}.seed{cell.seed}.parquet"


def robot_in(mixture: Mixture, environment: Environment) -> Embodiment:
    """Return the robot of a mixture that runs in an environment: the only one, or that of the same name.

    Raises:
        HptError: there is none.
    """
    robots, name = mixture.robots, environment.embodiment.name
    if len(robots) > 1 and name not in robots:
        raise HptError(
            Code.MISMATCH, f"the robot {name!r} of the environment {environment.name!r}", ", ".join(robots),
            problem="is none of those of the mixture, {value}", remedy="choose an environment of one of those",
        )  # fmt: skip
    return robots[name] if name in robots else next(iter(robots.values()))


def require_judgeable(study: StudyConfig, cells: Sequence[Cell], pool: Pool) -> None:
    """Check that the policies of all cells will fit all environments.

    Raises:
        HptError: there is no such environment, it cannot be made, or its robot is another one.
    """
    config = study.evaluate
    if config is None:
        return
    for name in config.names:
        with config.make(name) as environment:
            for cell in {(cell.datasets, cell.size, cell.variant): cell for cell in cells}.values():
                robot, recipe = robot_in(pool.of(cell), environment), recipe_of(study, cell)
                read = recipe.policy.with_streams_of(robot).modalities
                unread = {stream.modality for stream in robot.streams} - set(read)
                require_robot_fits(robot, unread, environment)
            # Whatever else a job refuses.
            config.job_in(environment, Contender("hold", PolicyChoice(policy="hold")), name)


def seeds_left(study: StudyConfig, cell: Cell, out: Path) -> dict[str, int]:
    """Return the scenes of a cell that are still to be run, by environment."""
    config = study.evaluate
    if config is None:
        return {}
    return {
        name: sum(
            len(set(seeds) - _seeds_in(file_of(out, kind, cell, name)))
            for kind, seeds in kinds_of(config).items()
        )
        for name in config.names
    }


def _seeds_in(file: Path) -> frozenset[int]:
    try:
        there = file.stat()
    except OSError:
        return frozenset()
    return _read_seeds(file, there.st_mtime_ns, there.st_size)


@cache
def _read_seeds(file: Path, changed_ns: int, size: int) -> frozenset[int]:
    """Seeds in a file as it was then: the budget asks for those of all cells before each one."""
    return frozenset(episode.seed for episode in read_outcomes(file).episodes)


def outcomes_of(study: StudyConfig, cell: Cell, out: Path, kind: str) -> dict[str, Outcomes] | None:
    """Read a cell's outcomes by environment, of the scenes that the study has now; None while some are missing.

    Args:
        study: its configuration.
        cell: of it.
        out: the study's folder.
        kind: `OUTCOMES` or `VALIDATION`.
    """
    config = study.evaluate
    if config is None or kind not in kinds_of(config):
        return None
    seeds, found = kinds_of(config)[kind], {}
    for name in config.names:
        file = file_of(out, kind, cell, name)
        if not file.is_file():
            return None
        outcomes = read_outcomes(file)
        episodes = tuple(episode for episode in outcomes.episodes if episode.seed in seeds)
        if len(episodes) < len(seeds):
            return None
        found[name] = Outcomes(outcomes.provenance, episodes)
    return found


def judge_cell(
    study: StudyConfig, cell: Cell, out: Path, report: Reporter, device: str = "auto", workers: int = 1
) -> None:
    """Run the scenes of a trained cell that are not in its files yet.

    Args:
        study: its configuration.
        cell: of it.
        out: the study's folder.
        report: where messages go.
        device: of the network.
        workers: processes for the scenes.

    Raises:
        HptError: policy and environment do not fit, or a file has the outcomes of something else.
    """
    config = study.evaluate
    if config is None:
        return
    folder = out / cell.name / config.checkpoint
    for name in config.names:
        files = {kind: file_of(out, kind, cell, name) for kind in kinds_of(config)}
        left = {kind: s for kind, s in kinds_of(config).items() if set(s) - _seeds_in(files[kind])}
        if not left:
            continue
        with config.make(name) as made:
            contender = Contender.of_checkpoint(_checkpoint_in(folder, made), cell.arm, device)
            job, provenance = config.job_in(made, contender, name)
        for kind, seeds in left.items():
            files[kind].parent.mkdir(parents=True, exist_ok=True)
            _run_into(files[kind], job, provenance, seeds, report, kind, out / cell.name, workers)


def _run_into(
    file: Path,
    job: Job,
    provenance: Provenance,
    seeds: Sequence[int],
    report: Reporter,
    kind: str,
    folder: Path,
    workers: int,
) -> None:
    """Run the scenes that a file lacks, and note in the cell's folder what they took."""
    counts: list[int] = []  # episodes that are done, from those that the file had

    def run(left: Sequence[int]) -> Generator[Episode, None, None]:
        yield from evaluate(job, left, workers)

    counted = spent(folder, f"{SCENES} {job.environment}", lambda: counts[-1] - counts[0] if counts else 0)
    with _threads_restored(), counted, closing(run_scenes(seeds, run, provenance, file)) as scenes:
        for ran in scenes:
            counts.append(len(ran))
            note = f"{sum(episode.success for episode in ran)} succeeded"
            report.bar(f"{kind} in {job.environment}", len(ran), len(seeds), note)


def _checkpoint_in(folder: Path, environment: Environment) -> Path:
    """Return what runs in an environment: a checkpoint, or in one of several robots the folder of that of its name."""
    return folder / EMBODIMENTS / environment.embodiment.name if is_many(folder) else folder


@contextmanager
def _threads_restored() -> Iterator[None]:
    """Give torch its threads back, of which a rollout takes one: the next cell trains with as many as the first."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
