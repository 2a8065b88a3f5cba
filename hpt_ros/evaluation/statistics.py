# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What counts of successes are evidence for: intervals, paired comparisons, and a test that may stop early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation import CONFIDENCE

RESAMPLES: Final = (
    10_000  # of a bootstrap: the interval's ends then move by about 1 % of its width between seeds
)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Arm B against arm A on the same scenes.

    Attributes:
        scenes: that both arms ran.
        both, only_a, only_b, neither: scenes by who succeeded (with several training seeds: runs of a scene).
        difference: mean success of B less that of A, with a bootstrap interval over scenes (and training seeds).
        p_value: of the exact McNemar test, two-sided; of the scenes alone, whatever the training seeds.
        e_value: evidence against "no difference" that stays valid however often it is looked at; of the scenes alone
            too.
    """

    scenes: int
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: Interval
    p_value: float
    e_value: float


def success_interval(successes: int, episodes: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the ratio of successes with Wilson's score interval.

    Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 22, 1927).

    Raises:
        HptError: no episode, or more successes than episodes.
    """
    from scipy.stats import binomtest

    if episodes < 1 or not 0 <= successes <= episodes:
        raise HptError(
            Code.OUT_OF_RANGE, "the number of successes", successes,
            problem=f"is {{value}} of {episodes} episodes", expected="at least one episode, and no more successes",
        )  # fmt: skip
    found = binomtest(successes, episodes).proportion_ci(confidence, method="wilson")
    return Interval(successes / episodes, float(found.low), float(found.high))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of the exact McNemar test: of scenes that one arm alone solves, each is as likely.

    McNemar, "Note on the sampling error of the difference between correlated proportions" (Psychometrika 12, 1947).
    """
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def anytime_e_value(only_a: int, only_b: int) -> float:
    """Return the evidence against "either arm is as likely to solve a scene alone", valid at any time of looking.

    The likelihood ratio of a mixture over the probability (Jeffreys' prior, Beta(1/2, 1/2)) to one half. It is a
    non-negative martingale of mean 1 if there is no difference, so by Ville's inequality it ever reaches 1 / alpha with
    probability alpha at most: one may stop as soon as it is 20 and claim a difference at 5 %. Robbins, "Statistical
    methods related to the law of the iterated logarithm" (Ann. Math. Statist. 41, 1970).
    """

    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    log_e = log_beta(only_a + 0.5, only_b + 0.5) - log_beta(0.5, 0.5) + (only_a + only_b) * math.log(2.0)
    return math.exp(min(log_e, 700.0))  # beyond e^700 a double ends


def draw_means(tables: Sequence[tuple[NDArray[np.float64], ...]], seed: int = 0) -> NDArray[np.float64]:
    """Return the means over environments of each arm's success, (arms, resamples) of a bootstrap.

    Scenes are drawn within each environment, once for both arms (they are paired), and training seeds within each arm
    of each (a training run of one arm has no partner in the other): the hierarchical bootstrap of Agarwal et al., "Deep
    reinforcement learning at the edge of the statistical precipice" (NeurIPS 2021), with scenes as the strata's inner
    level. How often each is drawn are weights, so all resamples are one product.

    Args:
        tables: for each environment the arms, (training seeds, scenes) each, scenes in the same order.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    found = np.zeros((len(tables[0]), RESAMPLES))
    for pair in tables:
        scenes = pair[0].shape[1]
        weights = rng.multinomial(scenes, np.full(scenes, 1.0 / scenes), RESAMPLES) / scenes
        for index, arm in enumerate(pair):
            seeds = rng.multinomial(len(arm), np.full(len(arm), 1.0 / len(arm)), RESAMPLES) / len(arm)
            found[index] += ((seeds @ arm) * weights).sum(1) / len(tables)
    return found


def interval_of(estimate: float, draws: NDArray[np.float64], confidence: float = CONFIDENCE) -> Interval:
    """Return an estimate with the percentile interval of its bootstrap."""
    low, high = np.quantile(draws, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(float(estimate), float(low), float(high))


def compare_arms(
    a: NDArray[np.float64], b: NDArray[np.float64], *, seed: int = 0, confidence: float = CONFIDENCE
) -> PairedComparison:
    """Compare arm B with arm A on the same scenes.

    Args:
        a, b: (training seeds, scenes) 1 for success, 0 else; scenes in the same order. The numbers of training seeds
            may differ. With one each, the scenes' table is McNemar's; with more, a scene is solved alone by an arm if
            more than half of that arm's runs solve it and at most half of the other's.
        seed: of the bootstrap.
        confidence: of its interval.

    Raises:
        HptError: no scene, or different numbers of them.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.size or not b.size:
        raise HptError(
            Code.WRONG_SHAPE, "the arms", f"{a.shape} and {b.shape}", problem="have the shapes {value}",
            expected="the same scenes, at least one", remedy="run both on the same seeds",
        )  # fmt: skip
    solved_a, solved_b = a.mean(axis=0) > 0.5, b.mean(axis=0) > 0.5
    only_a, only_b = int((solved_a & ~solved_b).sum()), int((solved_b & ~solved_a).sum())
    return PairedComparison(
        scenes=a.shape[1],
        both=int((solved_a & solved_b).sum()),
        only_a=only_a,
        only_b=only_b,
        neither=int((~solved_a & ~solved_b).sum()),
        difference=interval_of(
            float(b.mean() - a.mean()), np.diff(draw_means([(a, b)], seed), axis=0)[0], confidence
        ),
        p_value=mcnemar_p(only_a, only_b),
        e_value=anytime_e_value(only_a, only_b),
    )
