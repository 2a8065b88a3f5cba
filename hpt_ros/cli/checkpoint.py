"""`hpt checkpoint inspect PATH`: what a checkpoint folder holds."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "say what a checkpoint folder holds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `hpt checkpoint`."""
    actions = parser.add_subparsers(dest="checkpoint_action", metavar="ACTION", required=True)
    text = "load a checkpoint strictly and print its configuration, parts, hash and metrics"
    inspect = actions.add_parser("inspect", help=text, description=text)
    inspect.add_argument("path", type=Path, metavar="PATH", help="checkpoint folder")


def run(args: argparse.Namespace) -> int:
    """Run `hpt checkpoint`; raise HptError if the checkpoint cannot be loaded."""
    from rich.console import Console

    from hpt_ros.model.checkpoint import load_checkpoint
    from hpt_ros.model.report import checkpoint_report

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(checkpoint_report(load_checkpoint(args.path), where=str(args.path)))
    return 0
