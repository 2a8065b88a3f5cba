# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which of a bag's topics an embodiment file means by its relative names."""

from __future__ import annotations

import json
from collections import Counter

from hpt_ros.embodiment import Deployment, Embodiment
from hpt_ros.embodiment.streams import check_topic, in_namespace
from hpt_ros.errors import Code
from rosbag_tools.bag_schema import KEY_TOPICS
from rosbag_tools.converting.cells import as_recorded
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag


def with_names_of(
    bag: Bag, embodiment: Embodiment, namespace: str | None = None, deployment: Deployment | None = None
) -> Embodiment:
    """The embodiment with the names of one bag: those of its cell's deployment, then those that its topics stood for.

    The recorder notes which topic each name stood for, remapped or not. Without that note (`ros2 bag record`), relative
    names all lie in one namespace: the one in which most of them are found with their types.

    Args:
        bag: the bag.
        embodiment: the robot; absolute names stay.
        namespace: that the relative names lie in; None finds it.
        deployment: of the cell, for a bag that does not carry it.

    Raises:
        BagError: several namespaces have as many of the topics.
    """
    embodiment = as_recorded(bag, embodiment, deployment)
    types = embodiment.topics
    if namespace is not None:
        check_topic(namespace.strip("/") or "root", "the option --namespace")
        return embodiment.with_topics(lambda topic: in_namespace(topic, "/" + namespace.strip("/")))
    recorded = load_recorded_topics(bag)
    if types.keys() <= recorded.keys():
        return embodiment.with_topics(recorded.__getitem__)
    relative = {topic: type_ for topic, type_ in types.items() if not topic.startswith("/")}
    found = Counter(
        name.removesuffix(f"/{topic}") or "/"
        for topic, type_ in relative.items()
        for name, entry in bag.topics.items()
        if name.endswith(f"/{topic}") and entry.type == type_
    )
    most = max(found.values(), default=0)
    best = sorted(place for place, count in found.items() if count == most) or ["/"]
    if len(best) > 1:
        raise BagError(
            Code.CONFLICT, f"bag {str(bag.path)!r}", best,
            problem=f"has {most} of the {len(relative)} relative topics of embodiment {embodiment.name!r} in each of "
            f"the namespaces {', '.join(best)}",
            remedy="choose one with --namespace",
        )  # fmt: skip
    return embodiment.with_topics(lambda topic: in_namespace(topic, best[0]))


def load_recorded_topics(bag: Bag) -> dict[str, str]:
    """What the recorder's names stood for; empty if it left no note."""
    try:
        noted = json.loads(bag.custom.get(KEY_TOPICS, "{}"))
    except ValueError as error:
        raise BagError(
            Code.DAMAGED, f"bag {str(bag.path)!r}", KEY_TOPICS,
            problem="has a note of its topics ({value}) that is no JSON", cause=error,
            remedy="name the namespace with --namespace",
        ) from error  # fmt: skip
    return {str(name): str(topic) for name, topic in noted.items()} if isinstance(noted, dict) else {}
