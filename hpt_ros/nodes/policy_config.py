"""ROS parameters of the policy node beside those of the control room."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.nodes.policies import KINDS
from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class PolicyNodeConfig:
    """What the policy node runs and how it starts; `ControlConfig` says how it moves."""

    policy: str = field("what drives the robot", default="checkpoint", choices=KINDS)
    checkpoint: str = field("checkpoint folder, or the name of one shipped with the package", default="")
    embodiment: str = field(
        "embodiment file; with a checkpoint it may be left out, or must match", default=""
    )
    task: str = field("the task's text; empty takes the embodiment's; may be set while running", default="")
    device: str = field("torch device of the network", default="cpu")
    threads: int = field(
        "threads of torch on the CPU; 0 leaves torch's choice", default=0, minimum=0, maximum=256
    )
    seed: int = field("seed of the random policy", default=0, minimum=0, maximum=2**31 - 1)
    autostart: bool = field(
        "configure and activate at the start (the node's own executable only)", default=False
    )
    start_on_activate: bool = field("move as soon as active; false waits for a goal of ~/run", default=True)
    status_rate_hz: float = field("rate of ~/status", default=10.0, unit="Hz", minimum=0.1, maximum=100.0)
    task_result_service: str = field(
        "hpt_msgs/srv/GetTaskResult asked while ~/run runs, to know success; empty: none", default=""
    )
