# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The parsers of `hpt`: argparse with guesses, shown defaults, no abbreviations, and verbs that are loaded when named.

Why argparse and not typer or tyro: docs/decisions/0013-command-line.md.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hpt_ros.errors import did_you_mean

COMPLETING = "_ARGCOMPLETE"  # set by the shell while argcomplete asks what may come next


class Formatter(argparse.HelpFormatter):
    """Shows each option's default, unless its help does or it says nothing (none, off, empty)."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        silent = default is None or default is False or default in ("", [], argparse.SUPPRESS, math.inf)
        if silent or action.required or "default" in text or isinstance(action, argparse._VersionAction):
            return text
        shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        return f"{text} (default: {shown.replace('%', '%%')})"


class Parser(argparse.ArgumentParser):
    """A parser of `hpt`, of a verb, or of a verb's action.

    It sets `command` in what it parses: its own full name, e.g. "hpt checkpoint inspect".

    Args:
        load: declares the arguments, called when they are needed; a verb's module is imported only then.
    """

    def __init__(self, *args: Any, load: Callable[[Parser], None] | None = None, **kwargs: Any) -> None:
        self._load = load
        super().__init__(*args, **{"formatter_class": Formatter, "allow_abbrev": False, **kwargs})

    def loaded(self) -> Parser:
        """This parser, with its arguments declared."""
        load, self._load = self._load, None
        if load is not None:
            load(self)
        return self

    # argparse annotates this with overloads that a caller of ours never needs.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but whatever this parser does not know is its own error, so that it names the command."""
        self.loaded()
        if COMPLETING in os.environ:
            return super().parse_known_args(args, namespace)
        arguments = [] if args is None else list(args)
        if not arguments and (actions := self.actions()):
            self.error(f"one of {', '.join(actions)} was expected")
        parsed, unknown = super().parse_known_args(arguments, namespace)
        if unknown:
            self.error(self._unknown(unknown))
        parsed.command = getattr(parsed, "command", self.prog)  # an inner parser's is there already
        return parsed, []

    def actions(self) -> dict[str, Parser]:
        """Parsers of the verbs, or of the verb's actions, by name."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}

    def error(self, message: str) -> NoReturn:
        """Print one sentence that names the command, and leave with status 2."""
        self.exit(2, f"{self.prog}: error: {message}; see '{self.prog} --help'\n")

    def _match_argument(self, action: argparse.Action, arg_strings_pattern: str) -> int:
        try:
            return super()._match_argument(action, arg_strings_pattern)
        except argparse.ArgumentError as error:
            if action.nargs is None:  # one value is wanted, and none is there
                error.message += ' (one that begins with a dash is given with "=": --option=-value)'
            raise

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                None if isinstance(action, argparse._SubParsersAction) else action,
                f"{value!r} is not one of {', '.join(known)}{did_you_mean(str(value), known)}",
            )

    def _unknown(self, arguments: Sequence[str]) -> str:
        options = [word for word in arguments if word.startswith("-")] or list(arguments)
        first = options[0].partition("=")[0]
        return f"the argument {options[0]!r} is unknown{did_you_mean(first, self._option_string_actions)}"
