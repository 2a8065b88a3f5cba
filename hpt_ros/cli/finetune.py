"""`hpt finetune`: train a policy of one robot from a dataset or straight from bags."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from hpt_ros.errors import HptError

if TYPE_CHECKING:
    from hpt_ros.embodiment import Embodiment

HELP = "train a policy from a dataset or from bags"
DEFAULT_RECIPE = "feed_dog"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--dataset", metavar="DIR", help="LeRobotDataset v3.0 folder, as `hpt convert` writes it"
    )
    source.add_argument("--bags", nargs="+", metavar="BAG", help="bags to convert first, into OUT/dataset")
    parser.add_argument("--embodiment", metavar="FILE", help="the robot; needed with --bags")
    parser.add_argument(
        "--out", required=True, metavar="RUN", help="folder for checkpoints (last/, best/) and metrics.jsonl"
    )
    parser.add_argument(
        "--recipe",
        metavar="FILE",
        help=f"recipe file, or the name of a shipped one: feed_dog (small, from scratch), hpt_base "
        f"(published trunk), multimodal (every modality); default {DEFAULT_RECIPE}, or the run's own with --resume",
    )
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
        "--resume", action="store_true", help="go on with the run in OUT, to its recipe's last step"
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="folder for decoded frames and cached features (default: beside the dataset)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default cpu)")


def run(args: argparse.Namespace) -> int:
    """Train; returns 0, or 130 when interrupted (the run is saved then)."""
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.learning import Start, load_recipe, open_dataset, read_recipe, saved_recipe, train

    device = checked_device(args.device)
    out = Path(args.out)
    if args.resume:
        if args.recipe or args.set or args.iterations is not None or args.batch_size is not None:
            raise HptError(
                "--resume goes on with the run's own recipe, so --recipe, --set, --iterations and --batch-size "
                "cannot be given with it; leave them out, or start another run with --init"
            )
        if args.trunk or args.init or args.image_encoder or args.language_model:
            raise HptError(
                "--resume goes on with the run's own weights, so --trunk, --image-encoder, --language-model and --init "
                "cannot be given; leave them out"
            )
        recipe = read_recipe(saved_recipe(out), where=f"the run {args.out!r}")
    else:
        recipe = load_recipe(
            recipe_path(args.recipe or DEFAULT_RECIPE),
            args.set,
            iterations=args.iterations,
            batch_size=args.batch_size,
        )
    robot = Embodiment.load(args.embodiment) if args.embodiment else None
    with Terminal() as report:
        folder = Path(args.dataset) if args.dataset else _converted(args, robot, out, report)
        result = train(
            open_dataset(folder, robot, cache_root=args.cache),
            recipe,
            out,
            start=Start(args.trunk, args.image_encoder, args.init, args.language_model),
            resume=args.resume,
            cache_root=args.cache,
            device=device,
            report=report,
            command=shlex.join(["hpt", *sys.argv[1:]]),
        )
    speed = f"{result.samples_per_s:.0f} samples/s, {100 * result.data_wait_share:.1f} % of the time waiting for data"
    if result.interrupted:
        print(
            f"interrupted after step {result.steps} and saved in {out}; go on with --resume ({speed})",
            file=sys.stderr,
        )
        return 130
    best = out / ("best" if result.best_error is not None else "last")
    print(f"trained {result.steps} steps ({speed}); the best checkpoint is {best}")
    return 0


def _converted(args: argparse.Namespace, robot: Embodiment | None, out: Path, report: Terminal) -> Path:
    """Convert the bags into OUT/dataset, or use what an interrupted run converted there."""
    from rosbag_tools.convert import convert

    folder = out / "dataset"
    if folder.exists():
        if args.resume:
            return folder
        raise HptError(
            f"{str(folder)!r} exists already; train from it with --dataset {shlex.quote(str(folder))} and "
            "another --out, or go on with its run with --resume"
        )
    if robot is None:
        raise HptError("--bags needs the robot that they are of; add --embodiment FILE")

    def show(doing: str, note: str, done: float, total: float) -> None:
        report.bar(doing, round(done), max(round(total), 1), note)

    convert(args.bags, folder, robot, progress=show)
    return folder


def recipe_path(name_or_path: str) -> Path:
    """Path of a recipe file; a bare name means a shipped one."""
    from hpt_ros.resources import config_file

    if Path(name_or_path).exists() or "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    return config_file(f"recipes/{name_or_path}.yaml")


def checked_device(name: str) -> str:
    """The device's name, if this machine has it; a missing device is an error, never a quiet change of device.

    Raises:
        HptError: unknown, or not there.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise HptError(f"--device is {name!r}, but cpu, cuda or cuda:N was expected; correct it") from error
    if device.type not in ("cpu", "cuda"):
        raise HptError(f"--device is {name!r}, but cpu, cuda or cuda:N was expected; correct it")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise HptError(
            f"--device is {name!r}, but PyTorch {torch.__version__} sees {count} CUDA devices; install a CUDA build of "
            "PyTorch, or train with --device cpu"
        )
    return name


class Terminal:
    """Lines and live bars on the terminal; plain lines where the output is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}

    def __enter__(self) -> Terminal:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, sentence: str) -> None:
        """Print the line above the bars."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        """Move the bar; without a terminal, print a line at every tenth."""
        if not self._console.is_terminal:
            tenth = done * 10 // total
            if tenth != self._tenths.get(label, 0):
                self._tenths[label] = tenth
                self.say(f"{label} {done}/{total} {note}".rstrip())
            return
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(label, total=total, note=note)
        self._progress.update(self._tasks[label], completed=done, total=total, note=note)
