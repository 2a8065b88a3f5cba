"""`hpt checkpoint inspect|verify|export PATH`: what a checkpoint folder holds, whether it is sound, and its trunk."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "say what a checkpoint holds, verify it, or export its trunk"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `hpt checkpoint`."""
    actions = parser.add_subparsers(dest="checkpoint_action", metavar="ACTION", required=True)
    for name, text in (
        ("inspect", "load a checkpoint strictly and print its configuration, parts, hash and metrics"),
        (
            "verify",
            "say that a checkpoint is sound (hash, names, shapes, finite numbers), or fail with status 2",
        ),
        ("export", "write a checkpoint's trunk for `hpt finetune --trunk`, here or for another robot"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("path", type=Path, metavar="PATH", help="checkpoint folder")
    action.add_argument(
        "--format", required=True, choices=("trunk",), help="trunk: the layout of a published trunk.pth"
    )
    action.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="new file, ending in .pth or .safetensors"
    )


def run(args: argparse.Namespace) -> int:
    """Run `hpt checkpoint`; raise HptError if the checkpoint cannot be loaded or the file not be written."""
    from rich.console import Console

    from hpt_ros.model.checkpoint import load_checkpoint
    from hpt_ros.model.report import checkpoint_report, export_report, verification_report
    from hpt_ros.model.weights import export_trunk

    checkpoint = load_checkpoint(args.path)
    if args.checkpoint_action == "inspect":
        text = checkpoint_report(checkpoint, where=str(args.path))
    elif args.checkpoint_action == "verify":
        text = verification_report(checkpoint, where=str(args.path))
    else:
        text = export_report(checkpoint.config.trunk, export_trunk(checkpoint.policy, args.out))
    Console(highlight=False, markup=False, soft_wrap=True).print(text)
    return 0
