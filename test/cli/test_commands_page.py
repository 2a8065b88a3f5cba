# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""docs/commands.md lists what the parser has: every command, what it reads, and its --out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from hpt_ros.cli.main import build_parser
from hpt_ros.cli.parsing import Parser

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def leaves(parser: Parser) -> Iterator[Parser]:
    """Parsers that have no actions of their own."""
    actions = parser.load().actions()
    for inner in actions.values():
        yield from leaves(inner)
    if not actions:
        yield parser


def shown(action: argparse.Action) -> str:
    """An argument in the table: brackets if it may be left out, dots if there may be several."""
    name = str(action.metavar or action.dest) + (" ..." if action.nargs == "+" else "")
    optional = action.nargs == "?" or (action.option_strings and not action.required)
    return f"[{name}]" if optional else name


def row(parser: Parser) -> str:
    """The command's line."""
    reads = " ".join(shown(action) for action in parser._actions if not action.option_strings)
    writes = " ".join(shown(action) for action in parser._actions if "--out" in action.option_strings)
    cells = [f"`{text}`".replace("|", r"\|") if text else "" for text in (parser.prog, reads, writes)]
    return "| " + " | ".join([*cells, parser.description or ""]).replace("|  |", "| |") + " |"


def test_the_page_lists_every_command_as_the_parser_has_it() -> None:
    rows = [row(parser) for parser in leaves(build_parser())]
    page = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `hpt ")]
    assert page == rows


def test_inputs_are_positional_and_results_go_to_out() -> None:
    names = {
        "--output",
        "--dest",
        "--dir",
        "--input",
        "--bag",
        "--bags",
        "--dataset",
        "--checkpoint",
        "-o",
        "-i",
    }
    for parser in leaves(build_parser()):
        # hpt collect writes bags to --out, or in place of them a dataset.
        other = {"--dataset"} if parser.prog == "hpt collect" else set()
        assert not (names - other) & set(parser._option_string_actions), parser.prog
        for action in parser._actions:
            assert action.option_strings or action.dest not in ("out", "output", "embodiment"), parser.prog


def test_options_of_several_values_add_up_where_they_are_repeated() -> None:
    for parser in leaves(build_parser()):
        several = [item for item in parser._actions if item.option_strings and item.nargs in ("+", "*")]
        for option in several:
            assert isinstance(option, argparse._ExtendAction), f"{parser.prog} {option.option_strings}"
