# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an episode's bag says of it, and what people are shown of it."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable, Mapping, Sequence

from hpt_ros.nodes.recorder.config import Site
from rosbag_tools import bag_schema


def new_name() -> str:
    """Return a name that no other episode has, sorted by the time it began."""
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}_{uuid.uuid4().hex[:8]}"


def metadata_of(
    site: Site, resolve: Callable[[str], str], name: str, task: str, operator: str
) -> dict[str, str]:
    """Return the metadata of an episode's bag.

    Args:
        site: the robot and its cell.
        resolve: the name on the graph of a topic of the embodiment file.
        name, task, operator: of the episode.
    """
    found = {
        bag_schema.KEY_EPISODE: name,
        bag_schema.KEY_TASK: task,
        bag_schema.KEY_OPERATOR: operator,
    }
    if site.embodiment is not None and site.here is not None:
        topics = {topic: resolve(topic) for topic in site.here.topics}
        found = {
            bag_schema.KEY_EMBODIMENT: site.embodiment.to_yaml(),
            bag_schema.KEY_TOPICS: json.dumps(topics),
            **found,
        }
    if site.deployment is not None:
        found[bag_schema.KEY_DEPLOYMENT] = site.deployment.to_yaml()
    return found


def summary_of(counts: Mapping[str, int], lost: Mapping[str, int], empty: Sequence[str]) -> str:
    """Return how many messages each topic has, how many were lost on the way, and which topics have none."""
    text = ", ".join(f"{topic} {counts[topic]}" for topic in sorted(counts))
    if lost:
        text += "; LOST on the way " + ", ".join(f"{topic} {count}" for topic, count in lost.items())
    return text + (f"; NOTHING came on {', '.join(empty)}" if empty else "")
