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
from hpt_ros.errors import Code, HptError, Refusal
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


def change(node: PolicyNode, changes: Sequence[Parameter[Any]]) -> Refusal | None:
    """Make a change of parameters that is about to be set; returns why it is refused, or None.

    Several at once are all made, or none is. A value that a parameter has already is no change, whenever it comes.
    """
    try:
        _change(node, parameters.read_changes(changes))
    except HptError as error:
        return error.refusal
    return None


def _change(node: PolicyNode, wanted: Mapping[str, Any]) -> None:
    ours = parameters.names(PolicyNodeConfig, ControlConfig) & wanted.keys()
    changed = frozenset(
        name for name in ours if wanted[name] != parameters.plain(node.get_parameter(name).value)
    )
    parameters.check(node, wanted, PolicyNodeConfig, ControlConfig)
    _check_names(wanted)
    if node.runtime is None:
        return
    _check_time(node, changed)
    # Others can name a task too (a service, a stream), so the parameter's own value counts when it is set again.
    task = str(wanted["task"]) if "task" in changed or wanted.get("task") else None
    with node.lock:
        if task is not None:
            task = task or node.runtime.task.default()
            if task and (refused := node.runtime.task.refusal(task)):
                raise HptError.of(refused)
        if changed & WHILE_INACTIVE:
            node.retune(
                parameters.read(node, PolicyNodeConfig, wanted), parameters.read(node, ControlConfig, wanted)
            )
        if task is not None:
            node.runtime.task.text = task
        if "encode_ahead" in changed:
            node.runtime.encode_ahead(wanted["encode_ahead"])


def require_names(node: PolicyNode) -> None:
    """Refuse parameters whose values are to be names of topics, services or nodes and are not.

    Raises:
        HptError: names the first one.
    """
    _check_names({name: node.get_parameter(name).value for name in NAMES})


def _check_names(wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if name in NAMES and value:
            check_topic(str(value), f"the parameter {name}")


def _check_time(node: PolicyNode, changed: frozenset[str]) -> None:
    """Refuse parameters that cannot change now. Those of `NEVER` are read-only, which `StrictParameters` minds."""
    if at_configure := changed - ALWAYS - WHILE_INACTIVE:
        raise HptError(
            Code.NOT_READY, f"the parameter {min(at_configure)}", problem="is read when the node is configured",
            remedy="clean the node up first",
        )  # fmt: skip
    if node.state.active and (at_activate := changed & WHILE_INACTIVE):
        raise HptError(
            Code.NOT_READY, f"the parameter {min(at_activate)}", problem="does not change while the robot may move",
            remedy="deactivate the node first",
        )  # fmt: skip
