# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy for a robot on another machine: takes observations, answers with chunks. It commands nothing.

Parameters are those of `PolicyChoice`, topics those of `hpt_ros.nodes.inference.remote`. The robot's side runs the
policy node with ``policy:=remote``; docs/safety.md says what happens when the link fails.
"""

from __future__ import annotations

import array
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import String, UInt8MultiArray

from hpt_ros.errors import HptError
from hpt_ros.nodes.common import parameters
from hpt_ros.nodes.common.parameters import StrictParameters
from hpt_ros.nodes.common.run import run_node
from hpt_ros.nodes.inference.remote import KEPT, NEWEST, PolicyInfo
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.policies.serialization import pack, unpack
from hpt_ros.runtime.policy_config import PolicyChoice


class InferenceNode(StrictParameters, Node):
    """See the module. An answer has the number of its observation, so a late one confuses nobody."""

    def __init__(
        self,
        name: str = "inference_node",
        *,
        load: Callable[[], LoadedPolicy] | None = None,
        **node_arguments: Any,
    ) -> None:
        """Load the policy and offer it.

        Args:
            name: node name.
            load: makes the policy in place of the parameters.
            node_arguments: of rclpy's Node.

        Raises:
            HptError: the policy cannot be loaded.
        """
        super().__init__(name, **node_arguments)
        config = parameters.declare_fixed(self, PolicyChoice)
        self._loaded = load() if load is not None else config.load()
        self._episode: tuple[Any, Any] | None = None
        self._answers = self.create_publisher(UInt8MultiArray, "~/answer", NEWEST)
        self._cards = self.create_publisher(String, "~/card", KEPT)
        self.create_subscription(UInt8MultiArray, "~/observation", self._on_observation, NEWEST)
        loaded = self._loaded
        card = PolicyInfo(
            loaded.embodiment.to_yaml(), loaded.checkpoint, loaded.horizon, sorted(loaded.optional),
            list(loaded.tasks),
        )  # fmt: skip
        self._cards.publish(card.to_message())
        self.get_logger().info(
            f"ready for {loaded.embodiment.name} with {loaded.checkpoint or config.policy}{loaded.computed_by}"
        )

    def _on_observation(self, message: Any) -> None:
        began = time.monotonic()
        try:
            inputs, facts = unpack(message.data.tobytes())
        except HptError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        values: dict[str, NDArray[Any]] = {}
        answer = {"client": facts.get("client"), "number": facts.get("number"), "error": ""}
        try:
            episode = (facts["client"], facts["episode"])
            if episode != self._episode:
                self._loaded.policy.reset()
                self._episode = episode
            observation = Observation(
                int(facts["stamp_ns"]), inputs, str(facts["task"]), tuple(int(key) for key in facts["keys"])
            )
            values["values"] = np.asarray(self._loaded.policy.predict(observation), dtype=np.float64)
        except Exception as error:  # whatever it does, the robot's side must hear of it
            words = f"its policy raised {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            answer["error"] = words
            self.get_logger().error(words, throttle_duration_sec=5.0)
        answer["duration_s"] = time.monotonic() - began
        self._answers.publish(UInt8MultiArray(data=array.array("B", pack(values, answer))))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(InferenceNode, "inference_node", args)


if __name__ == "__main__":
    sys.exit(main())
