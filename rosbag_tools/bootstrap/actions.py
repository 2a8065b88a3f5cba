# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Actions that command the robot, as far as a bag shows them.

Goals are services' requests and no messages. A bag has an action's hidden topics if they were recorded, and the targets
that were commanded if somebody published them as messages (docs/decisions/0019-types-of-commands.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hpt_ros.embodiment.message_types import COMMANDS, MESSAGE_TYPES
from rosbag_tools.reading.reader import Topic

TARGET = "/target"  # behind an action's name: the topic of what it is commanded
GRIPPER, TRAJECTORY = "control_msgs/action/GripperCommand", "control_msgs/action/FollowJointTrajectory"
PARALLEL = "control_msgs/action/ParallelGripperCommand"
# Names that drivers and controllers give their actions.
_BY_NAME: Mapping[str, str] = {
    "gripper_cmd": GRIPPER, "gripper_action": GRIPPER, "follow_joint_trajectory": TRAJECTORY,
}  # fmt: skip
_FEEDBACK, _STATUS, _SUFFIX = "/_action/feedback", "/_action/status", "_FeedbackMessage"


def find_actions(topics: Mapping[str, Topic]) -> dict[str, tuple[str, bool]]:
    """Actions that command a robot: name to type, and whether the bag shows the type."""
    found: dict[str, tuple[str, bool]] = {}
    for topic, entry in topics.items():
        for suffix in (TARGET, _STATUS, _FEEDBACK):
            name = topic.removesuffix(suffix)
            if name == topic:
                continue
            shown = entry.type.removesuffix(_SUFFIX) if suffix == _FEEDBACK else ""
            if shown in COMMANDS and MESSAGE_TYPES[shown].is_action:
                found[name] = (shown, True)
            elif not shown and (guessed := _BY_NAME.get(name.rpartition("/")[2])):
                found.setdefault(name, (guessed, False))
    return found


def explain(
    actions: Mapping[str, tuple[str, bool]], commanded: Iterable[str], left_out: dict[str, str]
) -> None:
    """Add to `left_out` each action whose goals the bag does not have, and what to do.

    Args:
        actions: as `find_actions` gives them.
        commanded: topics of commands that the file has.
        left_out: by the name of the topic, or of the action.
    """
    taken = set(commanded)
    for name, (type_, _) in actions.items():
        if name in taken or f"{name}{TARGET}" in left_out:
            continue
        controller = name.rpartition("/")[0]
        beside = [topic for topic in sorted(taken) if controller and topic.startswith(f"{controller}/")]
        if beside:
            left_out[name] = f"an action of {type_}; {beside[0]} commands the same controller"
        else:
            left_out[name] = (
                f"an action of {type_}, whose goals are no messages; let the teleoperator publish each target as "
                f"sensor_msgs/msg/JointState on {name}{TARGET} too, and record that topic"
            )
