# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Configuration of the control room: each default exists here and nowhere else; ROS parameters are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How chunks become one continuous reference."""

    fade_s: float = field(
        "time over which a new chunk replaces the old one", default=0.2, unit="s", minimum=0.0, maximum=2.0
    )
    start_fade_s: float = field(
        "time over which the first chunk takes over from the pose at rest", default=0.5,
        unit="s", minimum=0.0, maximum=5.0,
    )  # fmt: skip
    request_fraction: float = field(
        "ask for a new chunk when at most this part of the horizon is left",
        default=0.5,
        above=0.0,
        maximum=1.0,
    )
    ensemble: bool = field(
        "average all chunks that say something about a time (ACT's temporal ensembling), not the newest alone",
        default=False,
    )
    ensemble_decay: float = field(
        "each younger chunk in that average weighs less by a factor exp(-this)",
        default=0.01, minimum=0.0, maximum=10.0,
    )  # fmt: skip
    step_names: tuple[str, ...] = field(
        "actions that are never blended or averaged and have a limit scalar of their own, such as grippers",
        default=(),
    )


@dataclass(frozen=True, slots=True)
class SafetyConfig:
    """Limits on commands; the limits themselves are the embodiment's."""

    velocity_scale: float = field(
        "part of the embodiment's velocity limits that commands may use",
        default=1.0,
        minimum=0.01,
        maximum=1.0,
    )
    acceleration_scale: float = field(
        "part of the embodiment's acceleration limits that commands may use",
        default=1.0,
        minimum=0.01,
        maximum=1.0,
    )
    max_refused: int = field(
        "refused chunks, or failed inferences, in a row that are a fault", default=10, minimum=1, maximum=1000
    )
    max_exhausted: int = field(
        "chunks in a row that were used up before the next one came that are a fault",
        default=5,
        minimum=1,
        maximum=1000,
    )
    start_reach_s: float = field(
        "the first target may be as far from the measured pose as each joint's velocity limit covers in this time",
        default=0.15, unit="s", above=0.0, maximum=2.0,
    )  # fmt: skip
    pose_tolerance: float = field(
        "how far the measured pose may lie outside the position limits at the start, in the action's unit",
        default=0.0087, minimum=0.0, maximum=0.1,
    )  # fmt: skip
    jump_reach_s: float = field(
        "a chunk that would move a joint further, from one action to the next or from where it is, than its velocity "
        "limit covers in this time beyond the tick is refused; 0: none is",
        default=0.5, unit="s", minimum=0.0, maximum=10.0,
    )  # fmt: skip
    hold_timeout_s: float = field(
        "holding for longer than this is a fault, which an operator clears", default=1.0,
        unit="s", above=0.0, maximum=60.0,
    )  # fmt: skip
    inference_timeout_s: float = field(
        "an inference under way for longer than this counts as hung", default=1.0,
        unit="s", above=0.0, maximum=60.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WatchdogConfig:
    """When a stream counts as stale."""

    timeout_s: float = field(
        "age of a stream's newest message that stops the robot",
        default=0.2,
        unit="s",
        above=0.0,
        maximum=10.0,
    )
    periods: float = field(
        "a stream's timeout is never less than this many of its periods and delay_s together",
        default=2.5,
        minimum=1.0,
        maximum=100.0,
    )
    delay_s: float = field(
        "what exposure, transport and jitter may take of a stream's timeout beside its periods",
        default=0.05, unit="s", minimum=0.0, maximum=10.0,
    )  # fmt: skip
    frozen_repeats: int = field(
        "a camera whose image came again, pixel for pixel, more often than this while the robot moved is stale; "
        "0 never looks",
        default=5, minimum=0, maximum=10000,
    )  # fmt: skip
    frozen_travel: float = field(
        "an image may repeat as long as no joint was measured further than this from where it was at the first, "
        "in the action's unit",
        default=0.05, above=0.0, maximum=10.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrackingConfig:
    """How far the robot may be from its commands."""

    error: float = field(
        "largest distance of a measured joint from its commands, in the action's unit",
        default=0.2, above=0.0, maximum=100.0,
    )  # fmt: skip
    duration_s: float = field(
        "a distance larger than that for longer than this is a fault", default=0.1,
        unit="s", minimum=0.0, maximum=10.0,
    )  # fmt: skip
    lag_s: float = field(
        "how far the robot may lag behind its commands in time", default=0.1,
        unit="s", minimum=0.0, maximum=2.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeadmanConfig:
    """A switch that a person holds while the robot may move."""

    topic: str = field("topic of std_msgs/Bool, true while held; empty: there is no switch", default="")
    timeout_s: float = field(
        "the switch counts as released when no true message came for this long", default=0.2,
        unit="s", above=0.0, maximum=5.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SpeedScalingConfig:
    """The robot's own speed scaling, such as a speed slider: commands are sent at that part of the speed."""

    topic: str = field(
        "topic of std_msgs/Float64 with the robot's speed scaling; empty: it always moves at full speed",
        default="",
    )
    full: float = field("the value at full speed", default=100.0, above=0.0, maximum=1000.0)
    trajectories: bool = field(
        "whether the robot's trajectory controller scales the time of trajectories itself, as "
        "scaled_joint_trajectory_controller does",
        default=True,
    )


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """Where the robot may be; needs the parameter robot_description."""

    links: tuple[str, ...] = field(
        "links of robot_description whose origins stay in the box; empty: there is no box", default=()
    )
    lower_m: tuple[float, ...] = field(
        "lowest x, y and z of the box in the robot's base frame", default=(-1.0, -1.0, 0.0), unit="m"
    )
    upper_m: tuple[float, ...] = field(
        "highest x, y and z of the box in the robot's base frame", default=(1.0, 1.0, 1.5), unit="m"
    )
    floor_m: float = field(
        "height in the base frame below which no moving link's origin goes; -100: there is no floor",
        default=-100.0, unit="m", minimum=-100.0, maximum=100.0,
    )  # fmt: skip

    @property
    def wanted(self) -> bool:
        """Whether there is a box or a floor."""
        return bool(self.links) or self.floor_m > -100.0


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """The entire control room."""

    command_rate_hz: float = field(
        "rate of commands; 0 takes the embodiment's", default=0.0, unit="Hz", minimum=0.0, maximum=1000.0
    )
    lead_margin_s: float = field(
        "commands are fixed this much longer ahead than their period, or by the output's latency if that is more: what "
        "transport and a late timer may take before the robot begins to brake by itself",
        default=0.02, unit="s", minimum=0.0, maximum=1.0,
    )  # fmt: skip
    queue: QueueConfig = field("chunks", default=QueueConfig())
    safety: SafetyConfig = field("limits", default=SafetyConfig())
    watchdog: WatchdogConfig = field("stale streams", default=WatchdogConfig())
    tracking: TrackingConfig = field("distance from the commands", default=TrackingConfig())
    deadman: DeadmanConfig = field("deadman's switch", default=DeadmanConfig())
    speed_scaling: SpeedScalingConfig = field("the robot's own speed scaling", default=SpeedScalingConfig())
    workspace: WorkspaceConfig = field("where the robot may be", default=WorkspaceConfig())
