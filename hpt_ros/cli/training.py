# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What `hpt finetune`, `hpt pretrain` and `hpt study` have in common: options of a run, and how one ends."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP, is_out_of_memory
from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.dataset import Dataset
    from hpt_ros.learning import InitialWeights, Recipe, Result
    from hpt_ros.learning.distributed import Processes
    from hpt_ros.learning.mixture import Mixture


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `hpt finetune` and `hpt pretrain` have in common."""
    parser.add_argument(
        "--trunk",
        metavar="FILE",
        help="pre-trained trunk: trunk.pth, model.pth, a checkpoint, or hf://user/repo[/file]",
    )
    parser.add_argument(
        "--shared",
        metavar="CHECKPOINT",
        help="what the robots of a pre-training share besides the trunk (policy.shared of its recipe), as the image "
        "encoder; with --trunk or without",
    )
    parser.add_argument(
        "--image-encoder",
        metavar="FILE",
        help="weights of the image encoder: a file, a folder, or hf://user/repo[/file]; of ResNet-18 with "
        "torchvision's names, or as timm or transformers published them; or a checkpoint with the same encoder",
    )
    parser.add_argument(
        "--language-model",
        metavar="FOLDER",
        help="folder, or name on the Hugging Face hub, of the language model that embeds the tasks; default: the "
        "recipe's policy.language.model",
    )
    parser.add_argument(
        "--init",
        metavar="CHECKPOINT",
        help="start from all weights of this checkpoint, or of the policy of the same robot in one of several; without "
        "--recipe the policy is built as there",
    )
    parser.add_argument(
        "--init-statistics",
        action="store_true",
        help="normalise as the checkpoint of --init does, with wider limits where the data go beyond its; default: as "
        "the data alone ask for",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be trained, what memory and time it would take, and write nothing",
    )
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
        "--resume",
        action="store_true",
        help="go on with the run in OUT, to its recipe's last step; --set may change how much memory it takes",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="folder for decoded frames and cached features (default: beside the dataset)",
    )
    parser.add_argument("--device", default=DEFAULT_DEVICE, help=DEVICE_HELP)
    parser.add_argument(
        "--wandb",
        default="",
        metavar="PROJECT",
        help="draw the run in this project of Weights & Biases too (extra wandb)",
    )
    parser.add_argument(
        "--readers",
        type=int,
        metavar="N",
        help="processes that make batches, for each process of the run; 0: a thread; default: the cores that the "
        "network leaves. The result does not depend on it",
    )


def run_or_describe(
    args: argparse.Namespace,
    data: Dataset | Mixture,
    recipe: Recipe,
    report: Terminal,
    all_processes: Processes,
    *,
    resume: bool,
) -> int:
    """Train, or with --dry-run print what training would be; returns the exit status."""
    from hpt_ros.learning import train
    from hpt_ros.learning.dry_run import dry_run
    from hpt_ros.learning.mixture import Mixture, mixture_of
    from hpt_ros.learning.run_folder import require_usable

    if args.dry_run:
        if resume or all_processes.world > 1:
            raise HptError(
                Code.CONFLICT, "--dry-run", problem="is of a run that starts, in one process",
                remedy="leave --resume and torchrun out",
            )  # fmt: skip
        require_usable(Path(args.out), resume=False)
        mixture = (
            data if isinstance(data, Mixture) else mixture_of(data, recipe.validation_ratio, recipe.seed)
        )
        found = dry_run(mixture, recipe, start_of(args), report, all_processes)
        print("\n".join(found.lines()))
        return 0
    try:
        result = train(
            data,
            recipe,
            args.out,
            start=start_of(args),
            resume=resume,
            cache_root=args.cache,
            report=report,
            command=shlex.join(["hpt", *sys.argv[1:]]),
            wandb=args.wandb,
            processes=all_processes,
            readers=choose_readers(args, recipe, all_processes.device),
        )
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise _explain_memory(error, recipe, Path(args.out), all_processes.world) from error
    return conclude(result, Path(args.out))


def _explain_memory(error: Exception, recipe: Recipe, out: Path, world: int) -> HptError:
    """The error of a run whose memory ran out: what to change, so that it learns the same."""
    from hpt_ros.learning.resume_state import FILE

    at_once = min(recipe.micro_batch or recipe.batch_size, recipe.batch_size // world)
    less = f"--set micro_batch={at_once // 2}" if at_once > 1 else "--set activation_checkpointing=true"
    saved = (out / FILE).is_file()
    how = f"go on from its last save with --resume {less}" if saved else f"start it with {less}"
    return HptError(
        Code.UNAVAILABLE, "memory", at_once, problem="does not suffice for {value} samples at once", cause=error,
        remedy=f"{how}, which changes rounding and the random numbers of dropout alone, or take a smaller --batch-size "
        "in another run",
    )  # fmt: skip


def choose_recipe(args: argparse.Namespace, default: str) -> tuple[Recipe, bool]:
    """The recipe that a run's arguments name, and whether it resumes; torchrun's restarts do, if there is a state.

    Raises:
        HptError: arguments that contradict each other, or no such recipe.
    """
    from hpt_ros.learning import load_recipe, load_saved_recipe
    from hpt_ros.learning.distributed import is_restarted
    from hpt_ros.learning.initial_weights import structure_of
    from hpt_ros.learning.resume_state import FILE, RESUMABLE
    from hpt_ros.resources import config_path

    out = Path(args.out)
    changes = [text for text in args.set if text.partition("=")[0].strip() in RESUMABLE]
    if is_restarted() and (out / FILE).is_file():
        return load_saved_recipe(out, changes), True
    if args.resume:
        if args.recipe or args.set != changes or args.iterations is not None or args.batch_size is not None:
            raise HptError(
                Code.UNEXPECTED, "--resume",
                problem="goes on with the run's own recipe, so --recipe, --iterations, --batch-size, and --set of "
                f"other keys than {', '.join(RESUMABLE)} cannot be given with it",
                remedy="leave them out; to train longer, start another run from its weights with --init "
                f"{str(out / 'last')!r} and --iterations, whose learning rate rises and falls once more",
            )  # fmt: skip
        weights = (
            args.trunk,
            args.init,
            args.init_statistics,
            args.image_encoder,
            args.language_model,
            args.shared,
        )
        if any(weights):
            raise HptError(
                Code.UNEXPECTED, "--resume",
                problem="goes on with the run's own weights, so --trunk, --shared, --image-encoder, --language-model, "
                "--init and --init-statistics cannot be given", remedy="leave them out",
            )  # fmt: skip
        return load_saved_recipe(out, changes), True
    recipe = load_recipe(
        config_path("recipes", args.recipe or default),
        args.set,
        policy=structure_of(named)
        if (named := _find_shipped(args.init)) and not (args.recipe or args.trunk)
        else None,
        iterations=args.iterations,
        batch_size=args.batch_size,
    )
    return recipe, False


def choose_readers(args: argparse.Namespace, recipe: Recipe, device: str) -> int:
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


def start_of(args: argparse.Namespace) -> InitialWeights:
    """Where a run's arguments say that its weights come from."""
    from hpt_ros.learning import InitialWeights

    return InitialWeights(
        _find_shipped(args.trunk),
        args.image_encoder,
        _find_shipped(args.init),
        args.language_model,
        shared=_find_shipped(args.shared),
        init_statistics=args.init_statistics,
    )


def conclude(result: Result, out: Path) -> int:
    """Print how a run ended; returns the exit status."""
    from hpt_ros.learning.run_log import REPORT

    if os.environ.get("RANK", "0") != "0":
        return 130 if result.interrupted else 0
    speed = f"{result.samples_per_s:.0f} samples/s, {100 * result.data_wait_ratio:.1f} % of the time waiting for data"
    if result.interrupted:
        print(
            f"interrupted after step {result.steps} and saved in {out}; go on with --resume ({speed})",
            file=sys.stderr,
        )
        return 130
    best = out / ("best" if result.best_error is not None else "last")
    early = ", then stopped early, as validations became no better" if result.stopped_early else ""
    print(
        f"trained {result.steps} steps{early} ({speed}); the best checkpoint is {best}, the report {out / REPORT}"
    )
    return 0


def unless_diverged(command: str, train: Callable[[], int]) -> int:
    """Return what `train` returns; 1 with its sentence if the loss became infinite or no number."""
    from hpt_ros.learning.divergence import DivergedError

    try:
        return train()
    except DivergedError as error:
        print(f"{command}: error: {error}", file=sys.stderr)
        return 1


def _find_shipped(checkpoint: str | None) -> str | None:
    """A shipped checkpoint's folder, if that is what is named; what it is instead, loading it explains."""
    from hpt_ros.resources import checkpoint_folder

    try:
        return None if checkpoint is None else str(checkpoint_folder(checkpoint))
    except HptError:
        return checkpoint
