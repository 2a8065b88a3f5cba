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
from hpt_ros.dataset.layout import stream_feature
from hpt_ros.errors import Code, HptError
from hpt_ros.learning.augment import (
    AugmentConfig,
    ImageChanges,
    change_images,
    draw_image_changes,
    stack_changes,
)
from hpt_ros.learning.cache import open_cache, open_feature_cache, pool_size
from hpt_ros.learning.reporter import Reporter
from hpt_ros.learning.samples import Batch, Windows, gather
from hpt_ros.modalities import MODALITIES, Layout
from hpt_ros.model import Policy
from hpt_ros.structured import to_mapping


class BatchSourceError(HptError):
    """The policy cannot be fed from this dataset."""


@dataclass(frozen=True, slots=True)
class BatchSource:
    """Batches of a dataset as one policy takes them."""

    dataset: Dataset
    modalities: tuple[str, ...]
    frames: NDArray[np.uint8] | None = None  # (N, V, H, W, 3); None without an image stem
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # modality to (N, V, cells, width)
    # Of the same, made of changed images: modality to any number of (N, V, cells, width)
    copies: Mapping[str, tuple[NDArray[Any], ...]] = field(default_factory=dict)
    tasks: NDArray[np.int64] | None = None  # of the dataset's tasks, their positions among the policy's

    def batch(
        self, windows: Windows, samples: NDArray[np.int64], copy: NDArray[np.int64] | None = None
    ) -> Batch:
        """Gather some samples; "task" is an index into the policy's tasks.

        Args:
            windows: of the episodes that the samples are of.
            samples: (B,) indices of `windows`.
            copy: (B,), which of the `copies` features are taken from, counted from 1; 0, and None: from `features`.
        """
        batch = gather(self.dataset, self.frames, windows, samples, self.modalities, features=self.features)
        for name, copies in self.copies.items() if copy is not None else ():
            given = batch.inputs[MODALITIES[name].inputs[0]]
            for number, values in enumerate(copies, 1):
                here = copy == number
                given[here] = values[windows.rows(samples[here])[0]]
        if self.tasks is None:
            return batch
        return replace(batch, inputs={**batch.inputs, "task": self.tasks[batch.inputs["task"]]})


def open_batch_source(
    policy: Policy,
    dataset: Dataset,
    cache_root: str | Path | None,
    report: Reporter,
    *,
    cache_features: bool = False,
    changed: AugmentConfig | None = None,
    copies: int = 0,
    name: str = "",
) -> BatchSource:
    """Open what the policy needs of a dataset; decodes, or encodes, what is not in the cache yet, and says so.

    Args:
        policy: with the weights that its frozen encoder will keep.
        dataset: opened.
        cache_root: folder of the caches, see `open_cache`.
        report: where messages go.
        cache_features: encode every frame once; the image encoder must be frozen.
        changed, copies: encode it so many times more, changed at random so strongly. All frames of an episode and view
            are changed alike in one copy; the changes do not depend on a run's seed, so that runs share the copies.
        name: of the dataset, for messages; empty where there is only one.

    Raises:
        HptError: the dataset has a task that the policy does not know, or the cache cannot be made.
    """
    config = policy.config
    frames: NDArray[np.uint8] | None = None
    features: dict[str, NDArray[Any]] = {}
    more: dict[str, tuple[NDArray[Any], ...]] = {}
    of = f" of {name}" if name else ""
    for (
        stream
    ) in dataset.embodiment.streams:  # what is stored is written out now, not by each process that reads
        modality = MODALITIES[stream.modality]
        if modality.name in config.modalities and modality.layout is Layout.STACKED and not modality.video:
            _ = dataset.arrays[stream_feature(modality.name, stream.name)]
    if "image" in config.modalities:
        cache = open_cache(
            dataset,
            cache_root,
            progress=lambda done, total: report.bar(f"decoding{of}", done, total),
            say=report.say,
        )
        frames = cache.frames
        report.say(f"frames{of}: {cache.note}")
    if cache_features:
        found = tuple(
            open_feature_cache(
                dataset,
                frames,
                _Encode(policy, dataset, changed if number else None, number),
                _key(policy, changed if number else None, number),
                cache_root,
                progress=lambda done, total: report.bar(f"encoding{of}", done, total),
                say=report.say,
                workers=pool_size() if policy.device.type == "cpu" else 0,
            )
            for number in range(copies + 1)
        )
        features["image"], more["image"] = found[0], found[1:]
        shape, size = found[0].shape, sum(values.nbytes for values in found) / 2**20
        times = f"once and {copies} times changed" if copies else "once"
        report.say(f"features{of}: of every frame {times}, {shape[2]} cells of {shape[3]} ({size:.1f} MiB)")
    tasks = task_places(policy, dataset) if "language" in config.modalities else None
    return BatchSource(dataset, config.modalities, frames, features, more, tasks)


def encoder_digest(policy: Policy) -> str:
    """SHA-256 over all that the image features of a frame depend on besides the frame."""
    config = policy.config
    size = [config.views, *config.image_size()]
    digest = hashlib.sha256(json.dumps([to_mapping(config.image_encoder), size], sort_keys=True).encode())
    for name, value in sorted(policy.encoders["image"].state_dict().items()):
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _key(policy: Policy, changed: AugmentConfig | None, copy: int) -> str:
    """All that a copy of the image features depends on besides the frames."""
    if changed is None:
        return encoder_digest(policy)
    strengths = {key: value for key, value in to_mapping(changed).items() if key != "state_noise"}
    return json.dumps([encoder_digest(policy), copy, strengths], sort_keys=True)


@dataclass(frozen=True, slots=True)
class _Encode:
    """Features of images of some rows of a dataset, which are changed first if that is wanted."""

    policy: Policy
    dataset: Dataset
    changed: AugmentConfig | None
    copy: int

    @torch.inference_mode()
    def __call__(self, pictures: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features (n, V, cells, width) of pictures (n, V, H, W, 3)."""
        images = torch.from_numpy(np.ascontiguousarray(pictures))[:, None].to(self.policy.device)
        if self.changed is not None:
            changes = self._changes(self.changed, tuple(images.shape), rows)
            images = change_images(images, changes.map(lambda tensor: tensor.to(images.device)))
        return self.policy.encode_images(images)[:, 0].to("cpu", torch.float32).numpy()

    def _changes(
        self, strengths: AugmentConfig, shape: tuple[int, ...], rows: NDArray[np.int64]
    ) -> ImageChanges:
        """One change for each episode and view."""
        ends = [episode.stop for episode in self.dataset.episodes]
        of, which = np.unique(np.searchsorted(ends, rows, side="right"), return_inverse=True)
        drawn = []
        for index in of.tolist():
            seed = np.random.SeedSequence([self.copy, index]).generate_state(1, np.uint64)[0]
            random = torch.Generator().manual_seed(int(seed) >> 1)
            drawn.append(draw_image_changes((1, *shape[1:]), strengths, random))
        return stack_changes(drawn).map(lambda tensor: tensor[torch.from_numpy(which)])


def task_places(policy: Policy, dataset: Dataset) -> NDArray[np.int64]:
    """Return the position of each of a dataset's tasks among the policy's; raises BatchSourceError where unknown."""
    known = policy.config.tasks
    for task in dataset.tasks:
        if task not in known:
            raise BatchSourceError(
                Code.UNKNOWN, f"a task of dataset {str(dataset.root)!r}", task, known=known,
                remedy="train the policy with that task, or choose another dataset",
            )  # fmt: skip
    return np.array([known.index(task) for task in dataset.tasks], dtype=np.int64)
