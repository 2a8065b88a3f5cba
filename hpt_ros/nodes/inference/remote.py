# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy that computes on another machine: observations go out over DDS, chunks come back.

The policy node stays with the robot, with its limits, watchdogs and latches; only the arithmetic of the network is
elsewhere. A link that is cut, slow or lossy is then an inference that fails: the robot uses up its chunk and brakes.

Times never cross: an answer is for the observation of its number, whose stamp is this machine's. The clocks may differ.

| topic below the inference node's name | type | what |
| --- | --- | --- |
| card | std_msgs/String, retained for late comers | JSON: embodiment, checkpoint, horizon, ... (`PolicyInfo`) |
| observation, answer | std_msgs/UInt8MultiArray | `hpt_ros.policies.serialization` |
"""

from __future__ import annotations

import array
import json
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String, UInt8MultiArray

from hpt_ros.embodiment import Embodiment, list_deployed_fields, require_deployable
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.composition import Spinning
from hpt_ros.nodes.common.lifecycle import NotThereYetError
from hpt_ros.policies.loading import LoadedPolicy, load_deployed_robot
from hpt_ros.policies.protocol import Observation
from hpt_ros.policies.serialization import pack, unpack

CARD_TIMEOUT_S = 10.0  # discovery over a network takes a second or two
# Only the newest counts: an answer to an older observation is of no use to anybody.
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
KEPT = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """What an inference node says of its policy; see `LoadedPolicy`."""

    embodiment: str  # YAML
    checkpoint: str
    horizon: int
    optional: list[str]
    tasks: list[str]

    def to_message(self) -> Any:
        """std_msgs/String."""
        return String(data=json.dumps(asdict(self)))

    @classmethod
    def of_message(cls, message: Any, where: str) -> PolicyInfo:
        """Read it.

        Raises:
            HptError: it is no card.
        """
        try:
            card = cls(**json.loads(message.data))
            texts = [card.embodiment, card.checkpoint, *card.optional, *card.tasks]
            if isinstance(card.horizon, int) and all(isinstance(text, str) for text in texts):
                return card
            raise TypeError("a field has another type")
        except (ValueError, TypeError) as error:
            raise HptError(
                Code.UNSUPPORTED, where, problem="says of itself what this version of hpt_ros cannot read",
                remedy="run the same version on both machines", cause=error,
            ) from error  # fmt: skip


class RemotePolicy:
    """Asks an inference node for each chunk; `predict` runs on the worker's thread and waits for the answer."""

    def __init__(self, name: str, timeout_s: float, *, asker: Node) -> None:
        """Connect; a node and a thread of its own take the answers, so that they wait for nobody.

        Args:
            name: full name of the inference node.
            timeout_s: an answer that takes longer is a failure.
            asker: the node that asks.
        """
        self._name, self._timeout_s = name, timeout_s
        self._client, self._number, self._episode = uuid.uuid4().hex, 0, 0
        self._condition = threading.Condition()
        self._card: Any = None
        self._answer: tuple[dict[str, NDArray[Any]], dict[str, Any]] | None = None
        self._answered_s: float | None = None  # steady time of the last answer
        self._garbled: HptError | None = None
        self._closed = False
        node = Node(
            f"{asker.get_name()}_remote", context=asker.context, namespace=asker.get_namespace(),
            use_global_arguments=False, start_parameter_services=False, enable_rosout=False,
        )  # fmt: skip
        self._observations = node.create_publisher(UInt8MultiArray, f"{name}/observation", NEWEST)
        node.create_subscription(UInt8MultiArray, f"{name}/answer", self._on_answer, NEWEST)
        node.create_subscription(String, f"{name}/card", self._on_card, KEPT)
        self._spinning = Spinning(node)

    def card(self, timeout_s: float) -> PolicyInfo:
        """What the inference node says of its policy.

        Raises:
            NotThereYetError: it does not say anything in time.
            HptError: it says what cannot be read.
        """
        with self._condition:
            if not self._condition.wait_for(lambda: self._card is not None, timeout_s):
                raise NotThereYetError(
                    Code.TIMEOUT, "the parameter remote.node", self._name,
                    problem=f"is {{value}}, but no inference node of that name was found within {timeout_s:g} "
                    "s",
                    remedy="start it (ros2 run hpt_ros inference_node), with the same ROS_DOMAIN_ID, and see "
                    "that the two machines reach one another",
                )  # fmt: skip
            return PolicyInfo.of_message(self._card, f"the inference node {self._name!r}")

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The chunk that the inference node answers.

        Raises:
            HptError: no answer in time, or its policy failed.
        """
        with self._condition:
            self._number += 1
            self._answer, self._garbled = None, None
            facts = {
                "client": self._client, "number": self._number, "episode": self._episode, "task": observation.task,
                "stamp_ns": observation.stamp_ns, "keys": list(observation.keys),
            }  # fmt: skip
        data = array.array("B", pack(observation.inputs, facts))
        self._observations.publish(UInt8MultiArray(data=data))
        arrays, facts = self._receive_answer()
        if facts.get("error") or "values" not in arrays:
            raise HptError(
                Code.UNAVAILABLE, f"the inference node {self._name!r}: {facts.get('error') or 'it sent no values'}",
            )  # fmt: skip
        return arrays["values"]

    def reset(self) -> None:
        """An episode begins; the inference node learns it with the next observation."""
        self._episode += 1

    def close(self) -> None:
        """End a `predict` under way, and the connection. May be called twice."""
        with self._condition:
            already, self._closed = self._closed, True
            self._condition.notify_all()
        if not already:
            self._spinning.close()

    def _receive_answer(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        with self._condition:
            self._condition.wait_for(
                lambda: self._answer is not None or self._garbled is not None or self._closed, self._timeout_s
            )
            if self._answer is not None:
                return self._answer
            raise self._garbled or self._silence()

    def _silence(self) -> HptError:
        last = (
            "it never did"
            if self._answered_s is None
            else f"{time.monotonic() - self._answered_s:.1f} s ago it did"
        )
        return HptError(
            Code.TIMEOUT, f"the inference node {self._name!r}", cause=last,
            problem=f"did not answer within {self._timeout_s:g} s", remedy="look at it and at the network between",
        )  # fmt: skip

    def _on_card(self, message: Any) -> None:
        with self._condition:
            self._card = message
            self._condition.notify_all()

    def _on_answer(self, message: Any) -> None:
        try:
            arrays, facts = unpack(message.data.tobytes())
        except HptError as error:
            with self._condition:
                self._garbled = error
                self._condition.notify_all()
            return
        with self._condition:
            if (facts.get("client"), facts.get("number")) == (self._client, self._number):
                self._answer, self._answered_s = (arrays, facts), time.monotonic()
                self._condition.notify_all()


def connect(
    name: str, timeout_s: float, embodiment_file: str, *, node: Node, deployment_file: str = ""
) -> LoadedPolicy:
    """A policy of an inference node for the robot of an embodiment file; limits are that file's, or the deployment's.

    Raises:
        HptError: no file, no inference node, or one of another robot.
    """
    if not embodiment_file:
        raise HptError(
            Code.MISSING, "the parameter embodiment",
            problem="is empty, but policy is 'remote', which needs it: the robot's own side must know its "
            "limits", remedy="set it to an embodiment file",
        )  # fmt: skip
    robot = Embodiment.load(embodiment_file)
    policy = RemotePolicy(name, timeout_s, asker=node)
    try:
        card = policy.card(CARD_TIMEOUT_S)
        theirs = Embodiment.loads(card.embodiment, where=f"the embodiment of inference node {name!r}")
        robot = require_deployable(
            theirs, robot, a_name=f"inference node {name!r}", b_name=f"embodiment file {embodiment_file!r}"
        )
        robot = load_deployed_robot(robot, deployment_file)
    except HptError:
        policy.close()
        raise
    return LoadedPolicy(
        policy, robot, f"{card.checkpoint or 'a policy without checkpoint'} on {name}", card.horizon,
        frozenset(card.optional), tuple(card.tasks), deployed=list_deployed_fields(theirs, robot),
    )  # fmt: skip
