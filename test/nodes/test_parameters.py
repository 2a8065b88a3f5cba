# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What may be given to a node at its start, and set while it runs; over the services that `ros2 param` uses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from policy_rig import ROBOT, Rig, policy_rig
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter
from support.command_line import refusal

from hpt_ros.control import State
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common import parameters
from hpt_ros.nodes.common.composition import destroy
from hpt_ros.nodes.inference.inference_node import InferenceNode
from hpt_ros.nodes.policy import parameter_callback, policy_node
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from hpt_ros.nodes.sim.sim_node import SimNode
from hpt_ros.nodes.sim.teleop_node import TeleopNode
from hpt_ros.resources import config_file

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def node_with(rig: Rig, *arguments: str) -> PolicyNode:
    """The policy node as its command line makes it."""
    return PolicyNode(context=rig.composition.context, cli_args=["--ros-args", *arguments])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            "safety.velocty_scale",
            "has no parameter 'safety.velocty_scale'; did you mean 'safety.velocity_scale'?",
        ),
        ("velocity_scale", "did you mean 'safety.velocity_scale'?"),
        ("wrkspace.lower_m", "did you mean 'workspace.lower_m'?"),
        ("zzz", "'ros2 param list /policy_node' lists those it has"),
    ],
)
def test_when_a_parameter_is_misspelt_expect_the_node_refused_with_a_guess(rig, wrong, sentence):
    with pytest.raises(HptError, match="the node /policy_node has no parameter") as refused:
        node_with(rig, "-p", f"{wrong}:=0.1")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "section", ["/**", "/**/policy_node", "/*/policy_node", "/cell/policy_node", "cell/policy_node"]
)
def test_when_a_file_of_safety_settings_has_a_misspelt_one_expect_none_of_it_applied(rig, section, tmp_path):
    file = tmp_path / "safety.yaml"
    file.write_text(
        f"{section}:\n  ros__parameters: {{safety.velocity_scale: 0.1, safety.hold_timout_s: 0.5}}\n"
    )
    with pytest.raises(HptError, match=r"did you mean 'safety\.hold_timeout_s'"):
        node_with(rig, "-r", "__ns:=/cell", "--params-file", str(file))


def test_when_a_file_is_for_others_too_expect_what_is_ours_applied_and_what_every_node_has_accepted(
    rig, tmp_path
):
    file = tmp_path / "all.yaml"
    file.write_text(
        "/**: {ros__parameters: {use_sim_time: false, start_type_description_service: true}}\n"
        "/**/camera: {ros__parameters: {exposure: 3}}\n"
        "/**/policy_node:\n"
        "  ros__parameters:\n"
        "    safety: {velocity_scale: 1, hold_timeout_s: 2}\n"
        "    workspace: {lower_m: [-1, -2, 0], links: []}\n"
        "    qos_overrides: {/joint_states: {subscription: {depth: 7}}}\n"
    )
    node = node_with(rig, "-r", "__ns:=/cell", "--params-file", str(file))
    try:
        assert node.get_parameter("safety.velocity_scale").value == 1.0
        assert type(node.get_parameter("safety.hold_timeout_s").value) is float
        assert list(node.get_parameter("workspace.lower_m").value) == [-1.0, -2.0, 0.0]
        assert node.get_parameter("workspace.links").value == [""]
    finally:
        node.close()
        destroy(node)


def test_every_node_refuses_what_it_does_not_know(rig, tmp_path):
    context = rig.composition.context
    wrong = [Parameter("thread", value=1)]
    robot = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
    makers: list[Callable[[], Any]] = [
        lambda: InferenceNode(context=context, parameter_overrides=wrong),
        lambda: SimNode(context=context, parameter_overrides=wrong),
        lambda: TeleopNode(context=context, parameter_overrides=wrong),
        lambda: RecorderNode(robot, tmp_path, context=context, parameter_overrides=wrong),
    ]
    for make in makers:
        with pytest.raises(HptError, match="has no parameter 'thread'"):
            make()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "safety.velocity_scale=0.5"], "the arguments after --ros-args cannot be read"),
        (["-p", "workspace.lower_m:=[-1, 0.5, 0]"], "Sequence should be of same type"),
        (["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        (["-p", "safety.velocty_scale:=0.5"], "did you mean 'safety.velocity_scale'"),
        (["-p", "safety.velocity_scale:=fast"], "safety.velocity_scale of /policy_node is 'fast'"),
        (["-p", "safety.velocity_scale:=2"], "safety.velocity_scale of /policy_node is 2, expected at most 1"),
        (["-p", "deadman.topic:=bad name"], "the parameter deadman.topic, topic is 'bad name'"),
        (["-p", "outputs.joint_state:=a//b"], "the parameter outputs.joint_state, topic is 'a//b'"),
        (["-p", "task_result_service:=1two"], "the parameter task_result_service, topic is '1two'"),
        (
            ["-p", "policy:=hold", "-p", f"embodiment:={config_file('embodiments/feed_dog.yaml')}", "-p",
             "autostart:=true", "-p", "qos_overrides./joint_states.subscription.reliability:=relyable"],
            "a quality of service for joint_states cannot be used",
        ),
        (
            ["-p", "policy:=hold", "-p", f"embodiment:={config_file('embodiments/feed_dog.yaml')}", "-p",
             "autostart:=true", "-p", "qos_overrides./joint_state.subscription.depth:=3"],
            "did you mean 'qos_overrides./joint_states.subscription.depth'?",
        ),
    ],
)  # fmt: skip
def test_when_the_command_line_is_wrong_expect_one_sentence_and_status_2(arguments, words):
    assert words in refusal(*arguments)


class Services:
    """What `ros2 param` asks a node."""

    def __init__(self, rig: Rig) -> None:
        self._robot = rig.robot

    def dump(self) -> dict[str, ParameterValue]:
        names = sorted(self._robot.call(ListParameters, "list_parameters").result.names)
        values = self._robot.call(GetParameters, "get_parameters", GetParameters.Request(names=names)).values
        assert len(values) == len(names)
        return dict(zip(names, values, strict=True))

    def load(self, values: dict[str, ParameterValue]) -> dict[str, str]:
        """Sets each, as `ros2 param load`; returns what was refused."""
        wanted = [ParameterMessage(name=name, value=value) for name, value in values.items()]
        request = SetParameters.Request(parameters=wanted)
        results = self._robot.call(SetParameters, "set_parameters", request).results
        return {
            name: result.reason for name, result in zip(values, results, strict=True) if not result.successful
        }

    def put(self, name: str, value: Any) -> str:
        """Set one; returns why not."""
        return self.load({name: Parameter("x", value=value).get_parameter_value()}).get(name, "")

    def describe(self, names: list[str]) -> dict[str, Any]:
        request = DescribeParameters.Request(names=names)
        found = self._robot.call(DescribeParameters, "describe_parameters", request).descriptors
        return {descriptor.name: descriptor for descriptor in found}


def test_a_nodes_own_dump_loads_into_it_in_every_state(rig):
    rig.start(active=False)
    services = Services(rig)
    empty = services.dump()
    assert all(
        value.type not in (ParameterType.PARAMETER_NOT_SET, ParameterType.PARAMETER_BYTE_ARRAY)
        for value in empty.values()
    )
    assert services.load(empty) == {}
    assert rig.robot.change(CONFIGURE)
    full = services.dump()
    assert set(full) - set(empty) >= {"qos_overrides./joint_states.subscription.depth"}
    assert services.load(full) == {}
    assert rig.robot.change(ACTIVATE)
    rig.until(State.RUNNING)
    assert services.load(full) == {}
    assert services.put("task", "stir") == ""
    assert rig.node is not None
    assert rig.node.runtime is not None
    assert rig.node.runtime.task == "stir"
    assert services.put("task", "") == ""
    assert rig.node.runtime.task == ROBOT.task


def test_every_parameter_is_described_with_its_range_and_whether_it_ever_changes(rig):
    rig.start(active=False)
    assert rig.robot.change(CONFIGURE)
    services = Services(rig)
    described = services.describe(list(services.dump()))
    ours = {
        name: item
        for name, item in described.items()
        if name not in ("use_sim_time", "start_type_description_service")
    }
    assert [name for name, item in ours.items() if not item.description] == []
    fixed = {name for name, item in ours.items() if item.read_only and not name.startswith("qos_overrides.")}
    assert fixed == parameter_callback.NEVER
    assert [item.read_only for name, item in ours.items() if name.startswith("qos_overrides.")].count(
        False
    ) == 0
    (speed,) = described["safety.velocity_scale"].floating_point_range
    assert (speed.from_value, speed.to_value) == (0.01, 1.0)
    (refused,) = described["safety.max_refused"].integer_range
    assert (refused.from_value, refused.to_value) == (1, 1000)
    assert "more than 0" in described["watchdog.timeout_s"].additional_constraints
    assert (
        services.put("status_rate_hz", 5.0)
        == "the parameter status_rate_hz is read when the process starts; start it again with the new value"
    )


def test_arrays_and_integers_are_set_at_run_time(rig):
    node = rig.start(active=False)
    services = Services(rig)
    assert services.put("workspace.lower_m", [-1.5, -1.0, 0.25]) == ""
    assert list(node.get_parameter("workspace.lower_m").value) == [-1.5, -1.0, 0.25]
    assert services.put("workspace.upper_m", [1, 2, 3]) == ""
    assert list(services.dump()["workspace.upper_m"].double_array_value) == [1.0, 2.0, 3.0]
    assert services.put("queue.fade_s", 1) == ""
    assert services.dump()["queue.fade_s"].double_value == 1.0
    assert services.put("queue.step_names", ["panda_joint7"]) == ""
    assert (
        services.load({"queue.step_names": ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY)}) == {}
    )
    assert "(double), but integer was expected" in services.put("safety.max_refused", 3.5)
    assert "did you mean 'queue.fade_s'" in services.put("queue.fade", 1.0)
    assert "expected at most 2 s" in services.put("queue.fade_s", 3)


def entities(node: PolicyNode) -> dict[str, list[str]]:
    """All that a node has on the graph or runs."""
    return {
        "subscriptions": sorted(item.topic_name for item in node.subscriptions),
        "publishers": sorted(item.topic_name for item in node.publishers),
        "services": sorted(item.service_name for item in node.services),
        "timers": ["timer"] * len(list(node.timers)),
        "waitables": ["waitable"] * len(list(node.waitables)),
        "threads": sorted(thread.name for thread in threading.enumerate()),
    }


def raising(error: BaseException) -> Callable[..., Any]:
    def raises(*_: Any, **__: Any) -> Any:
        raise error

    return raises


@pytest.mark.parametrize("part", ["StreamMonitor", "Prediction", "RosInterfaces", "make_runtime"])
@pytest.mark.parametrize(
    "error", [HptError(Code.INVALID, "a reason"), MemoryError("no room"), ValueError("any other")]
)
def test_when_configure_fails_halfway_expect_nothing_left_and_one_of_each_the_next_time(
    rig, monkeypatch, part, error
):
    node = rig.start(active=False)
    before = entities(node)
    with monkeypatch.context() as patched:
        patched.setattr(policy_node, part, raising(error))
        assert not rig.robot.change(CONFIGURE)
    assert str(error) in str(node.refusal)
    assert entities(node) == before
    assert rig.robot.change(CONFIGURE), node.refusal
    once = entities(node)
    assert (
        once["subscriptions"].count("/joint_states")
        == once["publishers"].count("/arm_controller/joint_trajectory")
        == 1
    )
    assert rig.robot.change(CLEANUP)
    assert entities(node) == before


def test_when_a_subscription_cannot_be_made_expect_those_before_it_gone(rig):
    wrong = {"qos_overrides./joint_states.subscription.reliability": "relyable"}
    node = rig.start(active=False, **wrong)
    before = entities(node)
    assert not rig.robot.change(CONFIGURE)
    assert "a quality of service for joint_states cannot be used" in str(node.refusal)
    assert entities(node) == before


def test_qualities_of_service_are_overridden_as_in_any_ros_node(rig):
    node = rig.start(
        active=False,
        **{
            "qos_overrides./arm_controller/joint_trajectory.publisher.reliability": "best_effort",
            "qos_overrides./joint_states.subscription.depth": 3,
        },
    )
    assert rig.robot.change(CONFIGURE), node.refusal
    (commands,) = [item for item in node.publishers if item.topic_name == "/arm_controller/joint_trajectory"]
    assert commands.qos_profile.reliability.name == "BEST_EFFORT"
    (joints,) = [item for item in node.subscriptions if item.topic_name == "/joint_states"]
    assert joints.qos_profile.depth == 3


def test_a_start_parameter_file_is_a_dump_of_the_node(rig, tmp_path: Path):
    import yaml

    node = rig.start(active=False)
    assert rig.robot.change(CONFIGURE)
    types = {name: node.get_parameter(name).value for name in Services(rig).dump()}
    plain = {
        name: value if isinstance(value, (str, bool, int, float)) else list(value)
        for name, value in types.items()
    }
    file = tmp_path / "policy_node.yaml"
    file.write_text(yaml.safe_dump({"/policy_node": {"ros__parameters": plain}}))
    again = node_with(rig, "--params-file", str(file))
    try:
        read = {
            name: parameters.plain(again.get_parameter(name).value)
            for name in plain
            if again.has_parameter(name)
        }
        assert read.items() <= plain.items()
        assert len(read) > 50
    finally:
        again.close()
        destroy(again)
