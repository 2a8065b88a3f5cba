# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Two robots in one graph: names by the rules of ROS, so that each node commands its own arm only."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from policy_rig import HOME, ROBOT, Ramp, Robot, wait_for
from rclpy.parameter import Parameter
from support.command_line import refusal

from hpt_msgs.srv import StartEpisode, StopEpisode
from hpt_ros.control import State
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.common.parameter_files import matches
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from hpt_ros.nodes.sim.sim_node import SimNode
from hpt_ros.nodes.sim.teleop_node import TeleopNode
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.resources import checkpoint_folder, config_file
from rosbag_tools.converting.convert import convert
from rosbag_tools.reading.episodes import find_episodes
from rosbag_tools.reading.reader import Bag

COMMANDS = "/arm_controller/joint_trajectory"


def start(composition: Composition, robot: Robot, policy: Ramp, **arguments: Any) -> PolicyNode:
    loaded = LoadedPolicy(policy, ROBOT, "", ROBOT.observation_horizon)
    node = PolicyNode(load=lambda: loaded, context=composition.context, **arguments)
    composition.add(node)
    assert robot.change(Transition.TRANSITION_CONFIGURE), node.refusal
    assert robot.change(Transition.TRANSITION_ACTIVATE), node.refusal
    return node


def called(node: Any, kind: Any, name: str) -> Any:
    client = node.create_client(kind, name)
    assert client.wait_for_service(timeout_sec=20.0)
    future = client.call_async(kind.Request())
    wait_for(future.done, f"the answer of {name}")
    return future.result()


def test_when_two_robots_share_a_graph_expect_each_commanded_by_its_own_node_only():
    slow, fast = Ramp(0.1), Ramp(0.4)
    with Composition() as composition:
        left = composition.add(Robot(composition.context, "/cell/left"))
        right = composition.add(Robot(composition.context, "/cell/right"))
        right.place(HOME + 0.2)
        nodes = [
            start(composition, left, slow, namespace="/cell/left"),
            start(composition, right, fast, namespace="/cell/right"),
        ]
        wait_for(lambda: len(left.commands) > 50 and len(right.commands) > 50, "commands to both")
        assert [node.state for node in nodes] == [State.RUNNING, State.RUNNING]
        assert (
            left.count_publishers(f"/cell/left{COMMANDS}")
            == right.count_publishers(f"/cell/right{COMMANDS}")
            == 1
        )
        assert left.count_publishers(COMMANDS) == left.count_subscribers("/joint_states") == 0
        for robot, began in ((left, HOME), (right, HOME + 0.2)):
            np.testing.assert_allclose(robot.commands[0].position, began, atol=0.05)
        nodes[0].stop("only this one")
        wait_for(lambda: nodes[0].state is State.FAULT, "its stop")
        assert nodes[1].state is State.RUNNING
        wait_for(lambda: left.statuses[-1].fault == "only this one", "its status")
        assert right.statuses[-1].fault == ""


def test_when_a_checkpoint_runs_and_is_recorded_in_two_namespaces_expect_each_its_own_topics_only(tmp_path):
    """The shipped checkpoint's topics are relative, so that it runs in a namespace as it is; so is what is recorded."""
    stats = json.loads((checkpoint_folder("feed_dog") / "stats.json").read_text())
    began = np.array(stats["state"]["mean"])
    places = {"/cell/left": began, "/cell/right": began + 0.05}
    bags = {}
    with Composition() as composition:
        robots = {name: composition.add(Robot(composition.context, name)) for name in places}
        policies, recorders = [], []
        for name, place in places.items():
            robots[name].place(place)
            chosen = {"policy": "checkpoint", "checkpoint": "feed_dog"}
            overrides = [Parameter(key, value=value) for key, value in chosen.items()]
            policies.append(
                composition.add(
                    PolicyNode(context=composition.context, namespace=name, parameter_overrides=overrides)
                )
            )
            recorders.append(
                composition.add(
                    RecorderNode(ROBOT, tmp_path / name[1:], context=composition.context, namespace=name)
                )
            )
        for robot, node in zip(robots.values(), policies, strict=True):
            assert robot.change(Transition.TRANSITION_CONFIGURE), node.refusal
            assert robot.change(Transition.TRANSITION_ACTIVATE), node.refusal
        for robot, node in zip(robots.values(), policies, strict=True):
            wait_for(lambda robot=robot: len(robot.commands) > 20, f"commands of {node.get_namespace()}")
        for name, recorder in zip(places, recorders, strict=True):
            wait_for(lambda recorder=recorder: len(recorder.topics.known) >= 4, "the publishers")
            started = called(robots[name], StartEpisode, f"{name}/recorder_node/start_episode")
            assert started.success, started.message
        time.sleep(2.0)
        for name in places:
            stopped = called(robots[name], StopEpisode, f"{name}/recorder_node/stop_episode")
            assert stopped.success, stopped.message
            bags[name] = stopped.bag_path
    for name, path in bags.items():
        with Bag.open(path) as bag:
            theirs = {topic for topic in bag.topics if not topic.startswith("/hpt/")}
            assert theirs == {f"{name}/{topic}" for topic in ROBOT.topics}
            assert sum(1 for _ in find_episodes(bag)) == 1
        assert convert([path], tmp_path / f"{name[1:]}_dataset").kept > 10


def test_when_topics_are_remapped_expect_absolute_and_relative_names_to_follow_once():
    """A chain of remappings is followed once, as everywhere in ROS: a camera is not sent through two of them."""
    from dataclasses import replace

    absolute = replace(
        ROBOT,
        streams=tuple(replace(item, topic=f"/{item.topic}") for item in ROBOT.streams[:1])
        + ROBOT.streams[1:],
    )
    front, wrist, joints = (stream.topic for stream in ROBOT.streams)
    rules = [f"/{front}:=/a", f"{wrist}:=/b", f"{joints}:=measured", "/a:=/wrong", f"{COMMANDS}:=/arm/go"]
    with Composition() as composition:
        loaded = LoadedPolicy(Ramp(), absolute, "", 1)
        node = PolicyNode(
            load=lambda: loaded, context=composition.context, namespace="/left",
            cli_args=["--ros-args", *(word for rule in rules for word in ("-r", rule))],
        )  # fmt: skip
        composition.add(node)
        node.trigger_configure()
        heard = {item.topic_name for item in node.subscriptions}
        assert {"/a", "/b", "/left/measured"} <= heard
        assert node.runtime is not None
        assert [stream.topic for stream in node.runtime.embodiment.streams] == ["/a", "/b", "/left/measured"]
        assert f"/left{COMMANDS}" in {item.topic_name for item in node.publishers}


def test_when_remapping_makes_a_stream_of_the_command_expect_configure_refused():
    with Composition() as composition:
        loaded = LoadedPolicy(Ramp(), ROBOT, "", 1)
        rule = f"joint_states:={COMMANDS}"
        node = PolicyNode(
            load=lambda: loaded, context=composition.context, cli_args=["--ros-args", "-r", rule]
        )
        composition.add(node)
        node.trigger_configure()
        assert f"commands are to be sent to '{COMMANDS}', also a stream's" in str(node.refusal)


@pytest.mark.parametrize("namespace", ["", "/robot1", "/cell/robot1"])
def test_the_simulated_robot_and_its_teleoperator_lie_in_their_namespace(namespace):
    with Composition() as composition:
        sim = SimNode(context=composition.context, namespace=namespace)
        teleop = composition.add(TeleopNode(context=composition.context, namespace=namespace))
        try:
            teleop.ready.result(timeout=60.0)
            nodes: tuple[Any, ...] = (sim, teleop)
            named = [item.topic_name for node in nodes for item in (*node.publishers, *node.subscriptions)]
            shared = {"/clock", "/diagnostics", "/parameter_events", "/rosout"}
            assert [
                topic for topic in named if topic not in shared and not topic.startswith(f"{namespace}/")
            ] == []
            assert named.count(f"{namespace}{COMMANDS}") == 2
            assert f"{namespace}/sim/reset_scene" in [item.service_name for item in sim.services]
        finally:
            sim.close()
            sim.destroy_node()


@pytest.mark.parametrize(
    ("section", "node", "same"),
    [
        ("/**", "/a/b/policy_node", True), ("/**/policy_node", "/policy_node", True),
        ("/**/policy_node", "/a/b/policy_node", True), ("/*/policy_node", "/a/policy_node", True),
        ("/*/policy_node", "/policy_node", False), ("/*/policy_node", "/a/b/policy_node", False),
        ("policy_node", "/policy_node", True), ("/policy_node", "/a/policy_node", False),
        ("/a/policy_node", "/a/policy_node", True), ("/a/**/policy_node", "/a/policy_node", True),
    ],
)  # fmt: skip
def test_sections_of_parameter_files_are_compared_as_rcl_does(section, node, same, tmp_path):
    import rclpy
    from rclpy.node import Node

    assert matches(section, node) is same
    file = tmp_path / "file.yaml"
    file.write_text(f"{section}: {{ros__parameters: {{x: 1}}}}\n")
    namespace, _, name = node.rpartition("/")
    context = rclpy.Context()
    rclpy.init(context=context, args=["--ros-args", "--params-file", str(file)])
    try:
        made = Node(name, namespace=namespace or "/", context=context)
        assert ("x" in made._parameter_overrides) is same
        made.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def test_when_a_parameter_file_is_for_this_node_without_its_namespace_expect_it_refused(tmp_path: Path):
    file = tmp_path / "safety.yaml"
    file.write_text("/policy_node:\n  ros__parameters: {safety.velocity_scale: 0.1}\n")
    sentence = refusal("-r", "__ns:=/robot1", "--params-file", str(file))
    assert "has parameters for /policy_node, but this node is /robot1/policy_node" in sentence
    assert "write /**/policy_node: in the file" in sentence


@pytest.mark.parametrize(
    "file", sorted(config_file("safety/first_motion.yaml").parent.glob("*.yaml")), ids=lambda file: file.name
)
def test_every_shipped_parameter_file_applies_in_any_namespace(file):
    import yaml

    given = yaml.safe_load(file.read_text())
    with Composition() as composition:
        for namespace in ("/", "/robot1", "/cell/robot1"):
            node = PolicyNode(
                context=composition.context,
                cli_args=["--ros-args", "-r", f"__ns:={namespace}", "--params-file", str(file)],
            )
            for section in given.values():
                for name, value in section["ros__parameters"].items():
                    assert node.get_parameter(name).value == value
            node.close()
            node.destroy_node()
