# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Records episodes of a teleoperated robot into rosbag2 MCAP bags, one bag an episode.

Services ``~/start_episode``, ``~/stop_episode`` and ``~/discard_episode``; or commands on ``~/command``, buttons of a
joystick and keys of a terminal (`hpt_ros.nodes.recorder.controls`). Every change is published on
``/hpt/episode_events``, and that message goes into the bag too. Messages go from the middleware into the bag as
serialized bytes. Log time is the node's clock, so it is simulated time under ``use_sim_time``.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from hpt_msgs.msg import EpisodeEvent
from hpt_ros.control.clock import Instant
from hpt_ros.control.refusals import Why
from hpt_ros.embodiment import Deployment, Embodiment
from hpt_ros.embodiment.streams import check_topic
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.nodes.common import parameters
from hpt_ros.nodes.common.clocks import NodeClock, steady_timer
from hpt_ros.nodes.common.parameters import StrictParameters
from hpt_ros.nodes.common.run import run_node
from hpt_ros.nodes.recorder.config import RecorderParameters, open_site
from hpt_ros.nodes.recorder.controls import RecorderControls
from hpt_ros.nodes.recorder.episode import metadata_of, new_name, summary_of
from hpt_ros.nodes.recorder.services import create_episode_services
from hpt_ros.nodes.recorder.topics import HeldMessages, RecorderTopics, read_promised_rates
from rosbag_tools import bag_schema
from rosbag_tools.recording.definitions import load_installed_types
from rosbag_tools.recording.episode_recording import EpisodeRecording, RecordedTopic
from rosbag_tools.recording.rates import RateWatch

# How often the graph is looked at for new publishers, in wall time.
LOOK_S = 0.25
# Over how much log time a stream's rate is measured before it is compared with the embodiment file.
RATE_WINDOW_S = 2.0
MOST_WARNINGS = 50
_MB = 1 << 20


class RecorderNode(StrictParameters, Node):
    """The recorder.

    It subscribes to a topic as soon as somebody publishes it and with the quality of service that they offer, so that
    an episode begins with its first message; between episodes messages are dropped unread. What latched topics said
    before an episode is in it too.

    Its parameters (`RecorderParameters`) count for those left out here.

    Args:
        embodiment: the robot.
        deployment: facts of this cell: what its topics and joints are called; None: as the embodiment has them.
        namespace: of the node, in which relative topics lie; None: the process's.
        out_dir: folder that bags go to; made if it is not there.
        extra_topics: further topics to record, of whatever type they have.
        context: rclpy context.
        parameter_overrides: e.g. ``use_sim_time``.

    Raises:
        HptError: no embodiment, or a folder that cannot be made.
    """

    def __init__(
        self,
        embodiment: Embodiment | None = None,
        out_dir: str | Path = "",
        *,
        extra_topics: Sequence[str] = (),
        context: Context | None = None,
        parameter_overrides: list[Any] | None = None,
        deployment: Deployment | None = None,
        namespace: str | None = None,
    ) -> None:
        super().__init__(
            "recorder_node",
            context=context,
            parameter_overrides=parameter_overrides or [],
            namespace=namespace,
        )
        given = {"out_dir": str(out_dir), "extra_topics": tuple(extra_topics)}
        config = parameters.declare_fixed(self, RecorderParameters, defaults=given)
        self._keep_free_mb, self._all_topics = config.keep_free_mb, config.all_topics
        self.site = open_site(config, embodiment, deployment)
        self.embodiment, self.out_dir, here = self.site.embodiment, self.site.out_dir, self.site.here
        for topic in config.extra_topics:
            check_topic(topic, "the parameter extra_topics")
        self._rates_hz: dict[str, float] = {}
        self.topics = RecorderTopics(self, self._rates_hz, self._on_message, self._on_lost)
        self._needed: dict[str, str] = {}
        self._held: HeldMessages | None = None
        if here is not None:
            robot = here.with_topics(self.topics.resolve)
            self._rates_hz.update(read_promised_rates(robot))
            self._needed, self._held = robot.topics, HeldMessages(robot)
        self._extra = [self.topics.resolve(topic) for topic in config.extra_topics]
        if here is not None:
            static = [stream.static_topic for stream in here.streams if stream.static_topic]
            self._extra += [self.topics.resolve(topic) for topic in dict.fromkeys(static)]
        self._recording: EpisodeRecording | None = None
        self._rates: RateWatch | None = None
        self._lost: dict[str, int] = {}
        self._warnings: list[str] = []
        self._task, self._operator = "", ""
        self._last_ns = self._started_ns = self._unchecked_bytes = 0  # ROS time, control time
        self._time = NodeClock(self)
        self._events = self.create_publisher(EpisodeEvent, bag_schema.EVENTS_TOPIC.lstrip("/"), 10)
        create_episode_services(self)
        self.operator = config.operator
        self.controls = RecorderControls(self, config.joy_topic, config.joy)
        # Wall time: publishers must be found also while a simulation is paused.
        steady_timer(self, LOOK_S, self._look)
        names = [self.embodiment.name] if self.embodiment is not None else []
        what = " and ".join([*names, *(["every topic"] if self._all_topics else [])])
        self.get_logger().info(f"records {what} into {self.out_dir}; waiting for ~/start_episode")

    @property
    def recording(self) -> bool:
        """True while an episode is being recorded."""
        return self._recording is not None

    def close(self) -> None:
        """End a running episode, with unknown outcome, so that its bag is complete."""
        if self._recording is not None:
            self.get_logger().warning(
                f"stopped while recording: {self._recording.name} is kept with unknown outcome"
            )
            self._end("the recorder was stopped", max(self._now_ns(), self._last_ns))

    def _end(self, note: str, at_ns: int) -> None:
        """End the episode without anybody having asked."""
        with contextlib.suppress(HptError):
            self._finish(EpisodeEvent.OUTCOME_UNKNOWN, note, at_ns)

    def _look(self) -> None:
        """Subscribe to what has come to be published, and check the rates of what is being recorded."""
        further = dict.fromkeys(self._extra, "")
        if self._all_topics:
            own = (bag_schema.EVENTS_TOPIC, bag_schema.EMBODIMENT_TOPIC)
            further |= {topic: "" for topic in self.topics.list_published() if topic not in own}
        for topic, type_ in (further | self._needed).items():
            self.topics.poll(topic, type_)
        if self._recording is not None:
            self._add_new(self._recording)
        if self._recording is not None and self._rates is not None:
            instant = self._time.now()
            if self._end_if_jumped(instant):
                return
            for warning in self._rates.check(instant.control_ns):
                self._warn(warning)
            self._check_room()

    def _add_new(self, recording: EpisodeRecording) -> None:
        """Record topics that somebody began to publish since the episode began."""
        for topic, entry in self.topics.known.items():
            if topic not in recording.counts:
                try:
                    recording.add_topic(topic, entry, load_installed_types([entry.type]))
                except HptError as error:
                    self._warn(f"{topic} is not recorded: {error}")
                    recording.counts.pop(topic, None)
                    continue
                self.get_logger().info(f"records {topic} from now on")

    def _warn(self, text: str) -> None:
        """Say it now, and keep it for the bag."""
        self.get_logger().warning(text)
        if len(self._warnings) < MOST_WARNINGS:
            after_s = (self._time.now().control_ns - self._started_ns) * 1e-9
            self._warnings.append(f"after {after_s:.1f} s: {text}")

    def _check_room(self) -> None:
        self._unchecked_bytes = 0
        if self._recording is not None and (free_mb := self._free_mb()) < self._keep_free_mb:
            self.get_logger().error(f"{self.out_dir} has {free_mb} MiB free; the episode ends here")
            self._end("the disk was full", max(self._now_ns(), self._last_ns))

    def _free_mb(self) -> int:
        return shutil.disk_usage(self.out_dir).free // _MB

    def _on_lost(self, topic: str, count: int) -> None:
        """The middleware gave up messages of a topic."""
        if self._recording is not None and topic in self._recording.counts:
            if topic not in self._lost:
                self._warn(
                    f"{topic} loses messages on the way here; see docs/data.md on recording without loss"
                )
            self._lost[topic] = self._lost.get(topic, 0) + count

    def _on_message(self, topic: str, data: bytes) -> None:
        if self._held is not None:
            self._held.note_message(topic, data)
        if self._recording is None or topic not in self._recording.counts:
            return
        instant = self._time.now()
        if self._end_if_jumped(instant):
            return
        now_ns = instant.ros_ns
        self._write(topic, now_ns, data)
        if self._rates is not None:
            self._rates.count(topic, instant.control_ns)
        # A burst must not use up the room that is retained before the timer looks.
        self._unchecked_bytes += len(data)
        if 4 * self._unchecked_bytes > self._keep_free_mb * _MB:
            self._check_room()

    def _end_if_jumped(self, instant: Instant) -> bool:
        """End the episode if its clock was set: stamps before and after cannot be compared.

        Simulated time may leap: a simulation that is fast, or a recorder that was busy, looks the same.
        """
        back_s = (self._last_ns - instant.ros_ns) * 1e-9
        jump = instant.jump
        if back_s > 0.0:
            jump = Refusal(Why.WENT_BACK, "the clock", -back_s, problem=f"went back by {back_s:.3f} s")
        if jump is None or (back_s <= 0.0 and self._time.simulated):
            return False
        self.get_logger().error(f"{jump} while recording; the episode ends here")
        self._end("the clock went back" if back_s > 0.0 else str(jump), self._last_ns)
        return True

    def _write(self, topic: str, log_ns: int, data: bytes) -> None:
        assert self._recording is not None
        try:
            self._recording.write(topic, log_ns, data)
        except HptError as error:
            self.get_logger().error(
                f"{error}; the episode ends here: what was written of it is read with --recover"
            )
            cut, self._recording, self._rates = self._recording, None, None
            cut.abort()
            if self.context.ok():
                why = "the bag could not be written"
                self._events.publish(self._event(cut.name, EpisodeEvent.STOPPED, log_ns, note=why))
        self._last_ns = log_ns

    def start_episode(self, task: str = "", operator: str = "") -> tuple[str, Path]:
        """Begin an episode; with the embodiment's task and the parameter's operator where none is given.

        Returns:
            The episode's name and its bag.

        Raises:
            HptError: one is running, a topic of the embodiment file has no publisher, or the disk refuses.
        """
        try:
            usual = self.embodiment.task if self.embodiment is not None else ""
            self._start(task or usual, operator or self.operator)
        except HptError as error:
            self.get_logger().error(f"start refused: {error}")
            raise
        assert self._recording is not None
        self.get_logger().info(f"records {self._recording.path} (task {self._task!r})")
        return self._recording.name, self._recording.path

    def _start(self, task: str, operator: str) -> None:
        if self._recording is not None:
            raise HptError(
                Code.NOT_READY, f"episode {self._recording.name!r}", problem="is being recorded",
                remedy="stop or discard it first",
            )  # fmt: skip
        now_ns = self._now_ns()
        if now_ns == 0:
            raise HptError(
                Code.NOT_READY, "the simulated clock", problem="has not begun (nothing on /clock)",
                remedy="start the simulation first",
            )  # fmt: skip
        self._look()
        self.topics.require(self._needed)
        for topic in set(self._extra) - self.topics.known.keys():
            self.get_logger().warning(f"no publisher on the extra topic {topic}; it is not in this episode")
        if (free_mb := self._free_mb()) < 2 * self._keep_free_mb:
            raise HptError(
                Code.UNAVAILABLE, str(self.out_dir), free_mb, problem="has {value} MiB free",
                expected=f"{2 * self._keep_free_mb} MiB (twice keep_free_mb)",
                remedy="make room, or record elsewhere",
            )  # fmt: skip
        topics = dict(self.topics.known)
        topics[bag_schema.EVENTS_TOPIC] = RecordedTopic(bag_schema.EVENTS_TYPE)
        name = new_name()
        if self.embodiment is not None:
            topics[bag_schema.EMBODIMENT_TOPIC] = RecordedTopic(bag_schema.EMBODIMENT_TYPE, latched=True)
        metadata = metadata_of(self.site, self.resolve_topic_name, name, task, operator)
        types = load_installed_types(entry.type for entry in topics.values())
        recording = EpisodeRecording(self.out_dir, name, topics, types, metadata)
        self._recording, self._task, self._operator, self._last_ns = recording, task, operator, now_ns
        self._started_ns, self._lost, self._warnings = self._time.now().control_ns, {}, []
        self._rates = RateWatch(self._rates_hz, self._started_ns, RATE_WINDOW_S)
        self._tell(EpisodeEvent.STARTED, now_ns)
        if self.recording and self.embodiment is not None:  # else the disk was full already
            text = serialize_message(String(data=self.embodiment.to_yaml()))
            self._write(bag_schema.EMBODIMENT_TOPIC, now_ns, text)
        for held, message in self._held.messages() if self._held is not None else ():
            # Before all others of their topics, so that stamps do not go back.
            if self.recording and held in topics:
                self._write(held, now_ns, message)
        if self.recording:
            self.topics.renew()
        else:
            raise HptError(
                Code.UNWRITABLE, f"the bag {str(recording.path)!r}", remedy="check the disk's space"
            )

    def stop_episode(self, outcome: int, note: str = "") -> tuple[Path, dict[str, int], str]:
        """End the episode and keep its bag.

        Args:
            outcome: `EpisodeEvent`'s OUTCOME_UNKNOWN, OUTCOME_SUCCESS or OUTCOME_FAILURE.
            note: for people.

        Returns:
            The bag, its messages by topic, and both as text.

        Raises:
            HptError: none is running, no such outcome, or the disk refuses.
        """
        if self._recording is None:
            raise HptError(
                Code.NOT_READY, "no episode", problem="is being recorded", remedy="start one first"
            )
        if outcome >= len(bag_schema.OUTCOMES):
            raise HptError(
                Code.INVALID, "the outcome", outcome, expected=f"0 to {len(bag_schema.OUTCOMES) - 1}"
            )
        path, counts = self._finish(outcome, note, max(self._now_ns(), self._last_ns))
        empty = [topic for topic in self._needed if not counts.get(topic)]
        summary = summary_of(counts, self._lost, empty)
        if empty:
            self.get_logger().warning(f"nothing came on {', '.join(empty)} during {path.name}")
        self.get_logger().info(f"kept {path} ({bag_schema.OUTCOMES[outcome]}): {summary}")
        return path, counts, summary

    def _finish(self, outcome: int, note: str, at_ns: int) -> tuple[Path, dict[str, int]]:
        recording = self._recording
        assert recording is not None
        self._tell(EpisodeEvent.STOPPED, at_ns, outcome, note)
        if self._recording is None:
            raise HptError(
                Code.UNWRITABLE, f"the end of {str(recording.path)!r}", problem="could not be written",
                remedy="read it with --recover",
            )  # fmt: skip
        try:
            path = recording.finish(
                {
                    bag_schema.KEY_OUTCOME: bag_schema.OUTCOMES[outcome],
                    bag_schema.KEY_NOTE: note,
                    bag_schema.KEY_WARNINGS: "\n".join(self._warnings),
                }
            )
        except HptError as error:
            self.get_logger().error(str(error))
            raise
        finally:
            self._recording, self._rates = None, None
        return path, dict(recording.counts)

    def discard_episode(self) -> None:
        """End the episode and delete its bag.

        Raises:
            HptError: none is running.
        """
        if self._recording is None:
            raise HptError(
                Code.NOT_READY, "no episode", problem="is being recorded", remedy="start one first"
            )
        recording = self._recording
        self._tell(EpisodeEvent.DISCARDED, self._now_ns())
        self._recording, self._rates = None, None
        recording.discard()
        self.get_logger().info(f"discarded {recording.name}")

    def _tell(self, event: int, at_ns: int, outcome: int = 0, note: str = "") -> None:
        """Publish an event and write it into the bag."""
        assert self._recording is not None
        message = self._event(self._recording.name, event, at_ns, outcome, note)
        if (
            self.context.ok()
        ):  # after Ctrl-C there is nobody to tell any more, but the bag must still be ended
            self._events.publish(message)
        self._write(bag_schema.EVENTS_TOPIC, at_ns, serialize_message(message))

    def _event(self, name: str, event: int, at_ns: int, outcome: int = 0, note: str = "") -> EpisodeEvent:
        message = EpisodeEvent(
            event=event, episode_id=name, task=self._task, operator_name=self._operator,
            outcome=outcome, note=note,
        )  # fmt: skip
        message.header.stamp = rclpy.time.Time(nanoseconds=at_ns).to_msg()
        return message

    def _now_ns(self) -> int:
        return self._time.now().ros_ns


def main(args: list[str] | None = None) -> int:
    """Run the recorder until it is interrupted; a running episode is retained."""
    return run_node(RecorderNode, "recorder_node", args)
