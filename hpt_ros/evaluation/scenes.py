# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scenes that are run into a file of outcomes: those that are in it are not run again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Final

from hpt_ros.evaluation.outcomes import Outcomes, Provenance, resume_episodes, write_outcomes
from hpt_ros.evaluation.rollout import EpisodeResult

SAVE_EVERY: Final = 10  # episodes


def run_scenes(
    seeds: Sequence[int],
    run: Callable[[Sequence[int]], Generator[EpisodeResult, None, None]],
    provenance: Provenance,
    out: Path | None,
) -> Generator[list[EpisodeResult], None, None]:
    """Yield the episodes of the scenes that are done, in the order of `seeds`: first those that the file has.

    The file is written every few episodes and at the end, also if the generator is closed or interrupted. Scenes that
    it has beside these stay in it.

    Args:
        seeds: of the scenes.
        run: yields an episode for each seed that it is given, in any order; closed at the end.
        provenance: of the outcomes.
        out: the file; None: none.

    Raises:
        HptError: the file has the outcomes of something else, or cannot be written.
    """
    known: dict[int, EpisodeResult] = {}
    if out is not None:
        known = {episode.seed: episode for episode in resume_episodes(out, provenance)}
    left = [seed for seed in seeds if seed not in known]

    def save() -> None:
        if out is not None:
            write_outcomes(out, Outcomes(provenance, tuple(known[seed] for seed in sorted(known))))

    if left:
        save()  # so that a location where nothing can be written shows before hours of episodes
    yield [known[seed] for seed in seeds if seed in known]
    if not left:
        return
    episodes = run(left)
    try:
        for number, episode in enumerate(episodes, start=1):
            known[episode.seed] = episode
            yield [known[seed] for seed in seeds if seed in known]
            if number % SAVE_EVERY == 0:
                save()
    finally:
        episodes.close()  # ends processes and nodes
        save()
