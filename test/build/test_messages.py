# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""hpt_msgs: the interfaces that were agreed on, and their way over the real middleware."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from hypothesis import given
from rclpy.action import ActionClient, ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message

from hpt_msgs.action import RunPolicy
from hpt_msgs.msg import ActionChunk, EpisodeEvent, PolicyStatus
from hpt_msgs.srv import (
    ClearFault,
    DiscardEpisode,
    GetTaskResult,
    ResetScene,
    SetTask,
    StartEpisode,
    StopEpisode,
)

HPT_MSGS = Path(__file__).resolve().parents[2] / "hpt_msgs"
PATIENCE_S = 60.0  # only ends a test that would wait for ever

DONE = {"success": "boolean", "message": "string"}
FIELDS: dict[Any, dict[str, str]] = {
    ActionChunk: {
        "header": "std_msgs/Header",
        "observation_stamp": "builtin_interfaces/Time",
        "embodiment": "string",
        "action_names": "sequence<string>",
        "dt_s": "double",
        "horizon": "uint32",
        "dim": "uint32",
        "values": "sequence<double>",
    },
    PolicyStatus: {
        "header": "std_msgs/Header",
        "state": "uint8",
        "state_name": "string",
        "fault": "string",
        "reason": "string",
        "warning_codes": "sequence<string>",
        "warnings": "sequence<string>",
        "task": "string",
        "embodiment": "string",
        "checkpoint": "string",
        "stream_names": "sequence<string>",
        "stream_ages_s": "sequence<double>",
        "chunk_age_s": "double",
        "queue_length": "uint32",
        "inference_latency_s": "double",
        "observation_to_command_s": "double",
        "lead_s": "double",
        "counter_names": "sequence<string>",
        "counter_values": "sequence<uint64>",
    },
    EpisodeEvent: {
        "header": "std_msgs/Header",
        "event": "uint8",
        "episode_id": "string",
        "task": "string",
        "operator_name": "string",
        "outcome": "uint8",
        "note": "string",
    },
    SetTask.Request: {"task": "string"},
    SetTask.Response: DONE,
    StartEpisode.Request: {"task": "string", "operator_name": "string"},
    StartEpisode.Response: {**DONE, "episode_id": "string", "bag_path": "string"},
    StopEpisode.Request: {"outcome": "uint8", "note": "string"},
    StopEpisode.Response: {**DONE, "bag_path": "string", "messages": "uint64"},
    DiscardEpisode.Response: DONE,
    ClearFault.Response: DONE,
    ResetScene.Request: {"seed": "int64"},
    ResetScene.Response: DONE,
    GetTaskResult.Response: {"success": "boolean", "progress": "double", "detail": "string"},
    RunPolicy.Goal: {"task": "string", "timeout_s": "double"},
    RunPolicy.Result: {"outcome": "uint8", "message": "string", "elapsed_s": "double"},
    RunPolicy.Feedback: {"state": "uint8", "state_name": "string", "elapsed_s": "double"},
}


@pytest.mark.parametrize(("message", "fields"), FIELDS.items(), ids=[kind.__name__ for kind in FIELDS])
def test_an_interface_has_the_agreed_fields_in_order(message: Any, fields: dict[str, str]) -> None:
    assert list(message.get_fields_and_field_types().items()) == list(fields.items())


def test_constants_have_the_agreed_values() -> None:
    states = ("UNCONFIGURED", "INACTIVE", "WAITING", "RUNNING", "HOLDING", "FAULT")
    assert [getattr(PolicyStatus, name) for name in states] == [0, 1, 2, 3, 4, 5]
    assert (EpisodeEvent.STARTED, EpisodeEvent.STOPPED, EpisodeEvent.DISCARDED) == (1, 2, 3)
    outcomes = (EpisodeEvent.OUTCOME_UNKNOWN, EpisodeEvent.OUTCOME_SUCCESS, EpisodeEvent.OUTCOME_FAILURE)
    assert outcomes == (0, 1, 2)
    ends = (
        RunPolicy.Result.SUCCEEDED,
        RunPolicy.Result.TIMED_OUT,
        RunPolicy.Result.FAULTED,
        RunPolicy.Result.CANCELED,
        RunPolicy.Result.REFUSED,
    )
    assert ends == (1, 2, 3, 4, 5)


def test_every_interface_file_is_built_and_every_field_explained() -> None:
    cmake = (HPT_MSGS / "CMakeLists.txt").read_text()
    files = [path for folder in ("msg", "srv", "action") for path in sorted((HPT_MSGS / folder).iterdir())]
    assert len(files) == 11
    for path in files:
        assert f'"{path.parent.name}/{path.name}"' in cmake
        for line in path.read_text().splitlines():
            is_field = re.match(r"[a-z][\w/]*(\[\])? +[a-z]\w*\b(?! *=)", line)
            assert not is_field or "#" in line, f"{path.name}: no comment on {line!r}"
            if re.search(r"\bfloat64(\[\])? \w+_s\b", line):
                assert re.search(r"# .*\bs,", line), f"{path.name}: no unit on {line!r}"


def _chunk(rows: np.ndarray) -> ActionChunk:
    chunk = ActionChunk(embodiment="feed_dog", dt_s=0.1, horizon=rows.shape[0], dim=rows.shape[1])
    chunk.observation_stamp = Time(sec=12, nanosec=300_000_000)
    chunk.action_names = [f"joint{i}" for i in range(rows.shape[1])]
    chunk.values = rows.reshape(-1).tolist()
    return chunk


@given(
    rows=st.tuples(st.integers(1, 5), st.integers(1, 8)).flatmap(
        lambda shape: st.lists(
            st.lists(st.floats(allow_nan=False), min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        )
    )
)
def test_when_a_chunk_is_serialized_expect_the_same_back(rows: list[list[float]]) -> None:
    sent = _chunk(np.array(rows))
    received = deserialize_message(serialize_message(sent), ActionChunk)
    assert received == sent
    assert np.array(received.values).reshape(received.horizon, received.dim).tolist() == rows


@pytest.fixture
def graph() -> Iterator[tuple[Node, Node]]:
    """Two nodes, each in a context of its own, as if in two processes: all goes through the middleware."""
    contexts = [rclpy.Context(), rclpy.Context()]
    nodes, executors, threads = [], [], []
    for context, name in zip(contexts, ("robot", "operator"), strict=True):
        rclpy.init(context=context, args=[])
        node = Node(name, namespace="messages_test", context=context)
        executor = MultiThreadedExecutor(2, context=context)
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        nodes.append(node)
        executors.append(executor)
        threads.append(thread)
    yield nodes[0], nodes[1]
    for executor, thread, node, context in zip(executors, threads, nodes, contexts, strict=True):
        executor.shutdown()
        thread.join(timeout=PATIENCE_S)
        node.destroy_node()
        context.try_shutdown()


def _until(condition: Callable[[], Any], what: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.01)


def _result(future: Any) -> Any:
    _until(future.done, "an answer")
    return future.result()


def test_when_messages_are_published_expect_them_unchanged(graph: tuple[Node, Node]) -> None:
    robot, operator = graph
    chunk = _chunk(np.linspace(-1.0, 1.0, 16 * 7).reshape(16, 7))
    status = PolicyStatus(
        state=PolicyStatus.RUNNING, state_name="RUNNING", stream_names=["front"], queue_length=7
    )
    status.stream_ages_s = [0.0125]
    status.counter_names, status.counter_values = ["velocity_limited"], [2**63]
    event = EpisodeEvent(event=EpisodeEvent.STOPPED, outcome=EpisodeEvent.OUTCOME_SUCCESS, note="käse")
    for sent in (chunk, status, event):
        received: list[Any] = []
        topic = type(sent).__name__.lower()
        operator.create_subscription(type(sent), topic, received.append, 1)
        publisher = robot.create_publisher(type(sent), topic, 1)
        _until(lambda publisher=publisher: publisher.get_subscription_count() == 1, "discovery")  # type: ignore[misc]
        publisher.publish(sent)
        _until(lambda received=received: received, "the message")  # type: ignore[misc]
        assert received == [sent]


def test_when_a_service_is_called_expect_its_answer(graph: tuple[Node, Node]) -> None:
    robot, operator = graph

    def set_task(request: SetTask.Request, response: SetTask.Response) -> SetTask.Response:
        response.success, response.message = True, f"the task is {request.task}"
        return response

    robot.create_service(SetTask, "set_task", set_task)
    client: Any = operator.create_client(SetTask, "set_task")
    assert client.wait_for_service(PATIENCE_S)
    answer = _result(client.call_async(SetTask.Request(task="feed the dog")))
    assert (answer.success, answer.message) == (True, "the task is feed the dog")


def test_when_the_action_runs_expect_feedback_and_result(graph: tuple[Node, Node]) -> None:
    robot, operator = graph

    def execute(goal: Any) -> RunPolicy.Result:
        goal.publish_feedback(
            RunPolicy.Feedback(state=PolicyStatus.RUNNING, state_name="RUNNING", elapsed_s=0.5)
        )
        goal.succeed()
        return RunPolicy.Result(outcome=RunPolicy.Result.SUCCEEDED, message=goal.request.task, elapsed_s=1.0)

    server = ActionServer(robot, RunPolicy, "run_policy", execute, callback_group=ReentrantCallbackGroup())
    client: Any = ActionClient(operator, RunPolicy, "run_policy")
    assert client.wait_for_server(PATIENCE_S)
    feedback: list[Any] = []
    goal = RunPolicy.Goal(task="feed the dog", timeout_s=5.0)
    handle = _result(
        client.send_goal_async(goal, feedback_callback=lambda each: feedback.append(each.feedback))
    )
    result = _result(handle.get_result_async()).result
    assert (result.outcome, result.message) == (RunPolicy.Result.SUCCEEDED, "feed the dog")
    _until(lambda: feedback, "feedback")
    assert feedback[0].state_name == "RUNNING"
    client.destroy()
    server.destroy()
