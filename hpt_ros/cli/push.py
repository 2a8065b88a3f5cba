# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt push`: a dataset or a policy to the Hugging Face hub, with its card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from hpt_ros.model.hub_upload import Upload

# What belongs to a dataset and to a checkpoint; whatever else lies in the folder stays where it is.
DATASET_FILES = ("meta/**/*", "data/**/*.parquet", "videos/**/*.mp4", "LICENSE*")
CHECKPOINT_FILES = (
    "config.yaml",
    "model.safetensors",
    "embodiment.yaml",
    "stats.json",
    "metrics.json",
    "embodiments/*/*",
    "LICENSE*",
)
CARDS = ("README.md", "card.md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "source",
        metavar="DATASET|CHECKPOINT",
        help="folder of a dataset or of a checkpoint, or a shipped one's name",
    )
    parser.add_argument(
        "repository", metavar="USER/NAME", help="repository on the hub; made if it is not there"
    )
    parser.add_argument(
        "--license",
        default="",
        metavar="ID",
        help="licence for the card as the hub names it, such as apache-2.0 or cc-by-4.0; left out: the card's own",
    )
    parser.add_argument("--tag", action="append", default=[], metavar="WORD", help="another tag for the card")
    parser.add_argument("--private", action="store_true", help="make the repository for your eyes alone")
    parser.add_argument("--message", default="", metavar="TEXT", help="of the commit")
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would be uploaded, and print the card"
    )


def run(args: argparse.Namespace) -> int:
    """List the files, upload them in one commit and print its address; returns 0."""
    from hpt_ros.cli.terminal import Results, Terminal
    from hpt_ros.model.hub_upload import check_repository, push

    repository = check_repository(args.repository)
    upload = _upload(args, repository)
    console = Results(highlight=False, markup=False, soft_wrap=True)
    for name, size in upload.sizes.items():
        console.print(f"{size / 1e6:10.3f} MB  {name}")
    total = sum(upload.sizes.values()) / 1e6
    what = f"{upload.kind} {repository}: {len(upload.sizes)} files, {total:.1f} MB"
    if args.dry_run:
        console.print(f"would be pushed to {what}; the card:\n\n{upload.card}")
        return 0
    with Terminal() as terminal:
        terminal.say(f"pushing to {what}")
        message = args.message or f"Push a {upload.kind} with hpt_ros"
        address = push(upload, repository, private=args.private, message=message)
    console.print(f"pushed: {address}")
    return 0


def _upload(args: argparse.Namespace, repository: str) -> Upload:
    from hpt_ros.dataset.layout import VERSION, is_dataset
    from hpt_ros.model.hub_upload import CARD, Upload, with_header
    from hpt_ros.resources import checkpoint_folder

    dataset = is_dataset(Path(args.source))
    root = Path(args.source) if dataset else checkpoint_folder(args.source)
    text, header = _dataset_card(root, repository) if dataset else _checkpoint_card(root)
    header["tags"] = list(dict.fromkeys([*header["tags"], *args.tag]))
    if args.license:
        header["license"] = args.license
    card = with_header(text, header, where=f"the card of {str(root)!r}")
    _require_licence(card, args, root)
    patterns = DATASET_FILES if dataset else CHECKPOINT_FILES
    found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    files = sorted(path for path in found if path.name != CARD and not _hidden(path, root))
    return Upload(root, tuple(files), card, "dataset" if dataset else "model", VERSION if dataset else "")


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _require_licence(card: str, args: argparse.Namespace, root: Path) -> None:
    from hpt_ros.model.hub_upload import read_header

    stated = read_header(card, where=str(root))[0].get("license")
    if not stated:
        raise HptError(
            Code.MISSING, f"the card of {args.source!r}", problem="states no licence",
            expected="one, so that others know what they may do", remedy="give --license, such as apache-2.0",
        )  # fmt: skip
    if args.license and stated != args.license:
        raise HptError(
            Code.CONFLICT, "--license", args.license, problem=f"is {{value}}, but the card states {stated!r}",
            remedy="leave it out, or correct the card",
        )  # fmt: skip


def _dataset_card(root: Path, repository: str) -> tuple[str, dict[str, Any]]:
    from hpt_ros.dataset.metadata import read_info, read_tasks

    info = read_info(root)
    header: dict[str, Any] = {
        "task_categories": ["robotics"],
        "tags": ["LeRobot", "hpt_ros", "robotics", *([info.robot_type] if info.robot_type else [])],
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
    }
    card = root / CARDS[0]
    if card.is_file():
        return card.read_text(encoding="utf-8"), header
    tasks = "; ".join(text for text in read_tasks(root).values() if text) or "none given"
    features = "\n".join(
        f"| `{name}` | {feature.dtype} | {' x '.join(map(str, feature.shape))} |"
        for name, feature in info.features.items()
    )
    return (
        f"# {repository.partition('/')[2]}\n\n"
        f"Demonstrations of the robot {info.robot_type or 'that it does not name'} as a LeRobotDataset {info.version}, "
        f"made with hpt_ros: {info.total_frames} ticks at {info.fps:g} Hz.\n\n- tasks: {tasks}\n\n"
        f"| feature | dtype | shape |\n| --- | --- | --- |\n{features}\n",
        header,
    )


def _checkpoint_card(root: Path) -> tuple[str, dict[str, Any]]:
    from hpt_ros.model.checkpoint_folder import is_many

    is_many(root)  # a folder that is no checkpoint
    header: dict[str, Any] = {
        "library_name": "hpt_ros",
        "pipeline_tag": "robotics",
        "tags": ["robotics", "hpt", "imitation-learning", "ros2"],
    }
    for name in CARDS:
        if (root / name).is_file():
            return (root / name).read_text(encoding="utf-8"), header
    raise HptError(
        Code.MISSING, f"the checkpoint {str(root)!r}", problem="has no card (README.md)",
        remedy="write one: what it was trained on, and what it can do",
    )  # fmt: skip
