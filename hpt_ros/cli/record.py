"""`hpt record`: runs the recorder node."""

from __future__ import annotations

import argparse

HELP = "record episodes into MCAP bags, started and stopped by services"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--embodiment", required=True, metavar="FILE", help="embodiment file of the robot")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder that bags go to")
    parser.add_argument("--topic", action="append", default=[], metavar="NAME", help="also record this topic")
    parser.add_argument("--sim-time", action="store_true", help="use simulated time from /clock")


def run(args: argparse.Namespace) -> int:
    """Spin the recorder until it is interrupted; a running episode is kept."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.parameter import Parameter

    from hpt_ros.embodiment import Embodiment
    from hpt_ros.nodes.recorder_node import RecorderNode

    embodiment = Embodiment.load(args.embodiment)
    rclpy.init(args=[])
    node = None
    try:
        overrides = [Parameter("use_sim_time", value=args.sim_time)]
        node = RecorderNode(embodiment, args.out, extra_topics=args.topic, parameter_overrides=overrides)
        print("start:   call /recorder_node/start_episode (hpt_msgs/srv/StartEpisode)")
        print("stop:    call /recorder_node/stop_episode (hpt_msgs/srv/StopEpisode)")
        print("discard: call /recorder_node/discard_episode (hpt_msgs/srv/DiscardEpisode)", flush=True)
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
