# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Any environment as a ROS 2 node: it publishes what the robot's drivers would, and takes what its controllers would.

A thread of its own owns the environment with its GL contexts and paces simulated time; callbacks hand it requests and
wait. What is simulated, and when, is the environment's alone (`hpt_ros.sim.environment`).
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # before Python 3.11 not the builtin one
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from hpt_msgs.msg import ActionChunk
from hpt_msgs.srv import GetTaskResult, ResetScene
from hpt_ros.embodiment import Output
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.nodes.common import parameters
from hpt_ros.nodes.common.conversions import to_time
from hpt_ros.nodes.common.interfaces import import_interface
from hpt_ros.nodes.common.parameters import StrictParameters
from hpt_ros.nodes.common.run import run_node
from hpt_ros.nodes.sim.sensor_publishers import ImagePublisher, image_topics, sensor_publishers
from hpt_ros.nodes.sim.sim_parameters import SimParameters
from hpt_ros.sim.environment import (
    Counts,
    Environment,
    Expert,
    HasExpert,
    Selects,
)

NS_PER_S: Final = 1_000_000_000
TICK_NS: Final = 10_000_000  # /clock: 100 Hz
PICTURE_NS: Final = 100_000_000
SHOWN_NS: Final = (
    2 * NS_PER_S
)  # simulated time after a reset at which a camera that shows nothing is not waited for
COMMAND_DEPTH: Final = 20
REQUEST_TIMEOUT_S: Final = 60.0  # wall time that a service waits for the physics thread
MAX_LAG_S: Final = 0.2  # wall time that the simulation may catch up; what is beyond slows simulated time down
LATCHED: Final = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
EMBODIMENT_TOPIC: Final = "sim/embodiment"
EXPERT_TOPIC: Final = "sim/expert_action"
_STOPPED: Final = Refusal(
    Code.NOT_READY, "the simulator", problem="has stopped", remedy="start sim_node again"
)


class SimNode(StrictParameters, Node):
    """An environment on the ROS graph; call `start` to let time run, `close` before `destroy_node`.

    Publishes /clock, the topics of the environment's embodiment (raw images as JPEG too), /picture_camera for people,
    /sim/embodiment, /diagnostics, and to who demonstrates /sim/expert_action; subscribes to the embodiment's command
    topics; serves /sim/reset_scene and /sim/task_result. Simulated time only goes forward: a reset moves bodies, and
    the clock on to the next full second.

    Attributes:
        environment: what is simulated; once time runs, only `ask` may touch it.
    """

    def __init__(
        self,
        *,
        make: Callable[[], Environment] | None = None,
        context: Context | None = None,
        namespace: str = "",
        parameter_overrides: Sequence[Parameter[Any]] | None = None,
    ) -> None:
        """Make the environment, and offer its topics.

        Args:
            make: makes it in place of the parameters `environment`, `image_*` and `disturbance_rad`.
            context, namespace, parameter_overrides: of rclpy's Node.

        Raises:
            HptError: a parameter is wrong, or the environment cannot be made or put on a graph.
        """
        super().__init__(
            "sim_node",
            context=context,
            namespace=namespace,
            parameter_overrides=list(parameter_overrides or ()),
        )
        self._settings = parameters.declare_fixed(self, SimParameters)
        self.environment = environment = self._settings.make() if make is None else make()
        environment.reset(self._settings.seed)
        self.robot = robot = environment.embodiment
        self._now_ns = environment.now_ns
        self._counters = {"accepted": 0, "refused": 0}
        self._complained: Mapping[str, int] = {}
        self._expert: Expert | None = None
        self._expert_ns = self._pictured_ns = 0
        self._selected: frozenset[str] | None = None
        self._requests: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._unseen: tuple[set[str], int, Future[None]] | None = None
        self._stop = threading.Event()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="physics", daemon=True)

        self._clock_publisher = self.create_publisher(Clock, "/clock", 10)
        self._sensors = sensor_publishers(self, robot, self._settings.jpeg_quality)
        self._picture = ImagePublisher(self, "picture_camera")
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._embodiment_publisher = self.create_publisher(String, EMBODIMENT_TOPIC, LATCHED)
        self._embodiment_publisher.publish(String(data=robot.to_yaml()))
        self._expert_publisher = (
            self.create_publisher(ActionChunk, EXPERT_TOPIC, 10)
            if isinstance(environment, HasExpert)
            else None
        )
        for output in robot.action.parts:
            self._take_commands(output)
        self.create_service(ResetScene, "sim/reset_scene", self._on_reset)
        self.create_service(GetTaskResult, "sim/task_result", self._on_result)

    def _take_commands(self, output: Output) -> None:
        if output.message_type.is_action:
            raise HptError(
                Code.UNSUPPORTED, f"the environment {self.environment.name!r}", output.type,
                problem=f"takes {{value}} on {output.topic}", expected="commands that are messages, not goals",
                remedy="evaluate in lock step, without ROS",
            )  # fmt: skip
        kind = import_interface(output.type, f"embodiment {self.robot.name!r}, output {output.name!r},")
        self.create_subscription(
            kind, output.topic, lambda message: self._on_command(output.topic, message), COMMAND_DEPTH
        )

    def start(self) -> None:
        """Let simulated time run.

        Raises:
            HptError: the cameras cannot render on this machine.
        """
        self._thread.start()
        self._ready.result()

    def close(self) -> None:
        """Stop simulated time and free the environment; idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        elif not self._ready.done():  # never started, so nobody else frees it
            self._ready.cancel()
            self.environment.close()
        self._refuse_requests()

    @property
    def counters(self) -> dict[str, int]:
        """What happened to the commands so far, by name."""
        own = self.environment.counters() if isinstance(self.environment, Counts) else {}
        return {**self._counters, **own}

    @property
    def refused(self) -> int:
        """How many commands the robot's controllers refused so far, for whatever reason."""
        return self._counters["refused"]

    def ask(self, action: Callable[[], Any]) -> Future[Any]:
        """Let the physics thread run `action`, which may use the environment, between two ticks."""
        future: Future[Any] = Future()
        self._requests.put((action, future))
        if self._stop.is_set():
            self._refuse_requests()
        return future

    # -- callbacks, on the executor's thread ----------------------------------------------------------------------

    def _on_command(self, topic: str, message: Any) -> None:
        future = self.ask(lambda: self._command(topic, message))
        future.add_done_callback(self._log_refusal)

    def _log_refusal(self, future: Future[Any]) -> None:
        error = future.exception()
        if isinstance(error, HptError) and not self._stop.is_set():
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        try:
            if request.seed < 0:
                raise HptError(
                    Code.OUT_OF_RANGE, f"the seed {request.seed}", problem="is negative", expected="0 or more",
                    remedy="choose another",
                )  # fmt: skip
            shown: Future[None] = self.ask(lambda: self._reset(int(request.seed))).result(REQUEST_TIMEOUT_S)
            shown.result(REQUEST_TIMEOUT_S)
            response.success = True
        except (HptError, FutureTimeoutError) as error:
            response.message = _why(error)
        return response

    def _on_result(
        self, _: GetTaskResult.Request, response: GetTaskResult.Response
    ) -> GetTaskResult.Response:
        try:
            outcome = self.ask(self.environment.outcome).result(REQUEST_TIMEOUT_S)
            response.success, response.progress = bool(outcome.success), float(outcome.progress)
            response.detail = outcome.detail
        except (HptError, FutureTimeoutError) as error:
            response.detail = _why(error)
        return response

    def _refuse_requests(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                _, future = self._requests.get_nowait()
                future.set_exception(HptError.of(_STOPPED))

    # -- the physics thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        p = self._settings
        try:
            self.environment.render(
                p.picture_height, p.picture_width
            )  # a machine that cannot says so at once
        except Exception as error:  # `start` raises it, whatever an environment of another package raises
            self._stop.set()
            self.environment.close()
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        try:
            self._loop()
        except Exception as error:
            if (
                not self._stop.is_set() and self.context.ok()
            ):  # else it is the shutdown that made publishing fail
                self.get_logger().fatal(f"the simulation stopped: {error}")
                raise
        finally:
            self._stop.set()
            if self._unseen is not None:
                self._unseen[2].set_exception(HptError.of(_STOPPED))
            self._refuse_requests()
            self.environment.close()

    def _loop(self) -> None:
        factor = self._settings.real_time_factor
        due_s = time.monotonic()
        while not self._stop.is_set():
            self._serve_requests()
            self._select()
            self._now_ns += TICK_NS
            samples = self.environment.advance(self._now_ns)
            self._clock_publisher.publish(Clock(clock=to_time(self._now_ns)))
            for sample in samples:
                if (sensor := self._sensors.get(sample.topic)) is not None:
                    sensor.publish(sample.message)
            self._show({sample.topic for sample in samples})
            self._act_as_expert()
            if self._now_ns % NS_PER_S < TICK_NS:
                self._publish_diagnostics()
            if factor > 0.0:
                due_s = max(due_s + TICK_NS / NS_PER_S / factor, time.monotonic() - MAX_LAG_S)
                self._stop.wait(max(0.0, due_s - time.monotonic()))

    def _serve_requests(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                action, future = self._requests.get_nowait()
                try:
                    future.set_result(action())
                except HptError as error:
                    future.set_exception(error)
                except Exception:
                    future.set_exception(HptError.of(_STOPPED))  # whoever asked does not wait in vain
                    raise

    def _select(self) -> None:
        """Tell the environment which topics somebody subscribes to, when these are others than before."""
        if not isinstance(self.environment, Selects):
            return
        wanted = frozenset(topic for topic, sensor in self._sensors.items() if sensor.wanted)
        if wanted != self._selected:
            self._selected = wanted
            self.environment.select(wanted)

    def _command(self, topic: str, message: Any) -> None:
        try:
            self.environment.command(topic, message)
        except HptError:
            self._counters["refused"] += 1
            raise
        self._counters["accepted"] += 1

    def _reset(self, seed: int) -> Future[None]:
        """Reset now; the future is done when the cameras that somebody looks at have shown the new scene."""
        self.environment.reset(seed)
        self._now_ns = self.environment.now_ns
        self._expert = None
        shown: Future[None] = Future()
        if self._unseen is not None:
            self._unseen[2].set_result(None)
        cameras = set(image_topics(list(self._sensors.values())))
        self._unseen = cameras, self._now_ns + SHOWN_NS, shown
        return shown

    def _show(self, topics: set[str]) -> None:
        """Draw for people, and say that a new scene was seen."""
        if self._picture.wanted and self._now_ns - self._pictured_ns >= PICTURE_NS:
            self._pictured_ns = self._now_ns - self._now_ns % PICTURE_NS
            pixels = self.environment.render(self._settings.picture_height, self._settings.picture_width)
            self._picture.publish(pixels, to_time(self._now_ns))
        if self._unseen is not None:
            cameras, until_ns, shown = self._unseen
            cameras -= topics
            if not cameras or self._now_ns >= until_ns:
                self._unseen = None
                shown.set_result(None)

    def _act_as_expert(self) -> None:
        """Say what the expert would do now, once a command period, while somebody who demonstrates subscribes."""
        publisher = self._expert_publisher
        if publisher is None or not publisher.get_subscription_count():
            self._expert = None
            return
        period_ns = round(NS_PER_S / self.robot.action.rate_hz)
        if self._expert is None:
            assert isinstance(self.environment, HasExpert)
            self._expert, self._expert_ns = self.environment.expert(), self._now_ns
        if self._now_ns < self._expert_ns:
            return
        self._expert_ns = max(self._expert_ns, self._now_ns - period_ns) + period_ns
        due_ns = self._now_ns + period_ns
        action = np.asarray(self._expert.action(due_ns), np.float64)
        message = ActionChunk(
            observation_stamp=to_time(due_ns),
            embodiment=self.robot.name,
            action_names=list(self.robot.action.names),
            dt_s=period_ns / NS_PER_S,
            horizon=1,
            dim=len(action),
            values=action.tolist(),
        )
        message.header.stamp = to_time(self._now_ns)
        publisher.publish(message)

    def _publish_diagnostics(self) -> None:
        counters = self.counters
        bad = {name: count for name, count in counters.items() if name != "accepted" and count}
        status = DiagnosticStatus(name="sim_node: commands", hardware_id=self.robot.name)
        status.level = DiagnosticStatus.WARN if bad else DiagnosticStatus.OK
        status.message = (
            ", ".join(f"{count} {name}" for name, count in bad.items()) or "all commands as expected"
        )
        status.values = [KeyValue(key=name, value=str(count)) for name, count in counters.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = to_time(self._now_ns)
        self._diagnostics_publisher.publish(message)
        if bad != self._complained:
            self._complained = bad
            self.get_logger().warning(f"commands so far: {status.message}", throttle_duration_sec=1.0)


def _why(error: Exception) -> str:
    return str(error) or f"the physics thread gave no answer within {REQUEST_TIMEOUT_S:g} s"


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(SimNode, "sim_node", args)


if __name__ == "__main__":
    sys.exit(main())
