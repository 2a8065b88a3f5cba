# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Parameters of joint_trajectory_controller, read from a controllers file of ros2_control, for the model of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError
from hpt_ros.structured import read_yaml_file

Array = npt.NDArray[np.float64]

TYPE: Final = "joint_trajectory_controller/JointTrajectoryController"
# Names and defaults: joint_trajectory_controller_parameters.yaml, 4.42.1 and 6.9.0 (control.ros.org lists them).
_SWITCHES: Final = {
    "allow_partial_joints_goal": False,
    "allow_nonzero_velocity_at_trajectory_end": False,
    "interpolate_from_desired_state": False,
    "open_loop_control": False,
    "allow_trajectory_replacement": True,
}
_WITHOUT_EFFECT_HERE: Final = frozenset(
    {
        "command_joints", "state_interfaces", "action_monitor_rate", "gains", "speed_scaling",
        "set_last_command_interface_value_as_state_on_activation",
    }
)  # fmt: skip
_CONSTRAINTS: Final = frozenset({"goal_time", "stopped_velocity_tolerance", "decelerate_on_cancel"})
_OF_A_JOINT: Final = frozenset({"trajectory", "goal", "max_deceleration_on_cancel"})


@dataclass(frozen=True, slots=True)
class JtcConfig:
    """Parameters of the controller; the defaults are its own.

    Attributes:
        joints: in the controller's order.
        continuous: joints without limits in the URDF, which turn the short way round.
        splines: interpolate; False: give the next point (`interpolation_method: none`).
        interpolate_from_desired_state: enter a trajectory from the last command, not from the measured state.
            `open_loop_control` (Humble) says the same here.
        allow_partial_joints_goal: take messages that omit joints.
        allow_nonzero_velocity_at_trajectory_end: take messages that end in motion.
        allow_trajectory_replacement: blend a new trajectory into a running one (6.8.0 and later).
        cmd_timeout_s: hold this long after a trajectory's end; 0: never.
        goal_time_s: hold this long after the end if the goal is not reached; 0: never.
        path_tolerance: (N,) from the trajectory, beyond which it is given up; 0: none.
        goal_tolerance: (N,) at the end; 0: none.
        max_deceleration: (N,) of `decelerate_on_cancel`; 0: stop at once.
    """

    joints: tuple[str, ...]
    continuous: frozenset[str] = frozenset()
    splines: bool = True
    interpolate_from_desired_state: bool = False
    allow_partial_joints_goal: bool = False
    allow_nonzero_velocity_at_trajectory_end: bool = False
    allow_trajectory_replacement: bool = True
    cmd_timeout_s: float = 0.0
    goal_time_s: float = 0.0
    path_tolerance: Array | float = 0.0
    goal_tolerance: Array | float = 0.0
    max_deceleration: Array | float = 0.0

    def __post_init__(self) -> None:
        for name in ("path_tolerance", "goal_tolerance", "max_deceleration"):
            values = np.broadcast_to(np.asarray(getattr(self, name), dtype=np.float64), len(self.joints))
            object.__setattr__(self, name, values)

    @property
    def active_cmd_timeout_s(self) -> float:
        """The timeout that is in force: one that is not longer than `goal_time_s` is ignored."""
        return self.cmd_timeout_s if self.cmd_timeout_s > self.goal_time_s else 0.0

    @property
    def decelerates(self) -> bool:
        """Whether it brakes when it gives up: every joint needs a deceleration."""
        return bool((np.asarray(self.max_deceleration) > 0.0).all())

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], where: str) -> JtcConfig:
        """Of a controller's `ros__parameters`; `where` names them in errors.

        Raises:
            HptError: a parameter that the controller does not have, or that is not modelled.
        """
        _require_known(
            parameters,
            {*_SWITCHES, *_WITHOUT_EFFECT_HERE, "joints", "command_interfaces", "interpolation_method"}
            | {"cmd_timeout", "constraints"},
            where,
        )
        joints = tuple(parameters.get("joints", ()))
        if not joints:
            raise HptError(
                Code.MISSING, where, problem="has no joints", remedy="list the arm's joints under joints"
            )
        if list(parameters.get("command_interfaces", ())) != ["position"]:
            raise HptError(
                Code.INVALID, f"{where}, command_interfaces", parameters.get("command_interfaces"),
                problem="is {value}, but the model of the controller has position alone",
                remedy="use command_interfaces: [position]",
            )  # fmt: skip
        switch = {name: bool(parameters.get(name, default)) for name, default in _SWITCHES.items()}
        constraints = parameters.get("constraints", {})
        _require_known(constraints, {*_CONSTRAINTS, *joints}, f"{where}, constraints")
        for joint in joints:
            _require_known(constraints.get(joint, {}), _OF_A_JOINT, f"{where}, constraints, {joint}")

        def of_joints(name: str) -> Array:
            return np.array([float(constraints.get(joint, {}).get(name, 0.0)) for joint in joints])

        brakes = bool(constraints.get("decelerate_on_cancel", False))
        return cls(
            joints=joints,
            splines=parameters.get("interpolation_method", "splines") == "splines",
            interpolate_from_desired_state=switch["interpolate_from_desired_state"]
            or switch["open_loop_control"],
            allow_partial_joints_goal=switch["allow_partial_joints_goal"],
            allow_nonzero_velocity_at_trajectory_end=switch["allow_nonzero_velocity_at_trajectory_end"],
            allow_trajectory_replacement=switch["allow_trajectory_replacement"],
            cmd_timeout_s=float(parameters.get("cmd_timeout", 0.0)),
            goal_time_s=float(constraints.get("goal_time", 0.0)),
            path_tolerance=of_joints("trajectory"),
            goal_tolerance=of_joints("goal"),
            max_deceleration=of_joints("max_deceleration_on_cancel") if brakes else 0.0,
        )

    @classmethod
    def load(cls, path: Path) -> tuple[JtcConfig, float]:
        """The one trajectory controller of a controllers file, and the rate of its controller manager in Hz.

        Raises:
            HptError: not such a file, or see `from_parameters`.
        """
        document = read_yaml_file(path)
        manager = _parameters(document, "controller_manager", path)
        names = [
            key for key, value in manager.items() if isinstance(value, dict) and value.get("type") == TYPE
        ]
        if len(names) != 1:
            raise HptError(
                Code.INVALID, str(path), len(names), problem=f"has {{value}} controllers of type {TYPE}",
                expected="one", remedy="name one under controller_manager",
            )  # fmt: skip
        parameters = _parameters(document, names[0], path)
        return cls.from_parameters(parameters, f"{path}, {names[0]}"), float(manager["update_rate"])


def _parameters(document: Mapping[str, Any], node: str, path: Path) -> dict[str, Any]:
    for name in (node, f"/**/{node}"):
        found = document.get(name, {})
        if isinstance(found, dict) and isinstance(found.get("ros__parameters"), dict):
            return dict(found["ros__parameters"])
    raise HptError(
        Code.MISSING, str(path), problem=f"has no {node} with ros__parameters",
        remedy="is it a controllers file of ros2_control?",
    )  # fmt: skip


def _require_known(given: Mapping[str, Any], known: frozenset[str] | set[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise HptError(
                Code.UNKNOWN, where, name,
                problem="has {value}, which the controller lacks or its model leaves out", known=known,
            )  # fmt: skip
