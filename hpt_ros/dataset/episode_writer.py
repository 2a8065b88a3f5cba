# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An episode on its way into a dataset: vectors in memory, images in the encoder, other large arrays on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import LABELS, Feature, features_of, integer_fps
from hpt_ros.dataset.statistics import FeatureStatistics, vector_statistics
from hpt_ros.dataset.video import BackgroundWriter
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from hpt_ros.modalities import MODALITIES
from hpt_ros.registry import load_location


@dataclass(frozen=True)
class EpisodeData:
    """A finished episode that waits to be appended.

    Attributes:
        task: task text.
        length: number of ticks.
        vectors: feature name to float32 (length, dim), and label to its dtype, (length, 1).
        segments: name of a stream that is stored as a video to its encoded segment.
        arrays: feature name of a large array to the file of its values, C order, without a header.
        statistics: feature name to its statistics, for all but the counters.
    """

    task: str
    length: int
    vectors: Mapping[str, NDArray[Any]]
    segments: Mapping[str, Path]
    arrays: Mapping[str, Path]
    statistics: Mapping[str, FeatureStatistics]

    def discard(self) -> None:
        """Delete what waits on disk."""
        for path in (*self.segments.values(), *self.arrays.values()):
            path.unlink(missing_ok=True)


class EpisodeWriter:
    """Takes an episode tick by tick; memory holds its vectors alone.

    Args:
        folder: where video segments and large arrays wait.
        stem: first part of their file names.
        embodiment: the robot.
        task: task text.
        labels: those of `layout.LABELS` that a tick has.
        coded: depth is stored as a video of codes.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        embodiment: Embodiment,
        task: str,
        labels: Sequence[str] = (),
        *,
        coded: bool = False,
    ) -> None:
        self._task = task
        self._length = 0
        self._features = features_of(embodiment, coded)
        self._features |= {name: Feature("label", "", LABELS[name], (1,)) for name in labels}
        self._vectors: dict[str, list[NDArray[Any]]] = {}
        self._videos: dict[str, BackgroundWriter] = {}
        self._files: dict[str, tuple[Path, BinaryIO]] = {}
        fps = integer_fps(embodiment)
        for name, feature in self._features.items():
            if not feature.in_rows:
                path = folder / f"{stem}-{feature.stream}.mp4"
                codes = DepthCodes() if feature.coded else None
                self._videos[name] = BackgroundWriter(path, fps, feature.shape[0], feature.shape[1], codes)
            elif feature.is_large:
                path = folder / f"{stem}-{feature.stream}.bin"
                self._files[name] = path, path.open("wb")
            else:
                self._vectors[name] = []

    def add(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Add a tick.

        Args:
            values: feature name to its value; more names than the embodiment's do not matter.

        Raises:
            DatasetError: a feature is missing, of a wrong shape, or images or depth of a wrong type.
        """
        for name, feature in self._features.items():
            _check(name, feature, values.get(name))
        for name, video in self._videos.items():
            video.add(values[name])
        for name, (_, file) in self._files.items():
            file.write(np.ascontiguousarray(values[name], dtype=self._features[name].dtype).data)
        for name, vectors in self._vectors.items():
            vectors.append(np.asarray(values[name], dtype=self._features[name].dtype))
        self._length += 1

    def abort(self) -> None:
        """Stop the encoders and delete what was written."""
        for video in self._videos.values():
            video.abort()
        for path, file in self._files.values():
            file.close()
            path.unlink(missing_ok=True)

    def finish(self) -> EpisodeData:
        """Finish segments and files and return the episode; it must have at least one tick."""
        for video in self._videos.values():
            video.end()  # all at once; meanwhile the vectors are counted
        for _, file in self._files.values():
            file.close()
        vectors = {name: np.stack(values) for name, values in self._vectors.items()}
        statistics = {name: vector_statistics(values) for name, values in vectors.items()}
        for video in self._videos.values():
            video.close()
        statistics |= {name: video.statistics.result() for name, video in self._videos.items()}
        for name, (path, _) in self._files.items():
            feature = self._features[name]
            function: Callable[[NDArray[Any]], FeatureStatistics] = load_location(
                MODALITIES[feature.modality].statistics
            )
            statistics[name] = function(open_array(path, feature, self._length))
        return EpisodeData(
            task=self._task,
            length=self._length,
            vectors=vectors,
            segments={self._features[name].stream: video.path for name, video in self._videos.items()},
            arrays={name: path for name, (path, _) in self._files.items()},
            statistics=statistics,
        )


def open_array(path: Path, feature: Feature, length: int) -> NDArray[Any]:
    """Return a large array of an episode, (length, *shape), memory-mapped."""
    values: NDArray[Any] = np.memmap(path, dtype=feature.dtype, mode="r", shape=(length, *feature.shape))
    return values


def _check(name: str, feature: Feature, value: NDArray[Any] | None) -> None:
    got = None if value is None else value.shape
    if value is None or got != feature.shape:
        raise DatasetError(
            Code.WRONG_SHAPE, f"feature {name!r} of a tick", got, problem="has shape {value}",
            expected=str(feature.shape), remedy="pass what the embodiment file specifies",
        )  # fmt: skip
    if feature.dtype == "float32":
        with np.errstate(over="ignore"):
            good = np.isfinite(np.asarray(value, dtype=np.float32))
        if not good.all():
            raise DatasetError(
                Code.NOT_FINITE, f"feature {name!r} of a tick", np.asarray(value)[~good][0],
                problem="has the value {value}", expected="finite numbers of single precision",
                remedy="leave that tick or episode out",
            )  # fmt: skip
    wanted = {"video": "uint8", "uint16": "uint16"}.get(feature.dtype)
    if wanted is not None and value.dtype != wanted:
        raise DatasetError(
            Code.WRONG_TYPE, f"feature {name!r} of a tick", str(value.dtype),
            problem=f"has values of type {value.dtype}", expected=wanted, remedy="pass what the decoder returns",
        )  # fmt: skip
