# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How much the recorder takes without loss: ``.venv/bin/python benchmarks/record.py``.

`hpt record` runs as a process of its own, as a user starts it; a second process publishes cameras, joint states and
commands over Fast DDS. Each row is one episode. Pictures are of a moving scene with a camera's noise, since a picture
without noise is compressed far too easily. A message counts as lost if it was published during the episode and is not
in the bag.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.table import Table
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_msgs.msg import EpisodeEvent
from hpt_msgs.srv import StartEpisode, StopEpisode
from hpt_ros.embodiment import Embodiment

HEIGHT, WIDTH = 480, 640
CAMERA_HZ, JOINT_HZ = 30, 100
PICTURES = (
    64  # published in turn; no two within one chunk of the bag, which would make them small, are the same
)
TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
JOINTS = ["j1", "j2", "j3", "j4", "j5", "j6", "gripper"]


@dataclass(frozen=True)
class Load:
    """What is published."""

    cameras: int
    compressed: bool
    reliable: bool

    @property
    def command(self) -> str:
        """For the table."""
        kind = "JPEG" if self.compressed else "raw"
        return f"{self.cameras} cameras, {kind}, {'reliable' if self.reliable else 'best effort'}"

    def embodiment(self) -> Embodiment:
        """The robot that the recorder knows of."""
        kind = "CompressedImage" if self.compressed else "Image"
        streams = [
            f"  - {{name: cam{n}, modality: image, topic: /cam{n}, type: sensor_msgs/msg/{kind}, rate_hz: "
            f"{CAMERA_HZ}, tolerance_s: 0.1, image: {{height: 224, width: 224}}}}"
            for n in range(self.cameras)
        ]
        limits = [
            f"    - {{name: {joint}, lower: -3.0, upper: 3.0, velocity: 3.0, acceleration: 9.0}}"
            for joint in JOINTS
        ]
        names = ", ".join(JOINTS)
        return Embodiment.loads(
            "\n".join(
                [
                    "format: hpt_ros/embodiment/1",
                    "name: benchmark",
                    "task: lie still",
                    "tick_hz: 30.0",
                    "streams:",
                    *streams,
                    "  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState,",
                    f"     rate_hz: {JOINT_HZ}, tolerance_s: 0.1, joints: [{names}], fields: [position], unit: rad}}",
                    "action:",
                    "  topic: /command",
                    "  type: trajectory_msgs/msg/JointTrajectory",
                    f"  names: [{names}]",
                    f"  rate_hz: {JOINT_HZ}",
                    "  horizon: 16",
                    "  limits:",
                    *limits,
                ]
            )
        )


def pictures() -> list[NDArray[np.uint8]]:
    """A scene of soft shapes that moves, with noise of two grey levels."""
    random = np.random.default_rng(0)
    scene = cv2.GaussianBlur(random.integers(0, 256, (HEIGHT, 2 * WIDTH, 3)).astype(np.float32), (0, 0), 12)
    scene = 128 + (scene - scene.mean()) * (60 / scene.std())
    found = []
    for index in range(PICTURES):
        view = np.roll(scene, 11 * index, axis=1)[:, :WIDTH]
        found.append(np.clip(view + random.normal(0, 2, view.shape), 0, 255).astype(np.uint8))
    return found


def publish(load: Load, pipe: Connection) -> None:
    """Runs in a process of its own: publishes for as many seconds as it is asked to; answers with counts by topic."""
    rclpy.init(args=[])
    node = Node("benchmark_robot")
    policy = ReliabilityPolicy.RELIABLE if load.reliable else ReliabilityPolicy.BEST_EFFORT
    camera_qos = QoSProfile(depth=10, reliability=policy)
    kind: Any = CompressedImage if load.compressed else Image
    cameras = [node.create_publisher(kind, f"/cam{n}", camera_qos) for n in range(load.cameras)]
    joints = node.create_publisher(JointState, "/joint_states", 10)
    command = node.create_publisher(JointTrajectory, "/command", 10)
    messages: list[Any] = []
    for picture in pictures():
        if load.compressed:
            jpeg = cv2.imencode(".jpg", picture)[1]
            messages.append(CompressedImage(format="jpeg", data=jpeg.tobytes()))
        else:
            raw = Image(height=HEIGHT, width=WIDTH, step=3 * WIDTH, encoding="bgr8")
            raw.data.frombytes(picture.tobytes())
            messages.append(raw)
    state = JointState(name=JOINTS, position=[0.0] * len(JOINTS))
    order = JointTrajectory(joint_names=JOINTS, points=[JointTrajectoryPoint(positions=[0.0] * len(JOINTS))])
    everyone = [*cameras, joints, command]
    while not all(publisher.get_subscription_count() for publisher in everyone):
        time.sleep(0.05)
    pipe.send("ready")
    while (duration_s := pipe.recv()) > 0:
        stamps: dict[str, list[bytes]] = {publisher.topic_name: [] for publisher in everyone}

        def tell(publisher: Any, message: Any, stamps: dict[str, list[bytes]] = stamps) -> None:
            stamp = node.get_clock().now().to_msg()
            message.header.stamp = stamp
            publisher.publish(message)
            stamps[publisher.topic_name].append(struct.pack("<iI", stamp.sec, stamp.nanosec))

        # Cameras are not in step: each has its own phase.
        due = [(n / (CAMERA_HZ * load.cameras), 1 / CAMERA_HZ) for n in range(load.cameras)]
        due += [(0.0, 1 / JOINT_HZ), (0.5 / JOINT_HZ, 1 / JOINT_HZ)]
        begin, late_s = time.monotonic(), 0.0
        while True:
            at, index = min((when, index) for index, (when, _) in enumerate(due))
            if at >= duration_s:
                break
            if (wait_s := begin + at - time.monotonic()) > 0:
                time.sleep(wait_s)
            late_s = max(late_s, -wait_s)
            if index < load.cameras:
                at_picture = len(stamps[f"/cam{index}"]) + index * len(messages) // load.cameras
                tell(cameras[index], messages[at_picture % len(messages)])
            else:
                tell(*((joints, state) if index == load.cameras else (command, order)))
            due[index] = (at + due[index][1], due[index][1])
        pipe.send((stamps, late_s))
    rclpy.shutdown()


def call(node: Node, kind: Any, name: str, **fields: Any) -> Any:
    """Call a service of the recorder."""
    client: Any = node.create_client(kind, f"/recorder_node/{name}")
    if not client.wait_for_service(timeout_sec=20.0):
        raise RuntimeError(f"the recorder's service {name} did not come")
    future = client.call_async(kind.Request(**fields))
    rclpy.spin_until_future_complete(node, future, timeout_sec=60.0)
    answer = future.result()
    if answer is None or not answer.success:
        raise RuntimeError(f"{name}: {answer.message if answer else 'no answer'}")
    return answer


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """The most memory that a process has held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(load: Load, seconds: float, folder: Path, transports: str) -> list[str]:
    """Record one episode; returns the row's cells."""
    file = folder / "embodiment.yaml"
    file.write_text(load.embodiment().to_yaml())
    ours, theirs = multiprocessing.Pipe()
    robot = multiprocessing.get_context("spawn").Process(target=publish, args=(load, theirs))
    robot.start()
    log = (folder / "recorder.log").open("w")
    command = [sys.executable, "-m", "hpt_ros.cli.main", "record"]
    recorder = subprocess.Popen(
        [*command, "--embodiment", str(file), "--out", str(folder / "bags")],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=os.environ | ({TRANSPORTS: transports} if transports else {}),
    )
    node = Node("benchmark_operator")
    try:
        if not ours.poll(60.0):
            raise RuntimeError(f"the recorder did not subscribe; see {folder / 'recorder.log'}")
        ours.recv()
        ours.send(1.0)  # shared memory and caches warm up
        ours.recv()
        call(node, StartEpisode, "start_episode")
        before_s = cpu_s(recorder.pid)
        ours.send(seconds)
        published, late_s = ours.recv()
        time.sleep(1.0)
        used_s = cpu_s(recorder.pid) - before_s
        stopped = call(node, StopEpisode, "stop_episode", outcome=EpisodeEvent.OUTCOME_SUCCESS)
        memory_mb = peak_mb(recorder.pid)
        ours.send(0.0)
    finally:
        node.destroy_node()
        recorder.terminate()
        recorder.wait(30)
        robot.join(10)
        robot.kill()
        log.close()
    size, kept = 0, {topic: set[bytes]() for topic in published}
    with AnyReader([Path(stopped.bag_path)]) as reader:
        for connection, _, data in reader.messages():
            size += len(data)
            if connection.topic in kept:
                kept[connection.topic].add(
                    bytes(data[4:12])
                )  # the header's stamp, behind CDR's own four bytes
    on_disk = sum(path.stat().st_size for path in Path(stopped.bag_path).iterdir())
    missing = {
        topic: sum(stamp not in kept[topic] for stamp in stamps) for topic, stamps in published.items()
    }
    sent, lost = sum(map(len, published.values())), sum(missing.values())
    worst = max((count, topic) for topic, count in missing.items())
    return [
        load.command,
        f"{sent}",
        f"{lost}" + (f" ({worst[1]} {worst[0]})" if lost else ""),
        f"{size / seconds / 1e6:.0f}",
        f"{size / on_disk:.2f}",
        f"{100 * used_s / seconds:.0f} %",
        f"{memory_mb:.0f}",
        f"{1000 * late_s:.0f}",
    ]


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of an episode (default 10)")
    parser.add_argument("--cameras", type=int, nargs="+", default=[2, 4], help="how many (default 2 4)")
    parser.add_argument(
        "--transports", default="", metavar="TEXT", help=f"{TRANSPORTS} of the recorder alone"
    )
    parser.add_argument("--only", choices=["raw", "jpeg"], help="one kind of pictures")
    args = parser.parse_args()
    loads = [
        Load(cameras, compressed, reliable)
        for compressed in (False, True)
        if args.only in (None, "jpeg" if compressed else "raw")
        for reliable in (False, True)
        for cameras in args.cameras
    ]
    title = f"{WIDTH}x{HEIGHT} at {CAMERA_HZ} Hz, joints and commands at {JOINT_HZ} Hz, {args.seconds:g} s"
    table = Table("published", title=title)
    for column in ("messages", "lost", "MB/s", "compressed", "recorder's CPU", "memory, MB", "late, ms"):
        table.add_column(column, justify="right")
    rclpy.init(args=[])
    for load in loads:
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(*measure(load, args.seconds, Path(folder), args.transports))
    rclpy.shutdown()
    Console(width=140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
