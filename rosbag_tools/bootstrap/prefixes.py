# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Arms of a bag whose joints have equal names, distinguished by the parts in which their topics differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rosbag_tools.bootstrap.commands import DetectedCommand
from rosbag_tools.bootstrap.joints import Joints

# A topic with one of these parts is of the arm that a person moves, or of what is commanded; the measured state is of
# a topic without, where there is one with the same joints (ALOHA: /master_left, /puppet_left).
LEADER_WORDS = frozenset(
    ("master", "leader", "lead", "teleop", "command", "commands", "cmd", "target", "desired")
)


def tell_apart(
    joints: Sequence[Joints], commands: Sequence[DetectedCommand], left_out: dict[str, str]
) -> tuple[list[Joints], list[DetectedCommand]]:
    """Joints and commands with prefixes where several topics measure joints of the same names.

    What is left out, of a leader arm, is added to `left_out` with the reason.
    """
    followers = [item for item in joints if not _tokens(item.topic) & LEADER_WORDS]
    retained = []
    for item in joints:
        alike = [own for own in followers if own is not item and set(own.names) & set(item.names)]
        if alike and item not in followers:
            nearest = max(alike, key=lambda own: len(_tokens(own.topic) & _tokens(item.topic)))
            left_out[item.topic] = (
                f"its name says that it is of a leader arm or of targets; {nearest.topic} measures joints of the same "
                "names. If its positions are the actions, convert with --actions leader"
            )
        else:
            retained.append(item)
    prefixes = _prefixes(retained)
    found = [
        _prefix_joints(item, prefixes[item.topic]) if item.topic in prefixes else item for item in retained
    ]
    return found, [_prefix_command(item, prefixes, retained) for item in commands]


def _tokens(topic: str) -> set[str]:
    return set(_in_order(topic))


def _in_order(topic: str) -> list[str]:
    return [word for word in re.split(r"[/_]+", topic.lower()) if word]


def _prefixes(joints: Sequence[Joints]) -> dict[str, str]:
    """Topic to prefix, of those that share names with another; without those that no word tells apart."""
    found: dict[str, str] = {}
    for item in joints:
        alike = [other for other in joints if set(other.names) & set(item.names)]
        if len(alike) < 2:
            continue
        common = set.intersection(*(_tokens(other.topic) for other in alike))
        own = "_".join(word for word in _in_order(item.topic) if word not in common)
        if own:
            found[item.topic] = f"{own}/"
    return found if len(set(found.values())) == len(found) else {}


def _prefix_joints(item: Joints, prefix: str) -> Joints:
    def prefix_names(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{prefix}{name}" for name in names)

    return replace(
        item,
        names=prefix_names(item.names),
        courses={f"{prefix}{name}": course for name, course in item.courses.items()},
        holds=prefix_names(item.holds),
        continuous=prefix_names(item.continuous),
        prefix=prefix,
    )


def _prefix_command(
    item: DetectedCommand, prefixes: dict[str, str], joints: Sequence[Joints]
) -> DetectedCommand:
    """A command of an arm with a prefix, which its topic names."""
    tokens = _tokens(item.topic)
    fitting = [
        prefixes[arm.topic]
        for arm in joints
        if arm.topic in prefixes
        and set(item.names) & set(arm.names)
        and set(prefixes[arm.topic].rstrip("/").split("_")) <= tokens
    ]
    if len(fitting) != 1 or item.guessed:
        return item
    (prefix,) = fitting
    return replace(item, names=tuple(f"{prefix}{name}" for name in item.names), prefix=prefix)
