# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which parameters of the policy node may change when; each change is made, or refused with a reason.

| parameters | may change |
| --- | --- |
| task, encode_ahead | at any time |
| those of the control room but topics, start_on_activate, log_decisions | while the node is not active |
| status_rate_hz, task_result_service, autostart | never, they are read-only: read when the process starts |
| all others | while the node is not configured |

Limits do not change under a robot that moves: what was legal a moment ago would not be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter

from hpt_ros.control import ControlConfig
from hpt_ros.embodiment.streams import check_topic
from hpt_ros.errors import HptError
from hpt_ros.nodes.common import parameters
from hpt_ros.runtime.policy_config import PolicyNodeConfig

if TYPE_CHECKING:
    from hpt_ros.nodes.policy.policy_node import PolicyNode

ALWAYS = frozenset({"task", "encode_ahead"})
NEVER = frozenset({"status_rate_hz", "task_result_service", "autostart"})
NAMES = frozenset(  # values that name something on the graph; empty: nothing
    {
        "deadman.topic",
        "speed_scaling.topic",
        "outputs.float64_multi_array",
        "outputs.joint_state",
        "task_result_service",
        "remote.node",
    }
)
CONNECTED = frozenset({"deadman.topic", "speed_scaling.topic"})  # subscriptions from configure to cleanup
WHILE_INACTIVE = (parameters.names(ControlConfig) - CONNECTED) | {"start_on_activate", "log_decisions"}


def change(node: PolicyNode, changes: Sequence[Parameter[Any]]) -> str:
    """Make a change of parameters that is about to be set; returns why it is refused, a sentence, or nothing.

    Several at once are all made, or none is. A value that a parameter has already is no change, whenever it comes.
    """
    wanted = parameters.given(changes)
    ours = parameters.names(PolicyNodeConfig, ControlConfig) & wanted.keys()
    changed = frozenset(
        name for name in ours if wanted[name] != parameters.plain(node.get_parameter(name).value)
    )
    refused = parameters.refusal(node, wanted, PolicyNodeConfig, ControlConfig) or _misnamed(wanted)
    refused = refused or _untimely(node, changed)
    if refused or node.runtime is None:
        return refused
    # Others can name a task too (a service, a stream), so the parameter's own value counts when it is set again.
    task = str(wanted["task"]) if "task" in changed or wanted.get("task") else None
    with node.lock:
        if task is not None:
            task = task or node.runtime.default_task()
            refused = node.runtime.task_refusal(task) if task else ""
        if not refused and changed & WHILE_INACTIVE:
            refused = _retuned(node, wanted)
        if refused:
            return refused
        if task is not None:
            node.runtime.task = task
        if "encode_ahead" in changed:
            node.runtime.encode_ahead(wanted["encode_ahead"])
    return ""


def _misnamed(wanted: Mapping[str, Any]) -> str:
    """Why a text cannot be the name that it is to be, a sentence; empty if it can."""
    try:
        for name, value in wanted.items():
            if name in NAMES and value:
                check_topic(str(value), f"the parameter {name}")
    except HptError as error:
        return str(error)
    return ""


def require_names(node: PolicyNode) -> None:
    """Refuse parameters whose values are to be names of topics, services or nodes and are not.

    Raises:
        HptError: names the first one.
    """
    if refused := _misnamed({name: node.get_parameter(name).value for name in NAMES}):
        raise HptError(refused)


def _untimely(node: PolicyNode, changed: frozenset[str]) -> str:
    """Why parameters cannot change now. Those of `NEVER` are read-only, which `StrictParameters` minds."""
    if node.runtime is None:
        return ""
    if at_configure := changed - ALWAYS - WHILE_INACTIVE:
        return (
            f"the parameter {min(at_configure)} is read when the node is configured; clean the node up first"
        )
    if node.state.active and (at_activate := changed & WHILE_INACTIVE):
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
