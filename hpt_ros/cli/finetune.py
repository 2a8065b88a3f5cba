# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt finetune`: train a policy of one robot from a dataset or straight from bags."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.cli.training import add_run_arguments, choose_recipe, run_or_describe, unless_diverged
from hpt_ros.errors import Code, HptError
from hpt_ros.resources import DEMO

if TYPE_CHECKING:
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.dataset import Dataset
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.learning import Recipe
    from hpt_ros.learning.mixture import Mixture

DATASET = "dataset"  # what bags are converted to, in the run's folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATASET|BAG|MIXTURE",
        help="LeRobotDataset v3.0 folders of one robot, as `hpt convert` writes them; bags to convert first, into "
        "OUT/dataset; or a YAML file that lists datasets of one robot, as for `hpt pretrain`",
    )
    parser.add_argument(
        "--weights",
        metavar="W,W",
        help="how much of the samples is of each of several datasets, relative to the others; default: by the square "
        "root of their sizes",
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
        help=f"recipe file, or the name of a shipped one: {DEMO} (small, from scratch), hpt_base "
        f"(published trunk), multimodal (every modality); default {DEMO}, or the run's own with --resume",
    )
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train; returns 0, 1 when the loss became infinite, or 130 when interrupted (the run is saved then)."""
    return unless_diverged("hpt finetune", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.learning.distributed import processes

    with Terminal() as report, processes(args.device) as all_processes:
        recipe, resume = choose_recipe(args, DEMO)
        robot = Embodiment.load(args.embodiment) if args.embodiment else None
        folders = list(args.data)
        if _are_bags(args.data):
            folders = [str(Path(args.out) / DATASET)]
            if args.dry_run:
                raise HptError(
                    Code.UNSUPPORTED, "--dry-run", args.data[0], problem="reads datasets, but {value} is a bag",
                    remedy="convert it first with 'hpt convert'",
                )  # fmt: skip
            if all_processes.first:
                _convert(args, robot, Path(folders[0]), report, resume=resume)
            all_processes.wait_for_first()
        data = _open(args, folders, robot, recipe)
        return run_or_describe(args, data, recipe, report, all_processes, resume=resume)


def _open(
    args: argparse.Namespace, folders: list[str], robot: Embodiment | None, recipe: Recipe
) -> Dataset | Mixture:
    """The dataset, or the datasets of one robot."""
    from hpt_ros.dataset import open_dataset
    from hpt_ros.dataset.selection import read_episode_list
    from hpt_ros.learning.mixture_config import load_mixture
    from hpt_ros.learning.one_robot import datasets_with_weights, open_one_robot

    mixture = len(folders) == 1 and Path(folders[0]).suffix in (".yaml", ".yml")
    several = mixture or len(folders) > 1
    for given, option in ((args.episodes, "--episodes"), (args.weights, "--weights")):
        if given and option == "--weights" and not several:
            raise HptError(
                Code.UNEXPECTED, option, args.weights, problem="is {value}, but there is one dataset",
                remedy="name more datasets, or leave it out",
            )  # fmt: skip
        if given and several and (mixture or option == "--episodes"):
            what = (
                "a mixture's file has weights of its own"
                if option == "--weights"
                else "there are several datasets"
            )
            raise HptError(Code.CONFLICT, option, problem=f"is given, but {what}", remedy="leave it out")
    if not several:
        dataset = open_dataset(folders[0], robot, cache_root=args.cache)
        return dataset.select(read_episode_list(args.episodes)) if args.episodes else dataset
    if mixture and robot is not None:
        raise HptError(
            Code.CONFLICT, "--embodiment", problem="is given, but a mixture's file names embodiments itself",
            remedy="leave it out",
        )  # fmt: skip
    config = (
        load_mixture(folders[0])
        if mixture
        else datasets_with_weights(folders, args.weights, args.embodiment or "")
    )
    return open_one_robot(config, recipe.validation_ratio, recipe.seed, cache_root=args.cache)


def _are_bags(data: list[str]) -> bool:
    """Whether the data are bags; what is neither these nor datasets, opening it as a dataset explains.

    Raises:
        HptError: some are bags, and some are not.
    """
    from hpt_ros.cli.view import is_bag

    bags = [path for path in data if is_bag(Path(path))]
    if bags and len(bags) < len(data):
        other = next(path for path in data if path not in bags)
        raise HptError(
            Code.CONFLICT, "the data", problem=f"are bags, as {bags[0]!r}, and others, as {other!r}",
            remedy="convert the bags first with 'hpt convert', and give datasets alone",
        )  # fmt: skip
    return bool(bags)


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
