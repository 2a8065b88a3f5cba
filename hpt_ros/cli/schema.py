# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt schema FILE`: the JSON schema of one of hpt_ros's YAML files, with which editors complete and check it."""

from __future__ import annotations

import argparse
import json
from typing import Any

FILES = ("embodiment", "deployment", "recipe", "parameters")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("file", metavar="FILE", choices=FILES, help=", ".join(FILES))
    parser.epilog = (
        "Editors with yaml-language-server find it by a first line '# yaml-language-server: $schema=PATH', which "
        "shipped files and those of 'hpt embodiment init' have."
    )


def run(args: argparse.Namespace) -> int:
    """Print the schema; returns 0."""
    print(json.dumps(schema(args.file), indent=2, ensure_ascii=False))
    return 0


def schema(file: str) -> dict[str, Any]:
    """Return the JSON schema of one of `FILES`, made from the fields that its reader checks."""
    from hpt_ros.json_schema import json_schema

    if file == "embodiment":
        from hpt_ros.embodiment import Embodiment

        return json_schema(Embodiment, title="embodiment file of hpt_ros")
    if file == "deployment":
        from hpt_ros.embodiment.deployment import Deployment

        return json_schema(Deployment, title="deployment file of hpt_ros")
    if file == "recipe":
        from hpt_ros.learning.recipe import Recipe

        return json_schema(Recipe, title="training recipe of hpt_ros")
    return _parameters()


def _parameters() -> dict[str, Any]:
    """Return the schema of a ROS 2 parameter file, whose names may be nested or have dots."""
    from hpt_ros.control.config import ControlConfig
    from hpt_ros.json_schema import json_schema
    from hpt_ros.runtime.policy_config import PolicyNodeConfig

    nested = [json_schema(cls, title="") for cls in (PolicyNodeConfig, ControlConfig)]
    definitions = {name: item for schema in nested for name, item in schema["$defs"].items()}
    properties = {name: item for schema in nested for name, item in schema["properties"].items()}
    dotted = {
        f"{name}.{key}": below
        for name, item in properties.items()
        if "$ref" in item
        for key, below in definitions[item["$ref"].removeprefix("#/$defs/")]["properties"].items()
    }
    node = {
        "type": "object",
        "properties": {
            "ros__parameters": {"type": "object", "properties": properties | dotted}
        },  # a wildcard section may hold other nodes' parameters too
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "parameters of hpt_ros's policy node",
        "type": "object",
        "additionalProperties": node,
        "$defs": dict(sorted(definitions.items())),
    }
