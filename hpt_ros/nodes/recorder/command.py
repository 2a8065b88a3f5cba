# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The recorder as `hpt record` runs it: with the keys of the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rclpy.parameter import Parameter

from hpt_ros.embodiment import Deployment, Embodiment
from hpt_ros.nodes.common.run import run_node
from hpt_ros.nodes.recorder.controls import controls_help
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from hpt_ros.teleoperation.keyboard import Keyboard


def run(
    embodiment: Embodiment | None,
    out_dir: str,
    *,
    all_topics: bool = False,
    extra_topics: Sequence[str],
    operator: str,
    ros_arguments: Sequence[str],
    deployment: Deployment | None = None,
) -> int:
    """Run the recorder until it is interrupted; prints how episodes are started and ended.

    `ros_arguments` are what stands behind --ros-args; a running episode is retained.
    """
    overrides: list[Any] = [Parameter("operator", value=operator)] if operator else []
    if all_topics:
        overrides.append(Parameter("all_topics", value=True))

    def make() -> RecorderNode:
        node = RecorderNode(
            embodiment,
            out_dir,
            extra_topics=extra_topics,
            parameter_overrides=overrides,
            deployment=deployment,
        )
        keys = sys.stdin.isatty()
        print(controls_help(node, keys=keys), flush=True)
        if keys:
            Keyboard(node.controls.keys.put).start()
        return node

    return run_node(make, "hpt record", ["hpt", "--ros-args", *ros_arguments])
