# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""No code looks into an error's sentence. That errors are made of fields, mypy sees: a text is no code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("hpt_ros", "rosbag_tools")


def nodes(place: str) -> Iterator[tuple[str, ast.AST]]:
    """Every syntax node below a folder, or of a file, with where it stands."""
    top = ROOT / place
    for file in [top] if top.is_file() else sorted(top.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            yield f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


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


@pytest.mark.parametrize("place", ROOMS)
def test_no_code_looks_into_a_sentence(place: str) -> None:
    assert [where for where, node in nodes(place) if looks_into_a_sentence(node)] == []


def test_the_checks_find_what_they_are_for() -> None:
    assert any(looks_into_a_sentence(node) for node in ast.walk(ast.parse("if name in str(error): pass")))
    assert any(looks_into_a_sentence(node) for node in ast.walk(ast.parse('str(error).startswith("a")')))
