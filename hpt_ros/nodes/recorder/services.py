# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The services that start, stop and discard episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from hpt_ros.errors import HptError

if TYPE_CHECKING:
    from hpt_ros.nodes.recorder.recorder_node import RecorderNode


def create_episode_services(node: RecorderNode) -> None:
    """Make ~/start_episode, ~/stop_episode and ~/discard_episode; they live as long as the node."""

    def start(request: Any, response: Any) -> Any:
        try:
            name, path = node.start_episode(str(request.task), str(request.operator_name))
        except HptError as error:
            response.message = str(error)
            return response
        response.success, response.episode_id, response.bag_path = True, name, str(path)
        return response

    def stop(request: Any, response: Any) -> Any:
        try:
            path, counts, response.message = node.stop_episode(request.outcome, str(request.note))
        except HptError as error:
            response.message = str(error)
            return response
        response.success = True
        response.bag_path, response.messages = str(path), sum(counts.values())
        return response

    def discard(_: Any, response: Any) -> Any:
        try:
            node.discard_episode()
        except HptError as error:
            response.message = str(error)
            return response
        response.success = True
        return response

    node.create_service(StartEpisode, "~/start_episode", start)
    node.create_service(StopEpisode, "~/stop_episode", stop)
    node.create_service(DiscardEpisode, "~/discard_episode", discard)
