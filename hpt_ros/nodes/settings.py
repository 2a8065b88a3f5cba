"""Which parameters of the policy node may change when; each change is made, or refused with a reason.

| parameters | may change |
| --- | --- |
| task, encode_ahead | at any time |
| those of the control room but deadman.topic, start_on_activate, log_decisions | while the node is not active |
| status_rate_hz, task_result_service, autostart | never: they are read when the process starts |
| all others | while the node is not configured |

Limits do not change under a robot that moves: what was legal a moment ago would not be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter

from hpt_ros.control import ControlConfig
from hpt_ros.errors import HptError
from hpt_ros.nodes import parameters
from hpt_ros.nodes.policy_config import PolicyNodeConfig

if TYPE_CHECKING:
    from hpt_ros.nodes.policy_node import PolicyNode

ALWAYS = frozenset({"task", "encode_ahead"})
NEVER = frozenset({"status_rate_hz", "task_result_service", "autostart"})
CONNECTED = frozenset({"deadman.topic"})  # a subscription from configure to cleanup
WHILE_INACTIVE = (parameters.names(ControlConfig) - CONNECTED) | {"start_on_activate", "log_decisions"}


def change(node: PolicyNode, changes: Sequence[Parameter[Any]]) -> str:
    """Make a change of parameters that is about to be set; returns why it is refused, a sentence, or nothing.

    Several at once are all made, or none is.
    """
    wanted = parameters.changed(changes)
    ours = parameters.names(PolicyNodeConfig, ControlConfig) & wanted.keys()
    refused = parameters.refusal(node, wanted, PolicyNodeConfig, ControlConfig) or _untimely(node, ours)
    if refused or node.pilot is None:
        return refused
    with node.lock:
        refused = node.pilot.task_refusal(wanted["task"]) if "task" in ours else ""
        if not refused and ours & WHILE_INACTIVE:
            refused = _retuned(node, wanted)
        if refused:
            return refused
        if "task" in ours:
            node.pilot.set_task(wanted["task"])
        if "encode_ahead" in ours:
            node.pilot.encode_ahead(wanted["encode_ahead"])
    return ""


def _untimely(node: PolicyNode, ours: frozenset[str]) -> str:
    """Why parameters cannot change now."""
    if at_start := ours & NEVER:
        return f"the parameter {min(at_start)} is read when the process starts; give it there"
    if node.pilot is None:
        return ""
    if at_configure := ours - ALWAYS - WHILE_INACTIVE:
        return (
            f"the parameter {min(at_configure)} is read when the node is configured; clean the node up first"
        )
    if node.state.active and (at_activate := ours & WHILE_INACTIVE):
        return f"the parameter {min(at_activate)} does not change while the robot may move; deactivate the node first"
    return ""


def _retuned(node: PolicyNode, wanted: Mapping[str, Any]) -> str:
    try:
        node.retune(
            parameters.read(node, PolicyNodeConfig, wanted), parameters.read(node, ControlConfig, wanted)
        )
    except HptError as error:
        return str(error)
    return ""
