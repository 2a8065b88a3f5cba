# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Several datasets of one robot, as `hpt finetune` takes them: a mixture with one embodiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hpt_ros.errors import Code
from hpt_ros.learning.mixture import Mixture, open_mixture
from hpt_ros.learning.mixture_config import DatasetEntry, MixtureConfig, MixtureError


def datasets_with_weights(
    paths: Sequence[str], weights: str | None = None, embodiment: str = ""
) -> MixtureConfig:
    """Return the mixture of some datasets; each gets its folder's name, or its path where two folders are called alike.

    Args:
        paths: of datasets.
        weights: as many numbers as datasets, separated by commas; by the square root of their sizes if None.
        embodiment: the robot's file or shipped name; the datasets' own if empty.

    Raises:
        HptError: a dataset twice, other than one weight for each dataset, no numbers, or weights that sum to nothing.
    """
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise MixtureError(
            Code.DUPLICATE, "a dataset", twice[0], problem="is given more than once, as {value}",
            remedy="give it once, and more of the samples with --weights",
        )  # fmt: skip
    found: list[float] | list[None] = [None] * len(paths)
    if weights is not None:
        try:
            found = [float(text) for text in weights.split(",")]
        except ValueError as error:
            raise MixtureError(
                Code.WRONG_TYPE, "--weights", weights, expected="numbers separated by commas, as 1,3"
            ) from error
        if len(found) != len(paths):
            raise MixtureError(
                Code.WRONG_SHAPE, "--weights", weights, problem=f"has {len(found)} numbers, in {{value}}",
                expected=f"one for each of the {len(paths)} datasets", remedy="give as many",
            )  # fmt: skip
        if bad := [value for value in found if not 0 <= value < float("inf")]:
            raise MixtureError(Code.OUT_OF_RANGE, "--weights", bad[0], expected="0 or more, and finite")
    alike = Counter(Path(path).name for path in paths)
    return MixtureConfig(
        tuple(
            DatasetEntry(
                path,
                name="" if alike[Path(path).name] == 1 else path,
                embodiment=embodiment,
                weight=weight,
            )
            for path, weight in zip(paths, found, strict=True)
        )
    )


def open_one_robot(
    config: MixtureConfig, validation_ratio: float, seed: int, *, cache_root: str | Path | None = None
) -> Mixture:
    """Open a mixture whose datasets must be of one robot; arguments and errors as `open_mixture`.

    Raises:
        MixtureError: they are of several, too.
    """
    if len(used := [entry.path for entry in config.datasets if entry.weight != 0.0]) < 2:
        raise MixtureError(
            Code.OUT_OF_RANGE, "the mixture", used[0], problem="has one dataset, {value}", expected="two or more",
            remedy="give another a weight above 0, or name that dataset alone",
        )  # fmt: skip
    mixture = open_mixture(config, validation_ratio, seed, cache_root=cache_root)
    first = mixture.members[0]
    for member in mixture.members[1:]:
        if member.embodiment != first.embodiment:
            raise MixtureError(
                Code.MISMATCH, f"dataset {str(member.dataset.root)!r}", member.embodiment,
                problem="is of the embodiment {value}",
                expected=f"{first.embodiment!r} as dataset {str(first.dataset.root)!r}",
                remedy="finetune on the datasets of one robot, or train on several robots with 'hpt pretrain'",
            )  # fmt: skip
    return mixture
