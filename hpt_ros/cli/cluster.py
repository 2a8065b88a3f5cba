# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`--ray` of the verbs whose work also runs on a Ray cluster."""

from __future__ import annotations

import argparse

from hpt_ros.errors import Code, HptError


def add_ray(parser: argparse.ArgumentParser, runs: str) -> None:
    """Declare the option.

    Args:
        parser: of the verb.
        runs: what runs there, in the plural.
    """
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        default="",
        metavar="ADDRESS",
        help=f"run {runs} on a Ray cluster that shares the file system: auto, HOST:PORT, ray://HOST:PORT, or local "
        "(without ADDRESS)",
    )


def check_ray(args: argparse.Namespace, runs: str) -> None:
    """Check the option against the number of processes here.

    Raises:
        HptError: both are given.
    """
    if args.ray and args.workers > 1:
        raise HptError(
            Code.CONFLICT, "--workers with --ray",
            problem=f"has no meaning: the cluster's cores say how many {runs} run", remedy="leave one of them out",
        )  # fmt: skip
