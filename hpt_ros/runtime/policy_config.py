# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ROS parameters of the policy node beside those of the control room."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.backends import AUTO, BACKENDS, PRECISIONS
from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP
from hpt_ros.policies.factory import POLICIES, load_policy
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.runtime.robot_description import with_robot_description
from hpt_ros.structured import field

REMOTE = "remote"  # the policy that an inference node on another machine computes


@dataclass(frozen=True, slots=True)
class OutputsConfig:
    """Forms in which each command is sent."""

    joint_trajectory: bool = field(
        "send each command on its topic of the embodiment file, a JointTrajectory or what it says there",
        default=True,
    )
    float64_multi_array: str = field(
        "topic for std_msgs/Float64MultiArray, for forward controllers (they never time out); empty: none",
        default="",
    )
    joint_state: str = field("topic for sensor_msgs/JointState; empty: none", default="")
    stamp_zero: bool = field(
        "stamp JointTrajectory commands with 0, so that their controller counts from when it gets them, on its own "
        "clock; they act later by their transport, so only where clocks cannot be synchronised",
        default=False,
    )
    permitted_publishers: tuple[str, ...] = field(
        "full names of nodes that may publish on the topics of the commands, or send goals to their actions, too; any "
        "other one is a fault. /**/NAME is of any namespace",
        default=(),
    )


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """The inference node that computes when the policy is "remote"."""

    node: str = field(
        "name of the inference node; a relative one lies in the namespace of this node",
        default="inference_node",
    )
    timeout_s: float = field(
        "an answer that takes longer is a failed inference", default=0.5, unit="s", above=0.0, maximum=10.0
    )


@dataclass(frozen=True, slots=True)
class PredictionConfig:
    """The way that the policy means to go, drawn on ~/predicted_path; of joints it needs robot_description."""

    link: str = field("link, or Cartesian output, whose path is drawn; empty: the last one", default="")
    frame: str = field(
        "frame_id of the path; empty: the root link of robot_description, or the output's frame", default=""
    )


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """Which policy computes here, and with what."""

    policy: str = field("what answers", default="checkpoint", choices=POLICIES)
    checkpoint: str = field("checkpoint folder, or the name of one shipped with the package", default="")
    embodiment: str = field(
        "embodiment file; with a checkpoint it may be left out, or differ in what a deployment may change",
        default="",
    )
    device: str = field(f"device of the network: {DEVICE_HELP}", default=DEFAULT_DEVICE)
    threads: int = field(
        "threads of torch on the CPU; 0 leaves torch's choice", default=0, minimum=0, maximum=256
    )
    backend: str = field(
        "what computes the network; auto: the quickest of those installed, measured when the node is configured",
        default=AUTO,
        choices=(AUTO, *BACKENDS),
    )
    precision: str = field(
        "what the network is computed in; not every backend has every precision",
        default="float32",
        choices=PRECISIONS,
    )
    seed: int = field("seed of the random policy", default=0, minimum=0, maximum=2**31 - 1)

    def load(self, robot_description: str = "", deployment: str = "") -> LoadedPolicy:
        """The policy; as `load_policy`."""
        return load_policy(
            self.policy, checkpoint=self.checkpoint, embodiment_file=self.embodiment, device=self.device,
            threads=self.threads, seed=self.seed, backend=self.backend, precision=self.precision,
            complete=lambda robot: with_robot_description(robot, robot_description)[0], deployment_file=deployment,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PolicyNodeConfig(PolicyChoice):
    """What the policy node runs and how it starts; `ControlConfig` says how it moves."""

    policy: str = field("what drives the robot", default="checkpoint", choices=(*POLICIES, REMOTE))
    deployment: str = field(
        "deployment file with the facts of this cell, over the embodiment: names, rates, latencies, tighter limits; "
        "empty: none",
        default="",
    )
    task: str = field("the task's text; empty takes the embodiment's; may be set while running", default="")
    encode_ahead: bool = field(
        "encode each new tick while the policy has nothing else to do, so that a chunk is there sooner; may be set "
        "while running",
        default=True,
    )
    remote: RemoteConfig = field("a policy on another machine", default=RemoteConfig())
    outputs: OutputsConfig = field("forms of the command", default=OutputsConfig())
    robot_description: str = field(
        "the robot's URDF, for limits that the embodiment file leaves out, and for a workspace of a robot that is "
        "commanded by its joints; its limits must not be narrower than the embodiment file's",
        default="",
    )
    prediction: PredictionConfig = field("the predicted path", default=PredictionConfig())
    autostart: bool = field(
        "configure and activate at the start (the node's own executable only)", default=False
    )
    start_on_activate: bool = field("move as soon as active; false waits for a goal of ~/run", default=True)
    log_decisions: str = field(
        "folder for a log of every decision, one MCAP bag an activation; empty: none", default=""
    )
    status_rate_hz: float = field("rate of ~/status", default=10.0, unit="Hz", minimum=0.1, maximum=100.0)
    task_result_service: str = field(
        "hpt_msgs/srv/GetTaskResult asked while ~/run runs, to know success; empty: none", default=""
    )
