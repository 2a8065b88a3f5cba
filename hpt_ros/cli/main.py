# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Entry point of `hpt`: finds the verb, runs it, and turns errors into exit statuses.

Exit status 0: done. 1: the work itself came to a bad end that is not a mistake of the caller's (a verb says which).
2: the caller's mistake, one sentence on standard error. 70: a fault of hpt_ros (EX_SOFTWARE of sysexits.h), one
sentence that says where the trace is. 130: interrupted.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

from hpt_ros import __version__
from hpt_ros.cli.parsing import COMPLETING, Parser
from hpt_ros.devices import is_out_of_memory
from hpt_ros.errors import HptError
from hpt_ros.extras import missing_module

# In the order of use: look, record, convert, train, run. Each is a module in this folder with add_arguments and run,
# imported only when it is named.
VERBS = {
    "demo": "let a checkpoint feed the dog in simulation, beside two baselines, and print how well it went",
    "run": "run a checkpoint on a robot as a ROS 2 node, configured and activated at once",
    "embodiment": "make a first embodiment file from a bag, or check one",
    "record": "record episodes into MCAP bags, started and stopped by keys, joystick, topic or services",
    "inspect": "show a bag's topics, rates, gaps, skew and sizes, and what an embodiment file would use",
    "convert": "convert rosbags to a LeRobotDataset v3.0",
    "import": "import a dataset of others: LeRobot v2.0, v2.1 or v3.0, RLDS, HDF5 (robomimic, ALOHA) or Zarr (UMI)",
    "quality": "check a dataset and write a report of what is wrong with it, as one HTML page",
    "dataset": "edit a dataset where LeRobot's own tools do not: trim rests",
    "view": "open an episode of a dataset or a bag in Rerun, or write it as a video",
    "export": "write a dataset as HDF5 (robomimic's layout) or Zarr (diffusion policy's layout)",
    "pretrain": "train one trunk on the datasets of many robots",
    "finetune": "train a policy from a dataset or from bags",
    "study": "train a grid of runs on the same held-out episodes, and draw what it shows",
    "collect": "record demonstrations of simulated environments as bags, or as a dataset (--dataset)",
    "teleop": "drive a simulated environment by keys, gamepad or SpaceMouse, and record demonstrations",
    "eval": "run a policy in a simulated environment and print how often it succeeds",
    "compare": "compare two evaluations on the same scenes",
    "evaluate": "replay recordings through the robot's own path, and measure what a policy would have done",
    "checkpoint": "say what a checkpoint holds, verify, import, export it, or add a task",
    "push": "upload a dataset or a checkpoint to the Hugging Face hub, with its card",
    "schema": "print the JSON schema of a YAML file, for editors",
    "completion": "print what completes verbs and options in your shell",
}
INTERNAL_ERROR = 70
TRACEBACK = "HPT_TRACEBACK"
# What the machine refuses, by whatever call; no defect of ours.
REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
}


def build_parser() -> Parser:
    """Build the parser of `hpt`; a verb's own arguments are declared when it is named."""
    parser = Parser(
        prog="hpt",
        description="Heterogeneous pre-trained transformers on ROS 2 robots: record, convert, finetune, run.",
        epilog="'hpt VERB --help' explains a verb.",
    )
    parser.add_argument("--version", action="version", version=f"hpt_ros {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help=f"show the trace of an internal error, as {TRACEBACK}=1 does"
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in VERBS.items():
        verbs.add_parser(verb, help=text, description=text, load=partial(_load, verb))
    return parser


def _load(verb: str, parser: Parser) -> None:
    _module(verb).add_arguments(parser)


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"hpt_ros.cli.{verb}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hpt` with these arguments (those of the process by default) and return its exit status.

    Raises:
        SystemExit: with status 0 after --help and --version, 2 if the arguments make no sense.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller (`>&-`)
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the process's life
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a locale without UTF-8 must not turn a ° into a failure
            stream.reconfigure(errors="backslashreplace")
    show = bool(os.environ.get(TRACEBACK))
    args = argparse.Namespace(command="hpt")
    try:
        args = _parse(given)
        show = show or args.traceback
        status = int(_module(args.verb).run(args))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _hush()
        return 0
    except HptError as error:
        return _say(f"{args.command}: error: {error}", 2)
    except KeyboardInterrupt:
        return _say(f"{args.command}: interrupted", 130)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (
            explained := missing_module(error, what=f"'{args.command}'")
        ):
            return _say(f"{args.command}: error: {explained}", 2)
        if isinstance(error, OSError) and error.errno in REFUSED:
            shared = " (of a disk or of /dev/shm)" if error.errno == errno.ENOSPC else ""
            what = f" ({error.filename!r})" if error.filename else shared
            return _say(
                f"{args.command}: error: the system refuses: {error.strerror}{what}; fix that, or name another place",
                2,
            )
        if is_out_of_memory(error):
            return _say(
                f"{args.command}: error: memory does not suffice ({' '.join(str(error).split())[:120]}); take less at "
                "once: in training a smaller batch_size, or micro_batch",
                2,
            )
        return _say(_bug(args.command, error, show), INTERNAL_ERROR)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = build_parser()
    if COMPLETING in os.environ:
        import argcomplete

        for verb in parser.actions().values():
            verb.loaded()
        argcomplete.autocomplete(parser)
    if not arguments:
        arguments = ["--help"]
    if "--traceback" in arguments:  # wherever it stands
        arguments = ["--traceback", *(word for word in arguments if word != "--traceback")]
    before, after = arguments, []
    if "--ros-args" in arguments:
        at = arguments.index("--ros-args")
        before, after = arguments[:at], arguments[at + 1 :]
    try:
        try:
            args: argparse.Namespace = parser.parse_args(before)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `hpt --help | head`
        _hush()
        sys.exit(0)
    if after and not hasattr(args, "ros_args"):
        parser.actions()[args.verb].error("--ros-args is for verbs that run a node: run and record")
    args.ros_args = after
    return args


def _hush() -> None:
    """The reader of a pipe (`| head`) left: point stdout elsewhere, so that the interpreter's own flush is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status


def _bug(command: str, error: Exception, show: bool) -> str:
    """One sentence about an internal error, which says where its trace is; or the trace itself before it."""
    trace = "".join(traceback.format_exception(error))
    what = f"{command}: internal error, {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    please = "this is a fault of hpt_ros: please report it with the trace"
    if not show:
        try:
            descriptor, name = tempfile.mkstemp(prefix="hpt-", suffix=".traceback.txt")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"hpt_ros {__version__}, Python {sys.version}\n{sys.argv}\n{trace}")
            return f"{what}; {please} in {str(Path(name))!r} ({TRACEBACK}=1 or --traceback shows it)"
        except OSError:  # nowhere to put it
            pass
    return f"{trace}{what}; {please} above"


if __name__ == "__main__":
    sys.exit(main())
