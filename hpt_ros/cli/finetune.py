# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt finetune`: train a policy of one robot from a dataset or straight from bags."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP, choose_device
from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.learning import Recipe, Result, Start

DEFAULT_RECIPE = "feed_dog"
DATASET = "dataset"  # what bags are converted to, in the run's folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATASET|BAG",
        help="LeRobotDataset v3.0 folder, as `hpt convert` writes it, or bags to convert first, into OUT/dataset",
    )
    parser.add_argument(
        "--embodiment", metavar="FILE", help="the robot's file, or a shipped name; left out: the data's own"
    )
    parser.add_argument(
        "--out", required=True, metavar="RUN", help="folder for checkpoints (last/, best/) and metrics.jsonl"
    )
    parser.add_argument(
        "--recipe",
        metavar="FILE",
        help=f"recipe file, or the name of a shipped one: feed_dog (small, from scratch), hpt_base "
        f"(published trunk), multimodal (every modality); default {DEFAULT_RECIPE}, or the run's own with --resume",
    )
    add_run_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `hpt finetune` and `hpt pretrain` have in common."""
    parser.add_argument(
        "--trunk",
        metavar="FILE",
        help="pre-trained trunk: trunk.pth, model.pth, a checkpoint, or hf://user/repo[/file]",
    )
    parser.add_argument(
        "--image-encoder",
        metavar="FILE",
        help="weights of the image encoder: a file, a folder, or hf://user/repo[/file]; of ResNet-18 with "
        "torchvision's names, or as timm or transformers published them",
    )
    parser.add_argument(
        "--language-model",
        metavar="FOLDER",
        help="folder, or name on the Hugging Face hub, of the language model that embeds the tasks; default: the "
        "recipe's policy.language.model",
    )
    parser.add_argument("--init", metavar="CHECKPOINT", help="start from all weights of this checkpoint")
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="optimiser steps, instead of the recipe's"
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="samples in a step, instead of the recipe's"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the recipe"
    )
    parser.add_argument(
        "--episodes",
        type=Path,
        metavar="FILE.json",
        help="train on these alone, as `hpt quality --keep` lists them",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in OUT, to its recipe's last step"
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="folder for decoded frames and cached features (default: beside the dataset)",
    )
    parser.add_argument("--device", default=DEFAULT_DEVICE, help=DEVICE_HELP)
    parser.add_argument(
        "--readers",
        type=int,
        metavar="N",
        help="processes that make batches, for each process of the run; 0: a thread; default: the cores that the "
        "network leaves. The result does not depend on it",
    )


def run(args: argparse.Namespace) -> int:
    """Train; returns 0, 1 when the loss became infinite, or 130 when interrupted (the run is saved then)."""
    return unless_diverged("hpt finetune", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.dataset import open_dataset
    from hpt_ros.dataset.selection import read_episode_list
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.learning import train
    from hpt_ros.learning.distributed import processes

    choose_device(args.device)
    out = Path(args.out)
    recipe, resume = chosen_recipe(args, DEFAULT_RECIPE)
    robot = Embodiment.load(args.embodiment) if args.embodiment else None
    with Terminal() as report, processes(args.device) as all_processes:
        folder = Path(args.data[0]) if _is_dataset(args.data) else out / DATASET
        if not _is_dataset(args.data) and all_processes.first:
            _convert(args, robot, folder, report, resume=resume)
        all_processes.wait_for_first()
        dataset = open_dataset(folder, robot, cache_root=args.cache)
        if args.episodes:
            dataset = dataset.select(read_episode_list(args.episodes))
        result = train(
            dataset,
            recipe,
            out,
            start=start_of(args),
            resume=resume,
            cache_root=args.cache,
            report=report,
            command=shlex.join(["hpt", *sys.argv[1:]]),
            processes=all_processes,
            readers=chosen_readers(args, recipe, all_processes.device),
        )
    return conclude(result, out)


def chosen_recipe(args: argparse.Namespace, default: str) -> tuple[Recipe, bool]:
    """The recipe that a run's arguments name, and whether it resumes; torchrun's restarts do, if there is a state.

    Raises:
        HptError: arguments that contradict each other, or no such recipe.
    """
    from hpt_ros.learning import load_recipe, read_recipe, saved_recipe
    from hpt_ros.learning.distributed import restarted
    from hpt_ros.learning.state import FILE
    from hpt_ros.resources import config_path

    out = Path(args.out)
    if restarted() and (out / FILE).is_file():
        return read_recipe(saved_recipe(out), where=f"the run {args.out!r}"), True
    if args.resume:
        if args.recipe or args.set or args.iterations is not None or args.batch_size is not None:
            raise HptError(
                Code.UNEXPECTED, "--resume",
                problem="goes on with the run's own recipe, so --recipe, --set, --iterations and "
                "--batch-size cannot be given with it",
                remedy="leave them out, or start another run with --init",
            )  # fmt: skip
        if args.trunk or args.init or args.image_encoder or args.language_model:
            raise HptError(
                Code.UNEXPECTED, "--resume",
                problem="goes on with the run's own weights, so --trunk, --image-encoder, --language-model "
                "and --init cannot be given", remedy="leave them out",
            )  # fmt: skip
        return read_recipe(saved_recipe(out), where=f"the run {args.out!r}"), True
    recipe = load_recipe(
        config_path("recipes", args.recipe or default),
        args.set,
        iterations=args.iterations,
        batch_size=args.batch_size,
    )
    return recipe, False


def chosen_readers(args: argparse.Namespace, recipe: Recipe, device: str) -> int:
    """Number of processes that make batches.

    Raises:
        HptError: a number below 0.
    """
    import torch

    from hpt_ros.learning.loader import spare_readers

    if args.readers is None:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return spare_readers(device, recipe.threads or torch.get_num_threads(), local)
    if args.readers < 0:
        raise HptError(Code.OUT_OF_RANGE, "--readers", args.readers, expected="0 or more")
    return int(args.readers)


def start_of(args: argparse.Namespace) -> Start:
    """Where a run's arguments say that its weights come from."""
    from hpt_ros.learning import Start

    return Start(_named(args.trunk), args.image_encoder, _named(args.init), args.language_model)


def conclude(result: Result, out: Path) -> int:
    """Print how a run ended; returns the exit status."""
    if os.environ.get("RANK", "0") != "0":
        return 130 if result.interrupted else 0
    speed = f"{result.samples_per_s:.0f} samples/s, {100 * result.data_wait_share:.1f} % of the time waiting for data"
    if result.interrupted:
        print(
            f"interrupted after step {result.steps} and saved in {out}; go on with --resume ({speed})",
            file=sys.stderr,
        )
        return 130
    best = out / ("best" if result.best_error is not None else "last")
    early = ", then stopped early, as validations became no better" if result.stopped_early else ""
    print(f"trained {result.steps} steps{early} ({speed}); the best checkpoint is {best}")
    return 0


def unless_diverged(command: str, train: Callable[[], int]) -> int:
    """Return what `train` returns; 1 with its sentence if the loss became infinite or no number."""
    from hpt_ros.learning.divergence import DivergedError

    try:
        return train()
    except DivergedError as error:
        print(f"{command}: error: {error}", file=sys.stderr)
        return 1


def _named(checkpoint: str | None) -> str | None:
    """A shipped checkpoint's folder, if that is what is named; what it is instead, loading it explains."""
    from hpt_ros.resources import checkpoint_folder

    try:
        return None if checkpoint is None else str(checkpoint_folder(checkpoint))
    except HptError:
        return checkpoint


def _is_dataset(data: list[str]) -> bool:
    """Whether the data are one dataset; what is neither that nor bags, opening it as a dataset explains."""
    from hpt_ros.cli.view import is_bag

    return len(data) == 1 and not is_bag(Path(data[0]))


def _convert(
    args: argparse.Namespace, robot: Embodiment | None, folder: Path, report: Terminal, *, resume: bool
) -> None:
    """Convert the bags into the folder, or leave what an interrupted run converted there."""
    from rosbag_tools.converting.convert import convert

    if folder.exists():
        if resume:
            return
        raise HptError(
            Code.EXISTS, repr(str(folder)),
            remedy=f"train from it with 'hpt finetune {shlex.quote(str(folder))}' and another --out, or go on "
            "with its run with --resume",
        )  # fmt: skip

    def show(doing: str, note: str, done: float, total: float) -> None:
        report.bar(doing, round(done), max(round(total), 1), note)

    convert(args.data, folder, robot, progress=show)
