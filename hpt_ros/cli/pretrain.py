# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt pretrain`: train one trunk on the datasets of many robots."""

from __future__ import annotations

import argparse

DEFAULT_RECIPE = "pretrain_small"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    from hpt_ros.cli.training import add_run_arguments

    parser.add_argument("mixture", metavar="MIXTURE", help="YAML file that lists datasets of any robots")
    parser.add_argument(
        "--out", required=True, metavar="RUN", help="folder for checkpoints (last/, best/) and metrics.jsonl"
    )
    parser.add_argument(
        "--recipe",
        metavar="FILE",
        help="recipe file, or the name of a shipped one: pretrain_small (a workstation), pretrain_base (the paper's); "
        f"default {DEFAULT_RECIPE}, or the run's own with --resume",
    )
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train; returns 0, 1 when the loss became infinite, or 130 when interrupted (the run is saved then)."""
    from hpt_ros.cli.training import unless_diverged

    return unless_diverged("hpt pretrain", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.cli.training import choose_recipe, run_or_describe
    from hpt_ros.learning.distributed import processes
    from hpt_ros.learning.mixture import open_mixture
    from hpt_ros.learning.mixture_config import load_mixture

    with Terminal() as report, processes(args.device) as all_processes:
        recipe, resume = choose_recipe(args, DEFAULT_RECIPE)
        config = load_mixture(args.mixture)
        mixture = open_mixture(config, recipe.validation_ratio, recipe.seed, cache_root=args.cache)
        return run_or_describe(args, mixture, recipe, report, all_processes, resume=resume)
