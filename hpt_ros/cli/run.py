"""`hpt run`: runs the policy node, where there is no `ros2 launch`."""

from __future__ import annotations

import argparse
import json

HELP = "run a checkpoint on a robot as a ROS 2 node, configured and activated at once"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder, or a shipped name such as feed_dog")
    parser.add_argument(
        "--embodiment", metavar="FILE", help="the robot's file; must agree with the checkpoint's"
    )
    parser.add_argument("--task", default="", help="task text (default: the embodiment's)")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--sim-time", action="store_true", help="use simulated time from /clock")
    parser.add_argument("--inactive", action="store_true", help="wait for lifecycle transitions from outside")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="any parameter of the node; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Spin the policy node until it is interrupted; returns its exit status."""
    from hpt_ros.nodes.policy_node import main

    settings = [
        # rcl reads values as YAML, of which JSON is a part: quoted, a folder called 123 or a task with a colon is text.
        f"checkpoint:={json.dumps(args.checkpoint)}",
        f"device:={json.dumps(args.device)}",
        f"use_sim_time:={str(args.sim_time).lower()}",
        f"autostart:={str(not args.inactive).lower()}",
        *([f"embodiment:={json.dumps(args.embodiment)}"] if args.embodiment else []),
        *([f"task:={json.dumps(args.task)}"] if args.task else []),
        *args.param,
    ]
    return main(["hpt", "--ros-args", *(part for setting in settings for part in ("-p", setting))])
