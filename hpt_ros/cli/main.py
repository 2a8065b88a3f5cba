"""Entry point of `hpt`: finds the verbs, runs one, and turns errors into exit statuses.

Exit status 0: done. 1: the work itself came to a bad end that is not a mistake of the caller's (a verb says which).
2: the caller's mistake, one sentence on standard error. 130: interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from types import ModuleType

from hpt_ros.errors import HptError
from hpt_ros.extras import missing_module

# Order of use: look, record, convert, train, run. Each name is a module in this folder with HELP, add_arguments
# and run.
VERBS = (
    "demo",
    "run",
    "embodiment",
    "record",
    "inspect",
    "convert",
    "import",
    "quality",
    "view",
    "export",
    "finetune",
    "evaluate",
    "checkpoint",
)


def build_parser() -> tuple[argparse.ArgumentParser, dict[str, ModuleType]]:
    """Build the parser of `hpt` with every verb's own arguments."""
    parser = argparse.ArgumentParser(
        prog="hpt",
        description="Heterogeneous pre-trained transformers on ROS 2 robots: record, convert, finetune, run.",
    )
    parser.add_argument("--version", action="version", version=f"hpt_ros {metadata.version('hpt_ros')}")
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    modules = {}
    for verb in VERBS:
        module = importlib.import_module(f"hpt_ros.cli.{verb}")
        module.add_arguments(commands.add_parser(verb, help=module.HELP, description=module.HELP))
        modules[verb] = module
    return parser, modules


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hpt` with these arguments (those of the process by default) and return its exit status."""
    parser, modules = build_parser()
    namespace = parser.parse_args(arguments)
    try:
        status = modules[namespace.verb].run(namespace)
        sys.stdout.flush()
        return int(status)
    except HptError as error:
        print(f"hpt {namespace.verb}: error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        explained = missing_module(error, what=f"'hpt {namespace.verb}'")
        if explained is None:
            raise
        print(f"hpt {namespace.verb}: error: {explained}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"hpt {namespace.verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe (`| head`) left; point stdout elsewhere so that the interpreter's own flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
