# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt checkpoint inspect|verify|import|export|upgrade|add-task`: what checkpoints hold, and weights of others."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpt_ros.resources import DEMO


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `hpt checkpoint`."""
    actions = parser.add_subparsers(dest="checkpoint_action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text)

    def folder(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "path",
            metavar="CHECKPOINT",
            help=f"folder, or a shipped name, e.g. {DEMO}; of one robot among many: CHECKPOINT/embodiments/NAME",
        )

    folder(
        action("inspect", "load a checkpoint strictly and print its configuration, parts, hash and metrics")
    )
    folder(
        action(
            "verify",
            "say that a checkpoint is sound (hash, names, shapes, finite numbers, embodiment, statistics, tasks), or "
            "fail with status 2",
        )
    )
    imported = action("import", "turn published HPT weights into a trunk for --trunk, or into a checkpoint")
    imported.add_argument(
        "source", metavar="SOURCE", help="folder with config.yaml and weights, or hf://user/repo"
    )
    imported.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="new folder")
    imported.add_argument(
        "--embodiment",
        type=Path,
        metavar="FILE",
        help="import the whole model.pth as a checkpoint for this robot; without it, the trunk",
    )
    imported.add_argument(
        "--domain", metavar="NAME", help="whose stem and head; needed where the file has several"
    )
    imported.add_argument(
        "--image-encoder",
        metavar="FILE",
        help="ImageNet weights of ResNet-18 (path or hf://), which published files lack; or none",
    )
    imported.add_argument(
        "--task",
        action="append",
        default=[],
        metavar="TEXT",
        help="task to embed for a language stem (repeatable); the embodiment's by default",
    )
    imported.add_argument(
        "--language-model",
        metavar="NAME",
        default="",
        help="T5 that embeds them: folder, or name on the hub (t5-base by default, as HPT has it)",
    )
    exported = action(
        "export",
        "write a checkpoint's trunk, or one robot's policy in the layout of published weights or as a checkpoint",
    )
    folder(exported)
    exported.add_argument(
        "--format",
        required=True,
        choices=("trunk", "model", "checkpoint"),
        help="trunk: a trunk.pth; model: a folder with model.pth and config.yaml; checkpoint: one robot's, of many",
    )
    exported.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="PATH",
        help="trunk: new file, ending in .pth or .safetensors; else: new folder",
    )
    upgraded = action("upgrade", "write a checkpoint of an older format in today's")
    folder(upgraded)
    upgraded.add_argument(
        "--out", type=Path, metavar="FOLDER", help="new folder; left out: in place of the old one"
    )
    added = action("add-task", "embed another task's text, and write a checkpoint that knows it")
    folder(added)
    added.add_argument("--task", required=True, action="append", metavar="TEXT", help="the text (repeatable)")
    added.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="new checkpoint")


def run(args: argparse.Namespace) -> int:
    """Run `hpt checkpoint`; raise HptError if something cannot be loaded, does not fit, or cannot be written."""
    from hpt_ros.cli import checkpoint_actions
    from hpt_ros.cli.terminal import Results

    texts = {
        "inspect": checkpoint_actions.inspect,
        "verify": checkpoint_actions.verify,
        "import": checkpoint_actions.import_published,
        "export": checkpoint_actions.export,
        "upgrade": checkpoint_actions.upgrade,
        "add-task": checkpoint_actions.add_task,
    }
    text = texts[args.checkpoint_action](args)
    Results(highlight=False, markup=False, soft_wrap=True).print(text)
    return 0
