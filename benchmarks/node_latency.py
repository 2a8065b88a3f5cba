# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Two cameras of 640x480 at 30 Hz into the policy node, commands at 100 Hz out: latency by stage, jitter, CPU share.

``.venv/bin/python benchmarks/node_latency.py [--encodings raw compressed] [--processes 2 1] [--seconds 15]``

The cameras and the arm are a process of their own, or threads of the node's; the middleware is the real one. The
policy repeats the measured pose, so that what is measured is the node's own work: receiving, decoding, resampling,
assembling, the chunk queue, the safety filter and publishing. Waiting for the tick and for the command's period is
shown apart from work.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.embodiment import Embodiment, ImageSpec
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.common.fast_dds import profiles_variable
from hpt_ros.nodes.common.run_lifecycle import be_punctual
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.policies.baselines import HoldPolicy
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.resources import config_file

# Without it half of the uncompressed pictures are lost between processes, which stops the robot.
os.environ.setdefault(profiles_variable(), str(config_file("dds/fastdds.xml")))

HEIGHT, WIDTH, CAMERA_HZ, JOINTS_HZ, COMMAND_HZ = 480, 640, 30.0, 100.0, 100.0
TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}
PICTURES = 16  # different ones, sent in turn
SETTLE_IN_S = 3.0  # discovery and the first chunks are not measured


def robot(encoding: str) -> Embodiment:
    """The demo's arm with two cameras of 640x480, stored at that size, and commands at 100 Hz."""
    demo = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
    suffix = "/compressed" if encoding == "compressed" else ""
    streams = [
        replace(
            stream, rate_hz=CAMERA_HZ, type=TYPES[encoding], image=ImageSpec(HEIGHT, WIDTH), topic=stream.topic + suffix
        )
        if stream.modality == "image"
        else stream
        for stream in demo.streams
    ]  # fmt: skip
    return replace(demo, streams=tuple(streams), action=replace(demo.action, rate_hz=COMMAND_HZ))


def pictures() -> list[NDArray[np.uint8]]:
    """Pictures with shading, edges and noise, so that a JPEG of them is as large as a camera's."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    found = []
    for number in range(PICTURES):
        shade = 120 + 60 * np.sin(columns / 50 + number) + 40 * np.cos(rows / 37)
        shade += 50 * (((columns + 20 * number) // 80 + rows // 60) % 2)
        picture = shade[..., None] + random.normal(0, 6, (HEIGHT, WIDTH, 3))
        found.append(np.clip(picture, 0, 255).astype(np.uint8))
    return found


class Robot(Node):
    """Two cameras and an arm that is at once where it is commanded to be."""

    def __init__(self, encoding: str, context: Any = None) -> None:
        super().__init__("robot", context=context)
        embodiment = robot(encoding)
        self.names = list(embodiment.action.names)
        self.position = ((embodiment.lower + embodiment.upper) / 2).tolist()
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        kind = Image if encoding == "raw" else CompressedImage
        self.cameras = [self.create_publisher(kind, stream.topic, qos) for stream in embodiment.image_streams]
        self.joints = self.create_publisher(JointState, embodiment.state_streams[0].topic, qos)
        self.messages = [_message(encoding, picture) for picture in pictures()]
        self.sent = 0
        self.arrivals: list[int] = []
        self.create_subscription(JointTrajectory, embodiment.action.topic, self._on_command, 100)
        self.create_timer(1.0 / JOINTS_HZ, self._publish_joints)
        self.create_timer(1.0 / CAMERA_HZ, self._publish_pictures)

    def _on_command(self, message: JointTrajectory) -> None:
        self.arrivals.append(time.monotonic_ns())
        self.position = list(message.points[0].positions)

    def _publish_joints(self) -> None:
        message = JointState(name=self.names, position=self.position)
        message.header.stamp = self.get_clock().now().to_msg()
        self.joints.publish(message)

    def _publish_pictures(self) -> None:
        stamp = self.get_clock().now().to_msg()
        for publisher in self.cameras:
            message = self.messages[self.sent % PICTURES]
            message.header.stamp = stamp
            publisher.publish(message)
            self.sent += 1


def _message(encoding: str, picture: NDArray[np.uint8]) -> Any:
    if encoding == "raw":
        message = Image(height=HEIGHT, width=WIDTH, step=WIDTH * 3, encoding="rgb8")
        message.data = picture.tobytes()
        return message
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return CompressedImage(format="jpeg", data=data.tobytes())


def run_robot(encoding: str) -> None:
    """The robot's process: runs until its standard input is closed, then prints when each command came."""
    with Composition() as composition:
        node = composition.add(Robot(encoding, composition.context))
        sys.stdin.read()
        arrivals = list(node.arrivals)
    print(json.dumps(arrivals))


def jpeg_s() -> float:
    """Median time that OpenCV alone takes to decode one picture of each camera."""
    messages = [_message("compressed", picture) for picture in pictures()]
    took = []
    for first, second in zip(messages[::2], messages[1::2], strict=True):
        for _ in range(4):
            began = time.perf_counter()
            for message in (first, second):
                cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
            took.append(time.perf_counter() - began)
    return float(np.median(took))


def overhead_s(found: dict[str, NDArray[np.float64]], encoding: str) -> tuple[float, float]:
    """The node's own work on the way of a picture to its command, median and 99th percentile of the chunks.

    Taking the message, resampling (without the JPEG decoder), assembling, handing to the worker, and the control period
    that makes the command; not the waits for the tick, for the policy and for the command's period.
    """
    names = ("decode_s", "request_s", "worker_wait_s")
    count = min(found[name].size for name in names)
    work = np.sum([found[name][-count:] for name in names], axis=0)
    work = work + np.median(found["message_s"]) + np.median(found["control_s"])
    if encoding == "compressed":
        work = work - jpeg_s()
    return float(np.median(work)), float(np.percentile(work, 99))


def summary(rows: list[tuple[str, dict[str, NDArray[np.float64]], tuple[float, float], float]]) -> str:
    """A Markdown table of all that was measured, in ms."""
    stages = (
        "image_delay",
        "message",
        "tick_wait",
        "decode",
        "request",
        "worker_wait",
        "command_wait",
        "control",
    )
    lines = [
        f"| ms, median / p99 | {' | '.join(title for title, *_ in rows)} |",
        "| --- |" + " --- |" * len(rows),
    ]

    def line(name: str, cells: list[str]) -> None:
        lines.append(f"| {name} | {' | '.join(cells)} |")

    def both(values: NDArray[np.float64]) -> str:
        median, high = np.percentile(values, [50, 99]) * 1e3
        return f"{median:.2f} / {high:.2f}"

    for name in (*stages, "image_to_command", "command_jitter", "received_jitter"):
        line(name.replace("_", " "), [both(found[f"{name}_s"]) for _, found, _, _ in rows])
    line("**node's own work**", [f"{own[0] * 1e3:.2f} / {own[1] * 1e3:.2f}" for _, _, own, _ in rows])
    line("CPU, part of one core", [f"{cpu:.0%}" for *_, cpu in rows])
    return "\n".join(lines)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(encoding: str, processes: int, seconds: float) -> dict[str, NDArray[np.float64]]:
    """Durations by name, in seconds; "cpu" is the fraction of one core that the node's process took."""
    embodiment = robot(encoding)
    loaded = LoadedPolicy(HoldPolicy(embodiment), embodiment, "", embodiment.observation_horizon)
    other: subprocess.Popen[str] | None = None
    if processes == 2:
        command = [sys.executable, __file__, "--robot", encoding]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    be_punctual()  # as the node's own executable
    with Composition() as composition:
        here = None if other else composition.add(Robot(encoding, composition.context))
        node = composition.add(PolicyNode(load=lambda: loaded, context=composition.context))
        node.trigger_configure()
        node.trigger_activate()
        limit_s = time.monotonic() + 60.0
        while not node.counters().get("commands_sent") and time.monotonic() < limit_s:
            time.sleep(0.05)
        time.sleep(SETTLE_IN_S)
        node.clear_metrics()
        began_ns, cpu_s = time.monotonic_ns(), _cpu_s()
        time.sleep(seconds)
        ended_ns, cpu_s = time.monotonic_ns(), _cpu_s() - cpu_s
        found: dict[str, NDArray[np.float64]] = node.metrics()
        counters = node.counters()
    if other is not None:
        output, _ = other.communicate("")
        arrivals = np.array(json.loads(output))
    else:
        assert here is not None
        arrivals = np.array(here.arrivals)
    if counters["stale_stops"] or counters["exhausted_stops"]:
        Console(stderr=True).print(f"the robot was stopped on the way: {counters}")
    received = arrivals[(arrivals >= began_ns) & (arrivals < ended_ns)]
    found["received_jitter_s"] = np.abs(np.diff(received) / 1e9 - 1.0 / COMMAND_HZ)
    found["cpu"] = np.array([cpu_s * 1e9 / (ended_ns - began_ns)])
    found["commands_per_s"] = np.array([received.size * 1e9 / (ended_ns - began_ns)])
    return found


def main() -> int:
    """Measure what is asked for and print one table for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encodings", nargs="+", choices=tuple(TYPES), default=list(TYPES))
    parser.add_argument("--processes", nargs="+", type=int, choices=(1, 2), default=[2, 1])
    parser.add_argument("--seconds", type=float, default=15.0, help="measured for this long")
    parser.add_argument("--robot", choices=tuple(TYPES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.robot:
        run_robot(args.robot)
        return 0
    rows = []
    for encoding in args.encodings:
        for processes in args.processes:
            found = measure(encoding, processes, args.seconds)
            title = f"{encoding}, {processes} process{'es' if processes > 1 else ''}"
            cpu, rate = found.pop("cpu")[0], found.pop("commands_per_s")[0]
            rows.append((title, found, overhead_s(found, encoding), float(cpu)))
            table = Table(title=f"{title}: {cpu:.0%} of one core, {rate:.1f} commands/s")
            for column in ("ms", "median", "p95", "p99", "largest", "n"):
                table.add_column(column, justify="left" if column == "ms" else "right")
            for name, values in found.items():
                if values.size:
                    figures = [*np.percentile(values, [50, 95, 99, 100]) * 1e3]
                    table.add_row(
                        name.removesuffix("_s").replace("_", " "), *(f"{v:.2f}" for v in figures), str(values.size)
                    )  # fmt: skip
            Console(width=100).print(table)
    print(summary(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
