# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt completion SHELL`: what completes verbs and options in a shell."""

from __future__ import annotations

from hpt_ros.cli.parsing import Parser

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: Parser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    parser.epilog = (
        'bash and zsh: eval "$(hpt completion bash)" in ~/.bashrc or ~/.zshrc. '
        "fish: hpt completion fish > ~/.config/fish/completions/hpt.fish"
    )


def run(args: object) -> int:
    """Print the shell's code; returns 0."""
    import argcomplete

    print(argcomplete.shellcode(["hpt"], shell=args.shell))  # type: ignore[attr-defined]
    return 0
