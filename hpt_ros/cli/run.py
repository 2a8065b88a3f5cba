# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt run`: runs the policy node, where there is no `ros2 launch`."""

from __future__ import annotations

import argparse

from hpt_ros.cli.ros_options import add_ros_options, parameter, ros_arguments
from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP
from hpt_ros.resources import DEMO

NODE = "policy_node"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help=f"folder, or a shipped name such as {DEMO}")
    add(
        "--embodiment",
        metavar="FILE",
        help="the robot's file, or a shipped name; may differ from the checkpoint's as a deployment may",
    )
    add(
        "--deployment",
        metavar="FILE",
        help="facts of this cell, over the embodiment: names, rates, tighter limits",
    )
    add("--task", metavar="TEXT", help="task text (default: the embodiment's)")
    add("--device", help=f"{DEVICE_HELP} (default: {DEFAULT_DEVICE})")
    add("--backend", help="what computes the network (default: auto)")
    add("--inactive", action="store_true", help="wait for lifecycle transitions from outside")
    add_ros_options(parser, NODE)


def run(args: argparse.Namespace) -> int:
    """Spin the policy node until it is interrupted; returns its exit status."""
    ros = ros_arguments(args, NODE)
    given = {
        name: getattr(args, name)
        for name in ("checkpoint", "embodiment", "deployment", "task", "device", "backend")
    }
    settings = [parameter(name, value) for name, value in given.items() if value]
    settings.append(f"autostart:={str(not args.inactive).lower()}")

    from hpt_ros.nodes.policy.policy_node import main

    command = ["hpt", "--ros-args", *(part for setting in settings for part in ("-p", setting)), *ros]
    return main(command, "hpt run")
