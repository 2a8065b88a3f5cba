# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Episodes of `hpt_ros.evaluation` over the ROS graph, in real time: simulator and policy are the nodes of a robot.

The nodes are the ones that `ros2 run` starts, in one process, and they talk over the middleware as they would between
machines. What an episode comes to is what lock step says of it: the same fields, from the same measurements.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError  # before Python 3.11 not the builtin one
from typing import Any, Final

import numpy as np
from lifecycle_msgs.msg import Transition
from numpy.typing import NDArray
from rclpy.logging import LoggingSeverity, get_logger_level, set_logger_level
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from hpt_msgs.srv import ClearFault
from hpt_ros.control import State
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.evaluation.evaluate import Job
from hpt_ros.evaluation.rollout import (
    JUDGED_NS,
    NS_PER_S,
    EpisodeResult,
    Moving,
    motion_figures,
    require_fit,
    set_task,
)
from hpt_ros.evaluation.runners import EXPERT
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.nodes.sim.episode_runner import EpisodeRunner
from hpt_ros.nodes.sim.sim_node import SimNode
from hpt_ros.nodes.sim.teleop_node import TeleopNode
from hpt_ros.policies.factory import load_baseline
from hpt_ros.policies.loading import LoadedPolicy

JUDGED_S: Final = JUDGED_NS / NS_PER_S
READY_S: Final = 60.0  # wall time until the teleoperator must know the robot
DISCOVERED_S: Final = 1.0  # wall time in which nodes of this machine find one another
Samples = Mapping[str, NDArray[np.float64]]


class Graph:
    """A simulator that hosts the environment of a job; `arm` puts one policy after the other before it.

    Args:
        job: names the environment and what happens to its messages.
        real_time_factor: simulated seconds per wall second, at most; 0: as fast as the machine goes.

    Raises:
        HptError: the environment cannot be made or put on a graph.
    """

    def __init__(self, job: Job, real_time_factor: float = 1.0) -> None:
        """Start the simulator."""
        self.composition = Composition()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.composition)
            context = self.composition.context
            self.sim: SimNode = self.composition.add(
                SimNode(
                    make=job.make_environment,
                    context=context,
                    parameter_overrides=[Parameter("real_time_factor", value=float(real_time_factor))],
                )
            )
            self.environment, self.robot = self.sim.environment, self.sim.robot
            self.sim.start()
            self.runner: EpisodeRunner = self.composition.add(EpisodeRunner(context=context))
            self.require_own_domain(DISCOVERED_S)
            self._stack = stack.pop_all()

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def require_own_domain(self, within_s: float = 0.0) -> None:
        """Refuse a second simulator in this ROS domain: each would command the other's robot.

        Args:
            within_s: wall time in which another one may be found.

        Raises:
            HptError: there is one.
        """
        end_s = time.monotonic() + within_s
        while (count := self.runner.count_publishers("/clock")) < 2 and time.monotonic() < end_s:
            time.sleep(0.05)
        if count > 1:
            raise HptError(
                Code.MISMATCH, "/clock", count, problem="has {value} publishers", expected="this simulator alone",
                remedy="end the other one, or set ROS_DOMAIN_ID to a number of your own",
            )  # fmt: skip

    @contextlib.contextmanager
    def arm(self, job: Job) -> Iterator[PolicyArm | ExpertArm]:
        """Put the policy of a job on the graph.

        Raises:
            HptError: it cannot be made, or does not fit.
        """
        if job.runner not in ("", EXPERT):
            raise HptError(
                Code.UNSUPPORTED, "the policy", job.runner, problem="{value} does not run over the ROS graph",
                remedy="leave --ros out",
            )  # fmt: skip
        made = ExpertArm(self, job) if job.runner else PolicyArm(self, job)
        try:
            made.begin()
            yield made
        finally:
            self.composition.remove(made.node)

    def quiet(self, name: str) -> None:
        """Keep a node's routine messages out of the progress bar until the graph ends; warnings stay."""
        self._stack.callback(
            set_logger_level, name, get_logger_level(name)
        )  # levels are the entire process's
        set_logger_level(name, LoggingSeverity.WARN)

    def wait_for_end(self, arm: PolicyArm | ExpertArm, start_s: float, limit_s: float) -> Any:
        """Wait until the task is done, time is up, or the arm gives up; returns the simulator's last answer."""
        look_s, result = start_s, self.runner.task_result()
        while look_s < start_s + limit_s and not result.success and arm.fault is None:
            look_s = min(look_s + JUDGED_S, start_s + limit_s)
            self.runner.wait_until(look_s)
            result = self.runner.task_result()
        return result


class PolicyArm:
    """The policy node, and what it sent in an episode.

    Attributes:
        node: the policy node.
    """

    def __init__(self, graph: Graph, job: Job) -> None:
        """Make the node; `begin` loads the policy."""
        self._graph, self._job = graph, job
        self._drawing = job.choice.policy != "checkpoint"
        self._seed, self._ran = 0, False
        self._before: Samples = {}  # of the node's configurations before
        self._sent: list[Moving] = []
        self._state, self._holds = State.WAITING, 0
        # rosout off: one policy follows another under the same name.
        self.node = PolicyNode(
            load=self._load,
            watch=self._watch,
            context=graph.composition.context,
            parameter_overrides=[Parameter("use_sim_time", value=True)],
            enable_rosout=False,
        )
        graph.quiet(self.node.get_name())
        graph.composition.add(self.node)

    def begin(self) -> None:
        """Load the policy."""
        self._graph.runner.configure_policy(self.node)
        runtime = self.node.runtime
        assert runtime is not None
        set_task(self.node.set_task, runtime.loaded, self._graph.environment)

    @property
    def fault(self) -> Refusal | None:
        """Why the policy node stopped by itself; None if it did not."""
        with self.node.lock:
            runtime = self.node.runtime
            if runtime is None or runtime.controller.state is not State.FAULT:
                return None
            return runtime.controller.reason

    def samples_s(self) -> Samples:
        """Timings in s by name since it began, see `hpt_ros.runtime.metrics.Metrics`."""
        now = self.node.metrics()
        names = self._before.keys() | now.keys()
        none = np.empty(0)
        return {name: np.concatenate([self._before.get(name, none), now.get(name, none)]) for name in names}

    def clear_samples(self) -> None:
        """Forget the timings so far."""
        self._before = {}
        self.node.clear_metrics()

    def episode(self, seed: int) -> EpisodeResult:
        """Run one episode.

        Raises:
            HptError: a node refused.
        """
        graph, runner, job = self._graph, self._graph.runner, self._job
        graph.require_own_domain()
        # A new runtime, as in lock step: the controller remembers what the robot was commanded, and would wait until a
        # robot that a reset moved by magic is there. A policy that draws does so from the scene's seed, whatever the
        # order.
        if self._ran or (self._drawing and seed != self._seed):
            self._before = self.samples_s()
            runner.change_policy_state(Transition.TRANSITION_CLEANUP)
            self._seed = seed
            self.begin()
        self._seed, self._ran = seed, True
        runner.reset_scene(seed)
        refused, inferences = graph.sim.refused, len(self.samples_s().get("inference_s", ()))
        self._sent, self._holds, self._state = [], 0, State.WAITING
        start_s = runner.now_s()
        runner.change_policy_state(Transition.TRANSITION_ACTIVATE)
        try:
            result = graph.wait_for_end(self, start_s, job.config.limit_ns(graph.environment) / NS_PER_S)
            duration_s, counters, sent = runner.now_s() - start_s, self.node.counters(), list(self._sent)
        finally:
            fault = self.fault
            runner.change_policy_state(Transition.TRANSITION_DEACTIVATE)
        graph.require_own_domain()  # one may have come, or been discovered, meanwhile: then the episode says nothing
        if fault is not None:
            runner.call(ClearFault, "/policy_node/clear_fault")
        times_s = self.samples_s().get("inference_s", np.empty(0))[inferences:]
        period_s = 1.0 / graph.robot.action.rate_hz
        return EpisodeResult(
            seed=seed,
            success=bool(result.success),
            progress=float(result.progress),
            duration_s=duration_s,
            detail=str(result.detail),
            fault="" if fault is None else str(fault),
            holds=self._holds,
            counters=counters,
            refused=graph.sim.refused - refused,
            **motion_figures(sent, graph.robot, period_s),
            inference_s=float(np.median(times_s)) if len(times_s) else float("nan"),
        )

    def _load(self) -> LoadedPolicy:
        choice, environment = self._job.choice, self._graph.environment
        if choice.policy == "checkpoint":
            loaded = choice.load()
        else:
            loaded = load_baseline(choice.policy, environment.embodiment, self._seed)
        try:
            require_fit(loaded, environment)
        except HptError:
            loaded.close()
            raise
        return loaded

    def _watch(self, command: Moving | None, state: State) -> None:
        """See each control period, on the node's thread."""
        if command is not None:
            self._sent.append(command)
        self._holds += self._state is State.RUNNING and state is not State.RUNNING
        self._state = state


class ExpertArm:
    """The environment's expert as the teleoperator, and what it sent in an episode.

    Attributes:
        node: the teleoperator.
    """

    fault = None

    def __init__(self, graph: Graph, job: Job) -> None:
        """Make the node."""
        self._graph, self._job = graph, job
        self._sent: list[Moving] = []
        self.node = TeleopNode(context=graph.composition.context, watch=self._sent.append)
        graph.quiet(self.node.get_name())
        graph.composition.add(self.node)

    def begin(self) -> None:
        """Wait until it knows the robot.

        Raises:
            HptError: the simulator does not say which robot it has.
        """
        try:
            self.node.ready.result(READY_S)
        except FutureTimeoutError as error:
            raise HptError(
                Code.TIMEOUT, "the simulator's embodiment", READY_S, problem="did not come within {value} s",
                remedy="see the simulator's log",
            ) from error  # fmt: skip

    def samples_s(self) -> Samples:
        """Nothing is measured."""
        return {}

    def episode(self, seed: int) -> EpisodeResult:
        """Run one episode.

        Raises:
            HptError: a node refused.
        """
        graph, runner = self._graph, self._graph.runner
        graph.require_own_domain()
        runner.reset_scene(seed)
        refused = graph.sim.refused
        self._sent.clear()
        start_s = runner.now_s()
        runner.call(Trigger, "/teleop_node/start")
        try:
            limit_s = self._job.config.limit_ns(graph.environment) / NS_PER_S
            result = graph.wait_for_end(self, start_s, limit_s)
            duration_s = runner.now_s() - start_s
        finally:
            with contextlib.suppress(HptError):  # none is under way any more
                runner.call(Trigger, "/teleop_node/stop")
        graph.require_own_domain()  # as with a policy
        return EpisodeResult(
            seed=seed,
            success=bool(result.success),
            progress=float(result.progress),
            duration_s=duration_s,
            detail=str(result.detail),
            fault="",
            holds=0,
            counters={},
            refused=graph.sim.refused - refused,
            **motion_figures(list(self._sent), graph.robot, 1.0 / graph.robot.action.rate_hz),
            inference_s=float("nan"),
        )
