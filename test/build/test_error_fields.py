# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Errors are made of fields, and no code looks into their sentences."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Whose errors are all made of fields. One is added when it is converted, and none leaves.
CONVERTED = (
    "hpt_ros/cli",
    "hpt_ros/control",
    "hpt_ros/dataset",
    "hpt_ros/embodiment",
    "hpt_ros/evaluation",
    "hpt_ros/extras.py",
    *(
        f"hpt_ros/learning/{name}.py"
        for name in (
            "augment batches cache card distributed divergence dry_run evaluation interrupt loader metrics mixture "
            "one_robot optimiser preparation recipe reporter run_folder samples sharded source start state statistics "
            "train".split()
        )
    ),
    "hpt_ros/modalities",
    "hpt_ros/model",
    "hpt_ros/nodes",
    "hpt_ros/observation",
    "hpt_ros/policies",
    "hpt_ros/resources.py",
    "hpt_ros/runtime",
    "hpt_ros/sim",
    "hpt_ros/structured.py",
    "rosbag_tools",
)
OTHERS = ("ArgumentError",)  # argparse's


def nodes(place: str) -> Iterator[tuple[str, ast.AST]]:
    """Every syntax node below a folder, or of a file, with where it stands."""
    top = ROOT / place
    for file in [top] if top.is_file() else sorted(top.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            yield f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def is_sentence(node: ast.AST) -> bool:
    """Whether it makes one of our errors without a code."""
    if not isinstance(node, ast.Call) or not node.args:
        return False
    name = ast.unparse(node.func).split(".")[-1]
    code = node.args[0]
    return (
        name.endswith("Error")
        and name[0].isupper()
        and not hasattr(builtins, name)
        and name not in OTHERS
        and not any(isinstance(part, ast.Attribute) and part.attr.isupper() for part in ast.walk(code))
    )


def looks_into_a_sentence(node: ast.AST) -> bool:
    """Whether it compares the text of an exception, or searches in it."""

    def text(part: ast.AST) -> bool:
        return ast.unparse(part) in ("str(error)", "str(caught)", "str(exception)", "error.args[0]")

    if isinstance(node, ast.Compare):
        return any(text(part) for part in (node.left, *node.comparators))
    return (
        isinstance(node, ast.Attribute)
        and node.attr in ("startswith", "endswith", "partition", "find", "removeprefix")
        and text(node.value)
    )


@pytest.mark.parametrize("place", CONVERTED)
def test_errors_are_made_of_fields(place: str) -> None:
    assert [where for where, node in nodes(place) if is_sentence(node)] == []


@pytest.mark.parametrize("place", ["hpt_ros", "rosbag_tools"])
def test_no_code_looks_into_a_sentence(place: str) -> None:
    assert [where for where, node in nodes(place) if looks_into_a_sentence(node)] == []


def test_the_checks_find_what_they_are_for() -> None:
    (raised,) = ast.parse('raise EmbodimentError(f"{where} is wrong")').body
    assert isinstance(raised, ast.Raise)
    assert raised.exc is not None
    assert is_sentence(raised.exc)
    assert any(looks_into_a_sentence(node) for node in ast.walk(ast.parse("if name in str(error): pass")))
    assert any(looks_into_a_sentence(node) for node in ast.walk(ast.parse('str(error).startswith("a")')))
