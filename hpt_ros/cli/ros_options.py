# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Options of the verbs that run a node, and what they are for rcl.

`ros2 run` has them behind --ros-args; here they are options of their own, and --ros-args still passes all that follows.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from hpt_ros.errors import Code, HptError

LEVELS = ("debug", "info", "warn", "error", "fatal")
_UNREADABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # by YAML, unless escaped
_NAME = r"[A-Za-z_]\w*(\.\w+)*"


def add_ros_options(parser: argparse.ArgumentParser, node: str) -> None:
    """Declare the options; `node` is the node's usual name."""
    parser.set_defaults(ros_args=[])
    add = parser.add_argument_group("ROS").add_argument
    add("--sim-time", action="store_true", help="use simulated time from /clock")
    add("--param", action="append", default=[], metavar="NAME:=VALUE", help="a parameter; may be repeated")
    add(
        "--params-file",
        action="append",
        default=[],
        metavar="FILE",
        help="parameters from a YAML file, or a shipped one by its name, e.g. first_motion; may be repeated",
    )
    add("--namespace", metavar="NAME", help="namespace of the node, e.g. robot1")
    add("--name", metavar="NAME", help=f"name of the node (default: {node})")
    add("--remap", action="append", default=[], metavar="FROM:=TO", help="another name; may be repeated")
    add(
        "--log-level",
        metavar="LEVEL",
        help=f"{', '.join(LEVELS)}; of one logger: NAME:=LEVEL (default: info)",
    )
    add("--ros-args", nargs="...", help="all that follows goes to rcl as it is")


def ros_arguments(args: argparse.Namespace, node: str) -> list[str]:
    """What these options are for rcl, without the leading --ros-args.

    Args:
        args: parsed.
        node: the node's usual name.

    Raises:
        HptError: a value of another form; a file that is not there, or that has nothing for this node.
    """
    namespace = "/" + (args.namespace or "").strip("/")
    if not re.fullmatch(r"/|(/[A-Za-z_]\w*)+", namespace):
        raise HptError(
            Code.INVALID, "--namespace", args.namespace, expected="a name such as robot1 or cell/left"
        )
    name = args.name or node
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise HptError(Code.INVALID, "--name", args.name, expected="letters, digits and underscores")
    full_name = f"{namespace.rstrip('/')}/{name}"
    return [
        *(part for file in args.params_file for part in ("--params-file", str(_file(file, full_name)))),
        *(["-p", "use_sim_time:=true"] if args.sim_time else []),
        *(part for setting in args.param for part in ("-p", _setting(setting))),
        *(["-r", f"__ns:={namespace}"] if args.namespace else []),
        *(["-r", f"__node:={name}"] if args.name else []),
        *(part for rule in args.remap for part in ("-r", _rule(rule))),
        *(["--log-level", _level(args.log_level)] if args.log_level else []),
        *args.ros_args,
    ]


def parameter(name: str, value: str) -> str:
    """A text as a parameter; quoted, a folder called 123 or a task with a colon stays text.

    rcl reads values as YAML, of which JSON is a part; but not what JSON makes of characters beyond 16 bits.
    """
    quoted = json.dumps(value, ensure_ascii=False)
    escaped = _UNREADABLE.sub(lambda found: rf"\u{ord(found[0]):04x}", quoted)
    return f"{name}:={escaped}"


def _setting(text: str) -> str:
    name, assigned, value = text.partition(":=")
    if not (assigned and value and re.fullmatch(_NAME, name)):
        wrong = re.fullmatch(rf"({_NAME})=(.*)", text, re.DOTALL)
        remedy = f"write --param {wrong[1]}:={wrong[3]}" if wrong else "correct it"
        raise HptError(
            Code.INVALID, "--param", text,
            expected="NAME:=VALUE, e.g. safety.velocity_scale:=0.1", remedy=remedy,
        )  # fmt: skip
    return text


def _rule(text: str) -> str:
    old, assigned, new = text.partition(":=")
    if not (assigned and old.strip() and new.strip()):
        raise HptError(
            Code.INVALID, "--remap", text,
            expected="FROM:=TO, e.g. /joint_states:=/left/joint_states",
        )  # fmt: skip
    return text


def _level(text: str) -> str:
    level = text.rpartition(":=")[2]
    if level.lower() not in LEVELS:
        raise HptError(Code.UNKNOWN, "--log-level", text, known=LEVELS)
    return text


def _file(name: str, node: str) -> Path:
    """The file's path, if some of it is for the node; rcl would say nothing."""
    from hpt_ros.nodes.common.parameter_files import matches, sections
    from hpt_ros.resources import config_path
    from hpt_ros.structured import read_yaml_file

    path = config_path("safety", name)
    nodes = list(sections(read_yaml_file(path)))
    if not any(matches(section, node) for section in nodes):
        raise HptError(
            Code.INVALID, "--params-file", name,
            problem=f"is {{value}}, which has parameters of {', '.join(nodes) or 'no node'}, but none of "
            f"{node}", remedy=f"name it /** or {node} there",
        )  # fmt: skip
    return path
