# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Training, in samples a second, against a plain loop over the same dataset and against the network alone.

``.venv/bin/python benchmarks/training.py [--cases NAME...] [--device cuda] [--threads 1] [--workers 1] [--rounds 3]``

Three loops take turns, so that a noisy machine slows all; each makes the same step with the same network: loss,
gradient, clipping, AdamW, averaged weights. A rate is the median over the windows of all turns, without each turn's
first window.

- *ours*: `hpt_ros.learning.train`, with the recipe's random changes to images, metrics and interrupts; its own figures.
- *plain*: PyTorch's DataLoader, as many workers, over a dataset read as LeRobot's loader does it: each sample reads its
  row and its chunk of actions from the table, seeks in the video of each camera and decodes to the frame at its time.
  It is spared some of what LeRobot's does: videos stay open, images stay uint8, and nothing is changed at random.
- *network alone*: batches that are on the device already.

The dataset is made here: cameras whose scene moves, with a sensor's noise, in videos as `hpt convert` writes them.
Before anything is timed, plain and ours must give the same images and actions.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import camera_bags
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from hpt_ros.dataset import Dataset, DatasetWriter, open_dataset
from hpt_ros.errors import Code, HptError
from hpt_ros.learning import InitialWeights, Recipe, load_recipe, train
from hpt_ros.learning.batch_source import open_batch_source
from hpt_ros.learning.batches import BatchMaker, MicroBatch
from hpt_ros.learning.initial_weights import build_policy
from hpt_ros.learning.loader import spare_readers
from hpt_ros.learning.mixture import Mixture, mixture_of
from hpt_ros.learning.optimiser import build_optimiser, ema_decay_at, freeze, move_average, train_mode
from hpt_ros.learning.reporter import Silent
from hpt_ros.learning.statistics import training_statistics
from hpt_ros.learning.train import Losses
from hpt_ros.model.encoders import ResNet18
from hpt_ros.resources import config_file

EPISODES, TICKS, CAMERAS, TICK_HZ = 6, 100, 2, 10.0
RESIDENT = 4  # batches of the network alone, which take turns
QUIET = "augment={brightness: 0, contrast: 0, colour: 0, shift_px: 0}"


@dataclass(frozen=True)
class Case:
    """A network and cameras.

    Attributes:
        recipe: name of a shipped one.
        changes: of the recipe, as `--set` takes them.
        steps: of a window.
        resnet: whether it begins with a ResNet-18, of random weights: speed does not depend on them.
    """

    name: str
    recipe: str
    height: int
    width: int
    batch_size: int
    steps: int
    changes: tuple[str, ...] = ()
    resnet: bool = False


CASES = {
    "small": Case("small CNN, learned, 128x96", "feed_dog", 96, 128, 64, 8),
    "small_224": Case("small CNN, learned, 224x224", "feed_dog", 224, 224, 32, 6),
    "small_480": Case("small CNN, learned, 640x480", "feed_dog", 480, 640, 16, 4),
    "frozen": Case(
        "ResNet-18, frozen, 224x224", "hpt_base", 224, 224, 16, 2, ("horizon_masking=false",), resnet=True
    ),
    "cached": Case(
        "ResNet-18, frozen, 224x224, cached features", "hpt_base", 224, 224, 16, 2,
        ("cache_features=true", QUIET), resnet=True,
    ),
    "cached_480": Case(
        "ResNet-18, frozen, 640x480, cached features", "hpt_base", 480, 640, 16, 2,
        ("cache_features=true", QUIET), resnet=True,
    ),
}  # fmt: skip


def make_dataset(root: Path, height: int, width: int) -> Dataset:
    """Write a dataset of an arm with cameras."""
    robot = camera_bags.robot(CAMERAS, raw=True, height=height, width=width, tick_hz=TICK_HZ)
    with DatasetWriter(root, robot) as writer:
        for number in range(EPISODES):
            scenes = {
                stream.name: camera_bags.Scene(height, width, 10 * number + view)
                for view, stream in enumerate(robot.image_streams)
            }
            episode = writer.episode(robot.task)
            for tick in range(TICKS):
                time_s = tick / TICK_HZ
                angles = np.sin(np.arange(robot.action.dim) + number + time_s).astype(np.float32)
                images = {f"observation.images.{name}": scene.at(time_s) for name, scene in scenes.items()}
                episode.add({"observation.state": angles, "action": angles + 0.01, **images})
            writer.append(episode.finish())
        writer.finish()
    return open_dataset(root)


class PlainDataset(torch.utils.data.Dataset[dict[str, Tensor]]):
    """One sample at a time from a dataset's files: rows from its tables, images from its videos."""

    def __init__(self, dataset: Dataset) -> None:
        """Open the tables; videos are opened by who reads them first."""
        self._dataset = dataset
        self._table = pa.concat_tables(
            [pq.read_table(path) for path in sorted(dataset.root.glob("data/*/*.parquet"))]
        )
        self._of = np.repeat(np.arange(len(dataset.episodes)), [e.length for e in dataset.episodes])
        self._videos: dict[Path, Any] = {}

    def __len__(self) -> int:
        return self._dataset.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        episode = self._dataset.episodes[self._of[index]]
        horizon = self._dataset.embodiment.action.horizon
        (row,) = self._table.slice(index, 1).to_pylist()
        wanted = np.arange(index, index + horizon)
        rows = np.minimum(wanted, episode.stop - 1)
        actions = self._table.column("action").take(pa.array(rows)).to_pylist()
        images = [self._frame(span.path, span.first_frame + index - episode.start) for span in episode.videos]
        return {
            "image": torch.from_numpy(np.stack(images))[None],  # (T, V, H, W, 3)
            "state": torch.tensor(row["observation.state"])[None],
            "action": torch.tensor(actions),
            "is_pad": torch.from_numpy(wanted >= episode.stop),
        }

    def _frame(self, path: Path, number: int) -> NDArray[np.uint8]:
        if path not in self._videos:
            self._videos[path] = av.open(str(path))
        container = self._videos[path]
        stream = container.streams.video[0]
        container.seek(round(number / TICK_HZ / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.time >= (number - 0.5) / TICK_HZ:
                found: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
                return found
        raise HptError(Code.MISSING, str(path), problem=f"has no frame {number}")


@dataclass
class Step:
    """The network and one optimiser step of it."""

    mixture: Mixture
    recipe: Recipe
    start: InitialWeights
    device: str
    done: int = 0
    rates: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Build it as a run does."""
        torch.manual_seed(0)
        torch.set_num_threads(self.recipe.threads)
        (member,) = self.mixture.members
        measured = training_statistics([(member.dataset, member.split)])
        policy = build_policy(
            self.recipe, self.mixture, {member.embodiment: measured}, self.start, lambda _: None, resume=False
        )
        self.policy = policy.to(self.device)
        self.average = build_policy(
            self.recipe, self.mixture, {member.embodiment: measured}, self.start, lambda _: None, resume=False
        ).to(self.device)
        freeze(self.policy, self.recipe, 0)
        self.optimiser = build_optimiser(self.policy, self.recipe)
        self.losses = Losses(self.policy)
        train_mode(self.policy, self.recipe, 0)
        self.loss_sum = torch.zeros((), device=self.device)

    def __call__(self, batch: MicroBatch) -> None:
        """Learn from a batch on the device."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.losses(batch)
        loss.backward()
        self.loss_sum += loss.detach()
        if self.recipe.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.recipe.gradient_clip)
        self.optimiser.step()
        move_average(self.average, self.policy, ema_decay_at(self.recipe.ema_decay, self.done))
        self.done += 1

    def time_windows(self, batches: Iterator[MicroBatch], steps: int, windows: int) -> list[float]:
        """Samples a second of each window but the first."""
        rates = []
        for window in range(windows + 1):
            began = time.perf_counter()
            for _ in range(steps):
                self(next(batches))
            float(self.loss_sum)  # waits for the device, as a line of metrics does
            if window:
                rates.append(steps * self.recipe.batch_size / (time.perf_counter() - began))
        return rates


def keep(worker: int) -> None:
    """Free nothing that was there before the fork: a decoder would wait for its threads, which are not here."""
    gc.freeze()


def plain_batches(dataset: Dataset, recipe: Recipe, workers: int, device: str) -> Iterator[MicroBatch]:
    """Batches of the plain loop, without end."""
    gc.collect()
    loader = DataLoader(
        PlainDataset(dataset), recipe.batch_size, shuffle=True, num_workers=workers, drop_last=True,
        worker_init_fn=keep,
        pin_memory=device != "cpu",
    )  # fmt: skip
    name = dataset.embodiment.name
    while True:
        for item in loader:
            there = {key: value.to(device, non_blocking=True) for key, value in item.items()}
            action, is_pad = there.pop("action"), there.pop("is_pad")
            yield MicroBatch(name, there, action, is_pad, 1.0, 0, 0, np.zeros(0, dtype=np.int64))


def require_same(dataset: Dataset, frames: NDArray[np.uint8]) -> None:
    """Raise unless the plain loop reads the images and actions that are in the cache and in memory."""
    plain = PlainDataset(dataset)
    for index in range(0, dataset.length, 37):
        sample = plain[index]
        if not np.array_equal(sample["image"][0].numpy(), frames[index]) or not np.array_equal(
            sample["action"][0].numpy(), dataset.action[index]
        ):
            raise HptError(Code.MISMATCH, "the plain loop", problem=f"reads another sample {index}")


def measure(
    case: Case, folder: Path, args: argparse.Namespace, workers: int, console: Console
) -> dict[str, list[float]]:
    """Let the three loops take turns."""
    root = folder / f"{case.height}x{case.width}"
    dataset = open_dataset(root) if root.is_dir() else make_dataset(root, case.height, case.width)
    changes = [
        *case.changes, "iterations=1000000", f"log_every={case.steps}", "validation_every=1000000",
        "validation_ratio=0.0", f"batch_size={case.batch_size}", f"threads={args.threads}",
        f"precision={args.precision}", "policy.horizon_masking=false",
    ]  # fmt: skip
    changes = [change for change in changes if change != "horizon_masking=false"]
    recipe = load_recipe(config_file(f"recipes/{case.recipe}.yaml"), changes)
    start = InitialWeights()
    if case.resnet:
        torch.manual_seed(0)
        torch.save(ResNet18().state_dict(), folder / "resnet18.pth")
        start = InitialWeights(image_encoder=str(folder / "resnet18.pth"))
    mixture = mixture_of(dataset, 0.0, 0)
    network = Step(mixture, recipe, start, args.device)
    (name,) = mixture.robots
    console.print(f"{case.name}: caching", style="dim")
    source = open_batch_source(network.policy.single(name), dataset, folder / "cache", Silent())
    assert source.frames is not None
    require_same(dataset, source.frames)
    if recipe.cache_features:
        source = open_batch_source(
            network.policy.single(name), dataset, folder / "cache", Silent(), cache_features=True
        )
    quiet = replace(recipe, augment=replace(recipe.augment, state_noise=0.0))
    make = BatchMaker(mixture, [source], quiet, device=args.device)
    resident = [make(step)[0].on(args.device) for step in range(RESIDENT)]

    def alone() -> Iterator[MicroBatch]:
        while True:
            yield from resident

    found: dict[str, list[float]] = {"plain": [], "ours": [], "alone": [], "waiting": []}
    for turn in range(args.rounds):
        console.print(f"{case.name}, turn {turn + 1} of {args.rounds}: plain", style="dim")
        with closing(plain_batches(dataset, recipe, workers, args.device)) as batches:  # type: ignore[type-var]
            found["plain"] += network.time_windows(batches, case.steps, args.windows)
        console.print(f"{case.name}, turn {turn + 1} of {args.rounds}: ours", style="dim")
        with tempfile.TemporaryDirectory(dir=folder) as out:
            train(
                mixture, recipe, Path(out) / "run", start=start, cache_root=folder / "cache", device=args.device,
                stop_after=case.steps * (args.windows + 1), readers=workers if args.readers is None else args.readers,
            )  # fmt: skip
            lines = map(json.loads, (Path(out) / "run/metrics.jsonl").read_text().splitlines())
            logged = [line for line in lines if "samples_per_s" in line]
            found["ours"] += [line["samples_per_s"] for line in logged[1:]]
            found["waiting"].append(logged[-1]["data_wait_ratio"])
        console.print(f"{case.name}, turn {turn + 1} of {args.rounds}: network alone", style="dim")
        with closing(alone()) as batches:  # type: ignore[type-var]
            found["alone"] += network.time_windows(batches, case.steps, args.windows)
    return found


def main() -> int:
    """Measure, print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that read, of both loops; default: the cores that are left, at least 1",
    )
    parser.add_argument("--readers", type=int, help="those of ours, where they are to be others; 0: a thread")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each loop")
    parser.add_argument("--windows", type=int, default=2, help="windows of a turn that count")
    args = parser.parse_args()
    workers = args.workers or max(1, spare_readers(args.device, args.threads))
    console = Console(width=150)
    table = Table(
        title=f"samples/s on {args.device}, {args.threads} threads, {args.precision}, {workers} processes that read; "
        f"PyTorch {torch.__version__}; load {os.getloadavg()[0]:.1f} at the start"
    )
    for column in (
        "network, two cameras", "batch", "plain", "ours", "network alone", "ours / plain", "of the network alone",
        "waiting", "load",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column.startswith("network,") else "right")
    with tempfile.TemporaryDirectory(prefix="hpt-training-") as folder:
        for name in args.cases:
            case = CASES[name]
            found = measure(case, Path(folder), args, workers, console)
            plain, ours, alone = (statistics.median(found[key]) for key in ("plain", "ours", "alone"))
            row = (
                case.name, str(case.batch_size), f"{plain:.1f}", f"{ours:.1f}", f"{alone:.1f}", f"{ours / plain:.2f}",
                f"{100 * ours / alone:.0f} %", f"{100 * statistics.median(found['waiting']):.0f} %",
                f"{os.getloadavg()[0]:.1f}",
            )  # fmt: skip
            console.print(*row, sep=" | ")  # retained, should the next case be interrupted
            table.add_row(*row)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
