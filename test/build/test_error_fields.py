# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""No code looks into an error's sentence. That errors are made of fields, mypy sees: a text is no code."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
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
    """Whether it compares the text of an exception, or searches in it, also under a name of its own."""
    if not isinstance(node, ast.FunctionDef):
        return False
    named = {
        target.id
        for part in ast.walk(node)
        if isinstance(part, ast.Assign) and any(_is_sentence(inner, ()) for inner in ast.walk(part.value))
        for target in part.targets
        if isinstance(target, ast.Name)
    }
    return any(_looks(part, named) for part in ast.walk(node))


def _is_sentence(part: ast.AST, named: Collection[str]) -> bool:
    if isinstance(part, ast.Name):
        return part.id in named
    return ast.unparse(part) in ("str(error)", "str(caught)", "str(exception)", "error.args[0]")


def _looks(node: ast.AST, named: Collection[str]) -> bool:
    if isinstance(node, ast.Compare):
        return any(_is_sentence(part, named) for part in (node.left, *node.comparators))
    if isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "re.search",
        "re.match",
        "re.fullmatch",
        "re.findall",
    ):
        return any(_is_sentence(part, named) for part in node.args)
    return (
        isinstance(node, ast.Attribute)
        and node.attr in ("startswith", "endswith", "partition", "find", "removeprefix")
        and _is_sentence(node.value, named)
    )


@pytest.mark.parametrize("place", ROOMS)
def test_no_code_looks_into_a_sentence(place: str) -> None:
    assert [where for where, node in nodes(place) if looks_into_a_sentence(node)] == []


@pytest.mark.parametrize(
    "code",
    [
        "if name in str(error): pass",
        'str(error).startswith("a")',
        're.search("a", str(error))',
        'text = " ".join(str(error).split())\n    "a" in text',
    ],
)
def test_the_check_finds_what_it_is_for(code: str) -> None:
    (function,) = ast.parse(f"def look(error):\n    {code}").body
    assert looks_into_a_sentence(function)
