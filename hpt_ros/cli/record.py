# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt record`: runs the recorder node."""

from __future__ import annotations

import argparse

from hpt_ros.cli.ros_options import add_ros_options, ros_arguments

NODE = "recorder_node"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--embodiment",
        metavar="FILE",
        help="the robot's file, or a shipped name; may be left out with --all",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="record every topic, those too that appear during an episode, and decide later what a policy sees",
    )
    parser.add_argument(
        "--deployment",
        metavar="FILE",
        help="facts of this cell, over the embodiment: names of topics and joints",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder that bags go to")
    parser.add_argument("--topic", action="append", default=[], metavar="NAME", help="also record this topic")
    parser.add_argument("--operator", default="", metavar="NAME", help="who teleoperates; kept in each bag")
    add_ros_options(parser, NODE)


def run(args: argparse.Namespace) -> int:
    """Spin the recorder until it is interrupted; a running episode is retained."""
    ros = ros_arguments(args, NODE)

    from hpt_ros.embodiment import Deployment, Embodiment
    from hpt_ros.errors import Code, HptError
    from hpt_ros.nodes.recorder import command

    if not (args.embodiment or args.all):
        raise HptError(
            Code.MISSING, "hpt record", problem="has no --embodiment",
            remedy="give the robot's file, or --all to record every topic",
        )  # fmt: skip
    embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
    deployment = Deployment.load(args.deployment) if args.deployment else None
    return command.run(
        embodiment, args.out, extra_topics=args.topic, operator=args.operator, ros_arguments=ros,
        deployment=deployment, all_topics=args.all,
    )  # fmt: skip
