"""`hpt record`: runs the recorder node."""

from __future__ import annotations

import argparse

HELP = "record episodes into MCAP bags, started and stopped by keys, joystick, topic or services"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--embodiment", required=True, metavar="FILE", help="embodiment file of the robot")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder that bags go to")
    parser.add_argument("--topic", action="append", default=[], metavar="NAME", help="also record this topic")
    parser.add_argument("--operator", default="", metavar="NAME", help="who teleoperates; kept in each bag")
    parser.add_argument("--sim-time", action="store_true", help="use simulated time from /clock")


def run(args: argparse.Namespace) -> int:
    """Spin the recorder until it is interrupted; a running episode is kept."""
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.nodes import recorder_node

    embodiment = Embodiment.load(args.embodiment)
    return recorder_node.run(
        embodiment, args.out, extra_topics=args.topic, operator=args.operator, sim_time=args.sim_time
    )
