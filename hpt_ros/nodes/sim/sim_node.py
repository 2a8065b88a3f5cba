# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot as a ROS 2 node: it publishes what a robot's drivers would, and takes joint trajectories.

A thread of its own owns the physics and the GL contexts and paces simulated time; callbacks hand it requests and wait.
"""

from __future__ import annotations

import array
import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, Final

import cv2
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from hpt_msgs.srv import GetTaskResult, ResetScene
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.nodes.common import parameters
from hpt_ros.nodes.common.parameters import StrictParameters
from hpt_ros.nodes.common.spinning import run_node
from hpt_ros.sim.demonstrations import MOST_DISTURBANCE_RAD
from hpt_ros.sim.disturbance import Disturbance
from hpt_ros.sim.follower import TrajectoryFollower
from hpt_ros.sim.physics import VIDEO_QUALITY, Renderer, whole_steps
from hpt_ros.sim.robots import PANDA_ROBOT
from hpt_ros.sim.table import CAMERA_NS, START_NS, TICK_NS
from hpt_ros.sim.table_task import table_physics
from hpt_ros.sim.tasks.feed_dog.task import FeedDogTask
from hpt_ros.sim.trajectory import NS_PER_S
from hpt_ros.sim.trajectory import JointTrajectory as Trajectory
from hpt_ros.structured import field

DIAGNOSTICS_NS: Final = 1_000_000_000
REQUEST_TIMEOUT_S: Final = 60.0  # wall time that a service waits for the physics thread
MAX_LAG_S: Final = 0.2  # wall time that the simulation may catch up; what is beyond slows simulated time down
_STOPPED: Final = Refusal(
    Code.NOT_READY, "the simulator", problem="has stopped", remedy="start sim_node again"
)


@dataclass(frozen=True, slots=True)
class SimParameters:
    """ROS parameters of the node."""

    real_time_factor: float = field(
        "simulated seconds per wall second; 0 runs as fast as possible",
        default=1.0,
        minimum=0.0,
        maximum=100.0,
    )
    image_height: int = field(
        "height of both cameras' images", default=96, unit="px", minimum=16, maximum=960
    )
    image_width: int = field(
        "width of both cameras' images", default=128, unit="px", minimum=16, maximum=1280
    )
    picture_height: int = field("height of /picture_camera", default=480, unit="px", minimum=16, maximum=960)
    picture_width: int = field("width of /picture_camera", default=640, unit="px", minimum=16, maximum=1280)
    jpeg_quality: int = field("quality of the compressed images", default=90, minimum=1, maximum=100)
    disturbance_rad: float = field(
        "standard deviation of smooth random offsets between commanded and executed joint targets",
        default=0.0, unit="rad", minimum=0.0, maximum=MOST_DISTURBANCE_RAD,
    )  # fmt: skip
    seed: int = field("seed of the scene at the start", default=0, minimum=0)


class _Camera:
    """Publishers of one camera; it renders only when somebody listens."""

    def __init__(self, node: Node, name: str) -> None:
        self.name = name
        self._frame = f"{name}_camera_optical_frame"
        self._raw = node.create_publisher(Image, f"{name}_camera/image_raw", 5)
        self._jpeg = node.create_publisher(CompressedImage, f"{name}_camera/image_raw/compressed", 5)

    def publish(self, renderer: Renderer, stamp: Time, jpeg_quality: int) -> None:
        raw, jpeg = self._raw.get_subscription_count() > 0, self._jpeg.get_subscription_count() > 0
        if not (raw or jpeg):
            return
        pixels = renderer.render(self.name)
        if raw:
            message = Image(
                height=pixels.shape[0], width=pixels.shape[1], encoding="rgb8", step=3 * pixels.shape[1]
            )
            message.header.stamp, message.header.frame_id = stamp, self._frame
            message.data = array.array("B", pixels.tobytes())  # the one type that rclpy takes without a loop
            self._raw.publish(message)
        if jpeg:
            done, data = cv2.imencode(
                ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
            )
            if not done:
                raise HptError(
                    Code.INVALID, "OpenCV", problem=f"could not encode the {self.name} camera's image as JPEG",
                    remedy="reinstall OpenCV",
                )  # fmt: skip
            compressed = CompressedImage(format="rgb8; jpeg compressed bgr8")
            compressed.header.stamp, compressed.header.frame_id = stamp, self._frame
            compressed.data = array.array("B", data.tobytes())
            self._jpeg.publish(compressed)


class SimNode(StrictParameters, Node):
    """The scene `feed_dog` on the ROS graph; call `start` to let time run, `close` before `destroy_node`.

    Publishes /clock, /joint_states, /front_camera, /wrist_camera and /picture_camera (image_raw and
    image_raw/compressed), /sim/bowl_pose, /diagnostics; subscribes to /arm_controller/joint_trajectory; serves
    /sim/reset_scene and /sim/task_result. Simulated time only goes forward: a reset moves bodies, not the clock.
    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        namespace: str = "",
        parameter_overrides: Sequence[Parameter[Any]] | None = None,
    ) -> None:
        super().__init__(
            "sim_node",
            context=context,
            namespace=namespace,
            parameter_overrides=list(parameter_overrides or ()),
        )
        self._settings = parameters.declare_fixed(self, SimParameters)
        self._physics = table_physics(FeedDogTask, PANDA_ROBOT)
        self._tick_steps = whole_steps(
            TICK_NS * 1e-9, self._physics.timestep_s, what="period of joint_states"
        )
        self._task = FeedDogTask(self._physics)
        self._task.reset(self._settings.seed)
        self._physics.start_clock(START_NS / NS_PER_S)
        self._now_ns = START_NS
        self._follower = TrajectoryFollower(self._physics.joint_positions_rad, 1.0 / self._physics.timestep_s)
        self._disturbance = Disturbance(self._settings.disturbance_rad, self._settings.seed)
        self._requests: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._unseen: list[Future[None]] = []
        self._stop = threading.Event()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="physics", daemon=True)

        self._clock_publisher = self.create_publisher(Clock, "/clock", 10)
        self._joint_publisher = self.create_publisher(JointState, "joint_states", 20)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._bowl_publisher = self.create_publisher(PoseStamped, "sim/bowl_pose", latched)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._cameras = [_Camera(self, "front"), _Camera(self, "wrist")]
        self._picture = _Camera(self, "picture")
        self.create_subscription(JointTrajectory, "arm_controller/joint_trajectory", self._on_trajectory, 20)
        self.create_service(ResetScene, "sim/reset_scene", self._on_reset)
        self.create_service(GetTaskResult, "sim/task_result", self._on_result)

    def start(self) -> None:
        """Let simulated time run.

        Raises:
            HptError: the cameras cannot render on this machine.
        """
        self._thread.start()
        self._ready.result()

    def close(self) -> None:
        """Stop simulated time; idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._refuse_requests()

    @property
    def counters(self) -> dict[str, int]:
        """What happened to the commands so far (see `FollowerCounters`)."""
        return asdict(self._follower.counters)

    # -- callbacks, on the executor's thread ----------------------------------------------------------------------

    def _on_trajectory(self, message: JointTrajectory) -> None:
        trajectory = Trajectory.of(message)
        future = self._ask(lambda: self._follower.command(self._now_ns, trajectory))
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
            shown: Future[None] = self._ask(lambda: self._reset(int(request.seed))).result(REQUEST_TIMEOUT_S)
            shown.result(REQUEST_TIMEOUT_S)
            response.success = True
        except (HptError, TimeoutError) as error:
            response.message = (
                str(error) or f"the physics thread gave no answer within {REQUEST_TIMEOUT_S:g} s"
            )
        return response

    def _on_result(
        self, _: GetTaskResult.Request, response: GetTaskResult.Response
    ) -> GetTaskResult.Response:
        try:
            result = self._ask(self._task.result).result(REQUEST_TIMEOUT_S)
            response.success, response.progress, response.detail = (
                result.success,
                result.progress,
                result.detail,
            )
        except (HptError, TimeoutError) as error:
            response.detail = (
                str(error) or f"the physics thread gave no answer within {REQUEST_TIMEOUT_S:g} s"
            )
        return response

    def _ask(self, action: Callable[[], Any]) -> Future[Any]:
        """Let the physics thread run `action` between two ticks."""
        future: Future[Any] = Future()
        self._requests.put((action, future))
        if self._stop.is_set():
            self._refuse_requests()
        return future

    def _refuse_requests(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                _, future = self._requests.get_nowait()
                future.set_exception(HptError.of(_STOPPED))

    # -- the physics thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        p = self._settings
        renderers: list[Renderer] = []
        try:
            renderers.append(Renderer(self._physics, p.image_height, p.image_width))
            renderers.append(Renderer(self._physics, p.picture_height, p.picture_width, VIDEO_QUALITY))
        except HptError as error:
            self._ready.set_exception(error)
            self._stop.set()
            return
        self._ready.set_result(None)
        try:
            self._loop(*renderers)
        except Exception as error:
            if (
                not self._stop.is_set() and self.context.ok()
            ):  # else it is the shutdown that made publishing fail
                self.get_logger().fatal(f"the simulation stopped: {error}")
                raise
        finally:
            self._stop.set()
            while self._unseen:
                self._unseen.pop().set_exception(HptError.of(_STOPPED))
            self._refuse_requests()
            for renderer in renderers:
                renderer.close()

    def _loop(self, small: Renderer, large: Renderer) -> None:
        factor = self._settings.real_time_factor
        self._publish_bowl()
        due_s = time.monotonic()
        while not self._stop.is_set():
            self._serve_requests()
            stamp = self._stamp()
            self._clock_publisher.publish(Clock(clock=stamp))
            self._publish_joints(stamp)
            if self._now_ns % CAMERA_NS == 0:
                self._task.animate()
                for camera in self._cameras:
                    camera.publish(small, stamp, self._settings.jpeg_quality)
                self._picture.publish(large, stamp, self._settings.jpeg_quality)
                while self._unseen:
                    self._unseen.pop().set_result(None)
            if self._now_ns % DIAGNOSTICS_NS == 0:
                self._publish_bowl()
                self._publish_diagnostics(stamp)
            self._advance()
            if factor > 0.0:
                due_s = max(due_s + TICK_NS * 1e-9 / factor, time.monotonic() - MAX_LAG_S)
                self._stop.wait(max(0.0, due_s - time.monotonic()))

    def _serve_requests(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                action, future = self._requests.get_nowait()
                try:
                    future.set_result(action())
                except HptError as error:
                    future.set_exception(error)

    def _advance(self) -> None:
        physics = self._physics
        offset = self._disturbance.step(TICK_NS * 1e-9, float(physics.site_position("scoop_lip")[2]))
        step_ns = TICK_NS // self._tick_steps
        for step in range(1, self._tick_steps + 1):
            target = self._follower.target(
                self._now_ns + step * step_ns, physics.joint_positions_rad, physics.joint_velocities_rad_s
            )
            physics.set_targets(target + offset)
            physics.step()
        if gave_up := self._follower.gave_up():
            self.get_logger().warning(f"the arm's controller holds: {gave_up}", throttle_duration_sec=1.0)
        self._now_ns += TICK_NS

    def _reset(self, seed: int) -> Future[None]:
        """Reset now; the future is done when the cameras have shown the new scene."""
        self._task.reset(seed)
        self._follower.reset(self._physics.joint_positions_rad)
        self._disturbance = Disturbance(self._settings.disturbance_rad, seed)
        self._publish_bowl()
        shown: Future[None] = Future()
        self._unseen.append(shown)
        return shown

    def _stamp(self) -> Time:
        return Time(sec=self._now_ns // 1_000_000_000, nanosec=self._now_ns % 1_000_000_000)

    def _publish_joints(self, stamp: Time) -> None:
        physics = self._physics
        message = JointState(name=list(physics.joint_names))
        message.header.stamp = stamp
        message.position = physics.joint_positions_rad.tolist()
        message.velocity = physics.joint_velocities_rad_s.tolist()
        message.effort = physics.joint_efforts_nm.tolist()
        self._joint_publisher.publish(message)

    def _publish_bowl(self) -> None:
        message = PoseStamped()
        message.header.stamp, message.header.frame_id = self._stamp(), "panda_link0"
        message.pose.position.x, message.pose.position.y = (float(value) for value in self._task.bowl_xy_m)
        message.pose.orientation.w = 1.0
        self._bowl_publisher.publish(message)

    def _publish_diagnostics(self, stamp: Time) -> None:
        counters = self.counters
        bad = {name: count for name, count in counters.items() if name != "accepted" and count}
        status = DiagnosticStatus(name="sim_node: joint trajectory commands", hardware_id="feed_dog")
        status.level = DiagnosticStatus.WARN if bad else DiagnosticStatus.OK
        status.message = (
            ", ".join(f"{count} {name}" for name, count in bad.items()) or "all commands as expected"
        )
        status.values = [KeyValue(key=name, value=str(count)) for name, count in counters.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = stamp
        self._diagnostics_publisher.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(SimNode, "sim_node", args)


if __name__ == "__main__":
    sys.exit(main())
