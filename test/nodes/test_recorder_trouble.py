# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong while an episode is recorded: full disks, lost topics and messages, a killed process."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from recording_rig import TEXT, Robot, connected, on_its_thread, until
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from hpt_msgs.msg import EpisodeEvent
from hpt_msgs.srv import StartEpisode, StopEpisode
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from rosbag_tools.bag_schema import KEY_WARNINGS
from rosbag_tools.reading.episodes import find_episodes
from rosbag_tools.reading.reader import Bag

NOISE = np.random.default_rng(0)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 12 MiB, which only root can make."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("a file system of its own cannot be mounted here; that takes root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def composition():
    with Composition() as found:
        yield found


def recorder_on(composition, folder, **parameters):
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    return composition.add(
        RecorderNode(
            Embodiment.loads(TEXT), folder, context=composition.context, parameter_overrides=overrides
        )
    )


def fill(robot, recorder):
    """Publish pictures that cannot be compressed until the episode ends by itself."""
    connected(robot.eye, robot.joints, robot.command)
    answer = robot.call(StartEpisode)
    assert answer.success, answer.message
    robot.joints.publish(JointState(name=["a"], position=[0.0]))
    for number in range(300):
        if not recorder.recording:
            break
        robot.eye.publish(Image(height=200, width=500, step=1500, encoding="rgb8", data=NOISE.bytes(300_000)))
        until(
            lambda number=number: not (running := recorder._recording) or running.counts["/eye"] > number - 3
        )
    until(lambda: not recorder.recording)
    return answer.bag_path


def test_when_the_disk_is_nearly_full_expect_a_whole_bag(composition, small_disk):
    robot = composition.add(Robot(composition.context))
    recorder = recorder_on(composition, small_disk, keep_free_mb=4)
    path = fill(robot, recorder)
    with Bag.open(path) as bag:  # without recovery
        (episode,) = find_episodes(bag)
        assert (episode.outcome, episode.note) == ("unknown", "the disk was full")
        assert bag.topics["/joint_states"].count == 1
    again = robot.call(StartEpisode)
    assert not again.success
    assert "MiB free, expected 8 MiB (twice keep_free_mb); make room" in again.message


def test_when_a_write_fails_for_want_of_space_expect_the_rest_readable_and_the_recorder_alive(
    composition, small_disk
):
    robot = composition.add(Robot(composition.context))
    recorder = recorder_on(composition, small_disk, keep_free_mb=0)
    path = fill(robot, recorder)
    until(lambda: len(robot.events) == 2)
    assert robot.events[1].event == EpisodeEvent.STOPPED
    assert robot.events[1].note == "the bag could not be written"
    refused = robot.call(StopEpisode)
    assert refused.message == "no episode is being recorded; start one first"
    with pytest.raises(HptError, match="--recover"), Bag.open(path):
        pass
    with Bag.open(path, recover=True) as bag:
        assert len(list(bag.messages(["/eye"]))) > 20
        assert len(list(bag.messages(["/joint_states"]))) == 1
        assert Embodiment.loads(bag.embodiment_text() or "") == Embodiment.loads(TEXT)
    for file in Path(path).iterdir():
        file.unlink()
    on_its_thread(recorder, recorder.start_episode)
    kept, counts, _ = on_its_thread(recorder, recorder.stop_episode, EpisodeEvent.OUTCOME_SUCCESS)
    assert counts["/hpt/episode_events"] == 2
    with Bag.open(kept) as bag:
        assert len(find_episodes(bag)) == 1


def test_a_topic_that_is_lost_is_told_at_once_and_kept_in_the_bag(composition, tmp_path):
    robot = composition.add(Robot(composition.context))
    recorder = recorder_on(composition, tmp_path, use_sim_time=True)
    connected(robot.eye, robot.joints, robot.command)
    until(lambda: robot.tell_time(10**9) or recorder._now_ns() == 10**9)
    started = robot.call(StartEpisode)
    assert started.success, started.message
    robot.play(recorder, 1.0, 1.4)
    robot.destroy_publisher(robot.eye)  # its driver died
    robot.eye = None
    robot.play(recorder, 1.4, 2.6)
    until(lambda: any("/eye is silent for" in text for text in recorder._warnings))
    stopped = robot.call(StopEpisode, outcome=EpisodeEvent.OUTCOME_FAILURE)
    assert stopped.success, stopped.message
    with Bag.open(started.bag_path) as bag:
        (warning,) = bag.custom[KEY_WARNINGS].splitlines()
        assert warning.startswith("after ")
        assert warning.endswith("check its node and the network")
        assert bag.topics["/eye"].count > 0
        assert bag.topics["/joint_states"].count == 80


class Shell:
    """`hpt record` as it runs in a terminal."""

    def __init__(self, folder, *more, before=None, text=TEXT):
        file = folder / "robot.yaml"
        file.write_text(text)
        self.out = folder / "bags"
        self.keys, child = pty.openpty()
        words = ["record", "--embodiment", str(file), "--out", str(self.out), *more]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hpt_ros.cli.main", *words],
            stdin=child, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=before,
        )  # fmt: skip
        os.close(child)
        self.said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.said.append(line)

    def press(self, key, answer):
        """Type a key and wait for what the recorder says then."""
        before = len(self.said)
        os.write(self.keys, key.encode())
        until(lambda: answer in "".join(self.said[before:]))

    def end(self, number):
        self.process.send_signal(number)
        status = self.process.wait(30)
        os.close(self.keys)
        return status

    @property
    def bags(self):
        return sorted(self.out.iterdir())


class Driver:
    """Publishes joint states, commands and pictures in the wall's time."""

    def __init__(self, composition, reliability=ReliabilityPolicy.RELIABLE):
        node = composition.add(Node("driver", context=composition.context))
        self.eye = node.create_publisher(Image, "/eye", QoSProfile(depth=10, reliability=reliability))
        self.joints = node.create_publisher(JointState, "/joint_states", 10)
        self.command = node.create_publisher(JointTrajectory, "/command", 10)

    def connected(self):
        connected(self.eye, self.joints, self.command)

    def play(self, count):
        for number in range(count):
            self.joints.publish(JointState(name=["a"], position=[float(number)]))
            self.command.publish(JointTrajectory(joint_names=["a"]))
            self.eye.publish(Image(height=16, width=24, step=72, encoding="rgb8", data=NOISE.bytes(1152)))


def test_episodes_are_recorded_with_the_keys_of_a_terminal(composition, tmp_path):
    driver = Driver(composition)
    shell = Shell(tmp_path, "--operator", "ann")
    driver.connected()
    until(lambda: "keys: space or s start" in "".join(shell.said))
    shell.press("q", "")  # a key without a meaning does nothing
    shell.press("y", "not done: no episode is being recorded")
    shell.press("s", "records /")
    driver.play(3)
    shell.press("y", "(success)")
    shell.press(" ", "records /")
    shell.press("n", "(failure)")
    shell.press("s", "records /")
    shell.press("x", "discarded ")
    shell.press("s", "records /")
    assert shell.end(signal.SIGINT) == 0, "".join(shell.said)
    found = []
    for path in shell.bags:
        with Bag.open(path) as bag:
            (episode,) = find_episodes(bag)
            found.append((episode.operator, episode.outcome, episode.note))
    assert sorted(found) == [
        ("ann", "failure", ""),
        ("ann", "success", ""),
        ("ann", "unknown", "the recorder was stopped"),
    ]


def test_when_the_process_is_killed_expect_a_bag_that_can_be_recovered(composition, tmp_path):
    driver = Driver(composition)
    shell = Shell(tmp_path)
    driver.connected()
    shell.press("s", "records /")
    stored = shell.bags[0] / f"{shell.bags[0].name}.mcap"
    begin = stored.stat().st_size
    # Until a second chunk is on the disk: the first ends a second after the episode's start.
    until(lambda: driver.play(1) or stored.stat().st_size > begin + 20_000)
    assert shell.end(signal.SIGKILL) == -signal.SIGKILL
    (path,) = shell.bags
    with pytest.raises(HptError, match="--recover"), Bag.open(path):
        pass
    with Bag.open(path, recover=True) as bag:
        positions = [message.content.position[0] for message in bag.messages(["/joint_states"])]
        (episode,) = find_episodes(bag)
        assert episode.task == "push the button"
        assert Embodiment.loads(bag.embodiment_text() or "") == Embodiment.loads(TEXT)
    assert len(positions) > 10


def test_when_a_quota_stops_the_writing_expect_it_said_and_the_rest_readable(composition, tmp_path):
    driver = Driver(composition)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    shell = Shell(tmp_path, before=limit)
    driver.connected()
    shell.press("s", "records /")
    until(lambda: driver.play(1) or "the episode ends here" in "".join(shell.said))
    assert "File too large" in "".join(shell.said)
    assert shell.end(signal.SIGINT) == 0, "".join(shell.said)
    with Bag.open(shell.bags[0], recover=True) as bag:
        assert bag.topics["/joint_states"].count > 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_when_the_recorder_is_interrupted_while_recording_expect_a_whole_bag(composition, tmp_path, number):
    driver = Driver(composition)
    shell = Shell(tmp_path)
    driver.connected()
    shell.press("s", "records /")
    driver.play(5)
    assert shell.end(number) == 0, "".join(shell.said)
    with Bag.open(shell.bags[0]) as bag:
        (episode,) = find_episodes(bag)
        assert (episode.outcome, episode.note) == ("unknown", "the recorder was stopped")


def test_when_messages_are_lost_on_the_way_expect_them_counted_and_told(composition, tmp_path):
    """Pictures of megabytes go in hundreds of pieces; a best-effort reader of which one is late loses them all."""
    driver = Driver(composition, ReliabilityPolicy.BEST_EFFORT)
    shell = Shell(tmp_path)
    driver.connected()
    shell.press("s", "records /")
    big = Image(height=1000, width=2000, step=6000, encoding="rgb8", data=bytes(6_000_000))
    until(lambda: driver.eye.publish(big) or "/eye loses messages on the way here" in "".join(shell.said))
    shell.press("y", "LOST on the way /eye ")
    assert shell.end(signal.SIGINT) == 0, "".join(shell.said)
    with Bag.open(shell.bags[0]) as bag:
        assert "/eye loses messages on the way here" in bag.custom[KEY_WARNINGS]
