"""From parameters to a pilot that is ready to be activated."""

from __future__ import annotations

from collections.abc import Callable

from hpt_ros.control import ControlConfig, Kinematics
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.nodes.pilot import Pilot
from hpt_ros.nodes.policies import LoadedPolicy
from hpt_ros.nodes.policy_config import PolicyNodeConfig


def make_pilot(
    loaded: LoadedPolicy, config: PolicyNodeConfig, control: ControlConfig, clock: Callable[[], int]
) -> Pilot:
    """Make the pilot of a policy.

    Args:
        loaded: the policy.
        config: the node's parameters.
        control: those of the control room.
        clock: node time in ns.

    Raises:
        HptError: the robot cannot be driven so, a URDF that contradicts the embodiment file, or a task that the policy
            does not know.
    """
    pilot = Pilot(
        loaded,
        control,
        clock=clock,
        kinematics=_kinematics(loaded.embodiment, config.robot_description),
        encode_ahead=config.encode_ahead,
    )
    refused = pilot.first_task(config.task, needed=config.start_on_activate)
    if refused:
        pilot.close()
        raise HptError(refused)
    return pilot


def _kinematics(robot: Embodiment, robot_description: str) -> Kinematics | None:
    if not robot_description:
        return None
    # MuJoCo, which reads the URDF, takes a while to import.
    from hpt_ros.nodes.kinematics import read_urdf, require_limits

    urdf = read_urdf(robot_description, robot.action.names)
    require_limits(robot, urdf)
    return urdf.kinematics
