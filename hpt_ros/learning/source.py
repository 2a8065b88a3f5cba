# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where a policy's batches come from: a dataset, its decoded frames or a frozen encoder's features of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.dataset import Dataset
from hpt_ros.errors import HptError, did_you_mean
from hpt_ros.learning.cache import open_cache, open_feature_cache
from hpt_ros.learning.reporter import Reporter
from hpt_ros.learning.samples import Batch, Windows, gather
from hpt_ros.model import Policy
from hpt_ros.structured import to_mapping


class SourceError(HptError):
    """The policy cannot be fed from this dataset."""


@dataclass(frozen=True, slots=True)
class Source:
    """Batches of a dataset as one policy takes them."""

    dataset: Dataset
    modalities: tuple[str, ...]
    frames: NDArray[np.uint8] | None = None  # (N, V, H, W, 3); None without an image stem
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # modality to (N, V, cells, width)
    tasks: NDArray[np.int64] | None = None  # of the dataset's tasks, their places among the policy's

    def batch(self, windows: Windows, samples: NDArray[np.int64]) -> Batch:
        """Gather some samples; "task" is an index into the policy's tasks."""
        batch = gather(self.dataset, self.frames, windows, samples, self.modalities, features=self.features)
        if self.tasks is None:
            return batch
        return replace(batch, inputs={**batch.inputs, "task": self.tasks[batch.inputs["task"]]})


def open_source(
    policy: Policy,
    dataset: Dataset,
    cache_root: str | Path | None,
    report: Reporter,
    *,
    cache_features: bool = False,
    name: str = "",
) -> Source:
    """Open what the policy needs of a dataset; decodes, or encodes, what is not in the cache yet, and says so.

    Args:
        policy: with the weights that its frozen encoder will keep.
        dataset: opened.
        cache_root: folder of the caches, see `open_cache`.
        report: where messages go.
        cache_features: encode every frame once; the image encoder must be frozen.
        name: of the dataset, for messages; empty where there is only one.

    Raises:
        HptError: the dataset has a task that the policy does not know, or the cache cannot be made.
    """
    config = policy.config
    frames: NDArray[np.uint8] | None = None
    features: dict[str, NDArray[Any]] = {}
    of = f" of {name}" if name else ""
    if "image" in config.modalities:
        cache = open_cache(
            dataset, cache_root, progress=lambda done, total: report.bar(f"decoding{of}", done, total)
        )
        frames = cache.frames
        report.say(f"frames{of}: {cache.note}")
    if cache_features:
        features["image"] = open_feature_cache(
            dataset,
            frames,
            lambda pictures: _encode(policy, pictures),
            encoder_digest(policy),
            cache_root,
            progress=lambda done, total: report.bar(f"encoding{of}", done, total),
        )
        shape, size = features["image"].shape, features["image"].nbytes / 2**20
        report.say(f"features{of}: of every frame once, {shape[2]} cells of {shape[3]} ({size:.1f} MiB)")
    tasks = task_places(policy, dataset) if "language" in config.modalities else None
    return Source(dataset, config.modalities, frames, features, tasks)


def encoder_digest(policy: Policy) -> str:
    """SHA-256 over all that the image features of a frame depend on besides the frame."""
    config = policy.config
    size = [config.views, *config.image_size()]
    digest = hashlib.sha256(json.dumps([to_mapping(config.image_encoder), size], sort_keys=True).encode())
    for name, value in sorted(policy.encoders["image"].state_dict().items()):
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def _encode(policy: Policy, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features (n, V, cells, width) of pictures (n, V, H, W, 3)."""
    features = policy.encode_images(torch.from_numpy(np.ascontiguousarray(pictures))[:, None])
    return features[:, 0].to("cpu", torch.float32).numpy()


def task_places(policy: Policy, dataset: Dataset) -> NDArray[np.int64]:
    """Return the place of each of a dataset's tasks among the policy's; raises SourceError for one that is unknown."""
    known = policy.config.tasks
    for task in dataset.tasks:
        if task not in known:
            raise SourceError(
                f"dataset {str(dataset.root)!r} has the task {task!r}, but the policy knows "
                f"{', '.join(map(repr, known)) or 'none'}{did_you_mean(task, known)}; train it with that task, "
                "or choose another dataset"
            )
    return np.array([known.index(task) for task in dataset.tasks], dtype=np.int64)
