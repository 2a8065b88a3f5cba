# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt embodiment init BAG` and `hpt embodiment check FILE`: embodiment files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpt_ros.embodiment import Embodiment

LEFT_OUT = "robot_description's"  # a limit that the robot's URDF gives


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's actions and their arguments."""
    actions = parser.add_subparsers(dest="embodiment_action", metavar="ACTION", required=True)
    text = "write a first embodiment file from what is in a bag"
    init = actions.add_parser("init", help=text, description=text)
    init.add_argument("bag", metavar="BAG", help="a rosbag2 folder, or an .mcap or .db3 file")
    init.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write; must not exist")
    init.add_argument("--name", metavar="NAME", help="the embodiment's name (default my_robot)")
    init.add_argument(
        "--tick-hz", type=float, metavar="N", help="rate of observations; left out: the slowest camera's"
    )
    init.add_argument(
        "--together",
        nargs="+",
        action="extend",
        default=[],
        metavar="BAG",
        help="bags of the same session as BAG, such as one of cameras and one of the arm: read as one",
    )
    text = "load an embodiment file and say what is in it; exit status 1 if lines are marked to be filled in"
    check = actions.add_parser("check", help=text, description=text)
    check.add_argument("file", type=Path, metavar="FILE", help="embodiment file, or a shipped name")
    check.add_argument(
        "--urdf",
        type=Path,
        metavar="FILE",
        help="the robot's URDF: gives the limits that the file leaves out",
    )
    check.add_argument(
        "--deployment", type=Path, metavar="FILE", help="facts of a cell: shows the robot as it is there"
    )


def run(args: argparse.Namespace) -> int:
    """Write or check; raise HptError on a mistake."""
    from hpt_ros.cli.terminal import ResultConsole

    console = ResultConsole(highlight=False, markup=False, soft_wrap=True)
    if args.embodiment_action == "init":
        _init(args, console.print)
    else:
        return _check(args.file, args.urdf, args.deployment, console.print)
    return 0


def _check(file: Path, urdf: Path | None, deployment: Path | None, say: Callable[[str], None]) -> int:
    """Say what is in a file and what is still to be filled in; 1 if there is something."""
    from hpt_ros.resources import config_path
    from rosbag_tools.bootstrap.text import find_marked_lines

    say(_summary(file, urdf, deployment))
    marked = find_marked_lines(config_path("embodiments", file).read_text(encoding="utf-8"))
    if not marked:
        return 0
    say(f"still to be looked at and filled in, {len(marked)} lines; take the mark away when done:")
    for number, content in marked:
        say(f"  line {number}: {content}")
    return 1


def _modeline() -> str:
    """Return the line by which editors find the schema: this installation's, since a copied file has no other near."""
    from hpt_ros.resources import config_file

    return f"# yaml-language-server: $schema={config_file('schemas/embodiment.json').as_posix()}"


def _init(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    from hpt_ros.cli.output import make_parent
    from hpt_ros.cli.terminal import ProgressConsole
    from hpt_ros.errors import Code, HptError
    from rosbag_tools.bootstrap.first_embodiment import DEFAULT_NAME, write_first_embodiment
    from rosbag_tools.bootstrap.sensors import CHECK
    from rosbag_tools.bootstrap.text import find_marked_lines
    from rosbag_tools.reading.reader import Bag

    exists = HptError(Code.EXISTS, f"--out {str(args.out)!r}", remedy="give another name or delete it first")
    if args.out.exists():
        raise exists
    with (
        ProgressConsole().status("reading the bag"),
        Bag.open(args.bag, recover=True, beside=args.together) as bag,
    ):
        first = write_first_embodiment(bag, name=args.name or DEFAULT_NAME, tick_hz=args.tick_hz)
        carried = bool(bag.embodiment_text())
    try:
        with make_parent(args.out).open("x", encoding="utf-8") as file:
            file.write(f"{_modeline()}\n{first.text}")
    except FileExistsError as error:
        raise exists from error
    except OSError as error:
        raise HptError(
            Code.UNWRITABLE, f"--out {str(args.out)!r}", remedy="give another place", cause=error
        ) from error
    say(_summary(args.out))
    say(
        f"wrote {args.out}; look at the {len(find_marked_lines(first.text))} lines marked {CHECK}, the limits above all"
    )
    if first.left_out:
        say("left out:")
        for line in first.left_out:
            say(f"  {line}")
    for line in first.advice:
        say(line)
    if carried:
        say("the bag carries the embodiment file that it was recorded with: `hpt convert` needs no other")


def _describe(robot: Embodiment, urdf: Path) -> Embodiment:
    from hpt_ros.errors import Code, HptError
    from hpt_ros.runtime.robot_description import with_robot_description

    try:
        text = urdf.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HptError(
            Code.UNREADABLE, f"--urdf {str(urdf)!r}", problem="cannot be read as text",
            remedy="give a URDF, xacro's output", cause=error,
        ) from error  # fmt: skip
    return with_robot_description(robot, text)[0]


def _summary(path: Path, urdf: Path | None = None, deployment: Path | None = None) -> str:
    from hpt_ros.embodiment import Deployment, Embodiment, list_deployed_fields
    from hpt_ros.embodiment.streams import BY_STAMP

    robot = Embodiment.load(path)
    changed: tuple[str, ...] = ()
    if deployment is not None:
        cell = Deployment.load(deployment).over(robot, where=f"deployment file {str(deployment)!r}")
        changed, robot = list_deployed_fields(robot, cell), cell
    if urdf is not None:
        robot = _describe(robot, urdf)
    action = robot.action
    lines = [
        f"{robot.name}: ticks at {robot.tick_hz:g} Hz, observation horizon {robot.observation_horizon}, "
        f"{len(robot.state_names)} state and {action.dim} action dimensions"
    ]
    for stream in robot.streams:
        size = f"{stream.image.width}x{stream.image.height}" if stream.image else ", ".join(stream.names)
        offset = f" {stream.stamp_offset_s:+g} s" if stream.stamp_offset_s else ""
        timing = f", measured at {stream.time}{offset}" if offset or stream.time != BY_STAMP else ""
        lines.append(f"  {stream.name}: {stream.topic} at {stream.rate_hz:g} Hz, {size}{timing}")
    limits = {limit.name: limit for limit in action.limits}
    mode = "" if action.mode == "absolute" else f", {action.mode}"
    for part in action.parts:
        lines.append(
            f"  {part.name}: {part.topic} at {action.rate_hz:g} Hz, chunks of {action.horizon} ticks, {part.kind}{mode}"
        )
        unit = "m" if part.cartesian else part.unit
        for name in part.limited:
            limit = limits[name]
            gripper = ", a gripper" if name in action.grippers else ""
            lower, upper, speed = (
                f"{value:g}" if value is not None else f"({LEFT_OUT})"
                for value in (limit.lower, limit.upper, limit.velocity)
            )
            reach = "without end" if limit.continuous else f"{lower} to {upper} {unit}"
            jerk = "" if limit.jerk is None else f", {limit.jerk:g} {unit}/s^3"
            lines.append(
                f"    {name}: {reach}, {speed} {unit}/s, {limit.acceleration:g} {unit}/s^2{jerk}{gripper}"
            )
        if (turn := part.rotation_limit) is not None:
            lines.append(f"    {part.name} turns: {turn.velocity:g} rad/s, {turn.acceleration:g} rad/s^2")
    if any(limit.missing for limit in action.limits):
        lines.append(
            "  robot_description: the robot's URDF, a parameter of the policy node; --urdf shows its limits"
        )
    if deployment is not None:
        lines.append(f"  deployment: {len(changed)} fields differ from the embodiment file")
        lines += [f"    {line}" for line in changed]
    return "\n".join(lines)
