# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the parameter files of a command line are meant for the node that is started with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_ros.errors import Code, HptError
from hpt_ros.structured import read_yaml_file

if TYPE_CHECKING:
    from rclpy.node import Node

_PARAMETERS = "ros__parameters"


def require_addressed(node: Node, arguments: Sequence[str]) -> None:
    """Refuse a file that has parameters for a node of this name in another namespace only: rcl would pass it over.

    Files with nothing for a node of this name, as for other nodes of a launch file, are none of our business.

    Args:
        node: the node.
        arguments: of its process.

    Raises:
        HptError: names the file, its sections and the one that would have been right.
    """
    name, own = node.get_name(), node.get_fully_qualified_name()
    files = [Path(arguments[at + 1]) for at, word in enumerate(arguments[:-1]) if word == "--params-file"]
    for file in files:
        found = list(sections(read_yaml_file(file)))
        ours = [section for section in found if section.rpartition("/")[2] == name]
        if ours and not any(matches(section, own) for section in found):
            raise HptError(
                Code.INVALID, f"the parameter file {str(file)!r}",
                problem=f"has parameters for {', '.join(ours)}, but this node is {own}, so none of them would "
                "count", remedy=f"write /**/{name}: in the file, which is this node in every namespace",
            )  # fmt: skip


def names_node(file: Path, name: str) -> bool:
    """Whether a parameter file has a section for a node of this name, in whatever namespace."""
    return any(section.rpartition("/")[2] == name for section in sections(read_yaml_file(file)))


def matches(section: str, node: str) -> bool:
    """Whether a section of a parameter file (``/**/policy_node``) is for the node of a full name; as rcl compares.

    ``*`` stands for one part of a name, ``**`` for any number of them.
    """
    pattern = ""
    for part in section.strip("/").split("/"):
        pattern += {"**": "(/[^/]+)*", "*": "/[^/]+"}.get(part, f"/{re.escape(part)}")
    return re.fullmatch(pattern, node) is not None


def sections(content: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Full names that have parameters; namespaces may be levels of their own."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            key_path = f"{above}/{str(key).strip('/')}"
            if _PARAMETERS in value:
                yield key_path
            yield from sections({k: v for k, v in value.items() if k != _PARAMETERS}, key_path)
