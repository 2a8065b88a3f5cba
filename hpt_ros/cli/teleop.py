# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt teleop`: a person drives a simulated environment, by keys, gamepad or SpaceMouse, and records demonstrations."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import queue
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_ros.cli.eval import add_variation, variation_of
from hpt_ros.errors import Code, HptError
from hpt_ros.resources import DEMO
from hpt_ros.sim.demonstrations import FIRST_DEMONSTRATION_SEED

if TYPE_CHECKING:
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.sim.environment import Environment, Outcome
    from hpt_ros.teleoperation.devices import Joystick, Wish
    from hpt_ros.teleoperation.session import Session

PORT = 8040
MAX_LAG_S = 0.2  # wall time that the simulation may catch up; what is beyond slows simulated time down
VIEW_S = 0.1  # between images of the view
STATE_S = 0.2  # between looks at what the page and the terminal say
HEIGHT, WIDTH, JPEG_QUALITY = 480, 640, 80
HELP = """\
  w s  a d  r f    move the tool (or the base) forward and back, left and right, up and down
  u o  i k  j l    turn it about its forward, left and up axis
  h g              open and close the gripper
  1 .. 9, + -      choose a joint, move it
  tab              the robot's next arm or output          [ ]    slower, faster
  space            begin an episode (from the scene's start)
  y n              keep it, as a success or a failure      x      discard it; without one: another scene
  q                end"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--env", default=DEMO, metavar="NAME", help=f"environment (default: {DEMO})")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="for the bags, one an episode (default: only try)"
    )
    parser.add_argument(
        "--seed", type=int, default=FIRST_DEMONSTRATION_SEED, metavar="N",
        help=f"of the first scene (default: {FIRST_DEMONSTRATION_SEED})",
    )  # fmt: skip
    add_variation(parser)
    parser.add_argument("--operator", default="", metavar="NAME", help="who teleoperates; kept in each bag")
    parser.add_argument(
        "--joy",
        metavar="TOPIC",
        help="also a gamepad or a SpaceMouse: topic of sensor_msgs/Joy, e.g. /joy, /spacenav/joy",
    )
    parser.add_argument(
        "--layout", default="", metavar="NAME",
        help="of --joy: gamepad or spacemouse (default: spacemouse if the topic's name has 'space', else gamepad)",
    )  # fmt: skip
    parser.add_argument(
        "--port",
        type=int,
        default=PORT,
        metavar="N",
        help=f"of the page with the images; 0: a free one (default: {PORT})",
    )


def run(args: argparse.Namespace) -> int:
    """Let the person drive until they end it; returns 0."""
    from hpt_ros.cli.interruption import interrupt_on_signals
    from hpt_ros.cli.output import make_folder
    from hpt_ros.cli.terminal import Results, Terminal
    from hpt_ros.embodiment.streams import check_topic
    from hpt_ros.sim.environment import make_environment
    from hpt_ros.teleoperation.devices import LAYOUTS, Joystick
    from hpt_ros.teleoperation.session import Session
    from hpt_ros.teleoperation.view import View

    if not 0 <= args.port < 65536:
        raise HptError(Code.OUT_OF_RANGE, "--port", args.port, expected="0 to 65535")
    if args.seed < 0:
        raise HptError(Code.OUT_OF_RANGE, "--seed", args.seed, expected="at least 0")
    if args.joy is not None:
        check_topic(args.joy, "--joy")
    spacemouse = "spacemouse" if "space" in (args.joy or "") else "gamepad"
    joystick = Joystick(LAYOUTS[args.layout or spacemouse]) if args.joy or args.layout else None
    if not sys.stdin.isatty():
        raise HptError(
            Code.UNSUPPORTED, "standard input", problem="is no terminal, so no key can be read",
            remedy="call it in a terminal (over ssh: ssh -t)",
        )  # fmt: skip
    if args.out is not None:
        make_folder(args.out, args.out)
    environment = make_environment(args.env, variation=variation_of(args, args.env))
    with contextlib.ExitStack() as stack:
        stack.callback(environment.close)
        stack.enter_context(interrupt_on_signals())
        terminal = stack.enter_context(Terminal())
        recorder = _Bags(environment, args.out, args.operator or _user())
        session = Session(environment, args.seed, recorder.new_log, recorder.keep)
        view = stack.enter_context(View(args.port))
        joy: queue.SimpleQueue[Any] = queue.SimpleQueue()
        if args.joy:
            from hpt_ros.nodes.sim.joy_topic import JoyTopic

            joy = stack.enter_context(JoyTopic(args.joy)).said
        terminal.say(f"{environment.name}: {environment.instruction}\n{HELP}\nimages: {view.address}")
        if session.jog.joint_names():
            numbered = enumerate(session.jog.joint_names()[:9], start=1)
            terminal.say(f"joints: {', '.join(f'{number} {name}' for number, name in numbered)}")
        if not session.jog.moves_tool:
            terminal.say("nothing is known of this robot's tool: only the joint keys move it")
        _open_page(view.address)
        _Loop(session, view, terminal, joystick, joy).run()
    kept = f"{session.episodes.kept} bags in {args.out}" if args.out is not None else "nothing was recorded"
    Results().print(kept, highlight=False, soft_wrap=True)
    return 0


class _Loop:
    """Keys, joystick, simulation, images, in one thread: the one that may render."""

    def __init__(
        self,
        session: Session,
        view: Any,
        terminal: Terminal,
        joystick: Joystick | None,
        joy: queue.SimpleQueue[Any],
    ) -> None:
        from hpt_ros.teleoperation.devices import Keys

        self._session, self._view, self._terminal = session, view, terminal
        self._joystick, self._joy = joystick, joy
        self._keys = Keys()
        self._typed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._said = ""

    def run(self) -> None:
        from hpt_ros.teleoperation.keyboard import Keyboard

        keyboard = Keyboard(self._typed.put)
        keyboard.start()
        try:
            self._drive()
        finally:
            keyboard.restore()

    def _drive(self) -> None:
        session = self._session
        period_s = session.jog.period_ns / 1e9
        due_s = seen_s = shown_s = time.monotonic()
        while not session.episodes.ended:
            session.step(self._wish())
            now_s = time.monotonic()
            if now_s - shown_s >= STATE_S:
                shown_s = now_s
                self._tell()
            if self._view.watched and now_s - seen_s >= VIEW_S:
                seen_s = now_s
                self._view.show(_jpeg(session.environment), self._state())
            due_s = max(due_s + period_s, time.monotonic() - MAX_LAG_S)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _wish(self) -> Wish:
        """Take all that came, and return what is wanted now."""
        while not self._typed.empty():
            self._press(self._typed.get())
        while self._joystick is not None and not self._joy.empty():
            axes, buttons = self._joy.get()
            for word in self._joystick.take(axes, buttons):
                self._say(word)
        wish = self._keys.wish(self._session.now_ns)
        return wish if self._joystick is None else wish + self._joystick.wish()

    def _press(self, key: str) -> None:
        from hpt_ros.teleoperation.episodes import KEYS

        session = self._session
        if self._keys.press(key, session.now_ns):
            return
        if key in KEYS:
            self._say(KEYS[key])
        elif key in ("[", "]"):
            session.set_speed(1 if key == "]" else -1)
        elif key == "\t":
            session.choose_part()
        elif key in "123456789":
            session.choose_joint(int(key) - 1)
        elif key:
            session.notice = f"the key {key!r} does nothing"

    def _say(self, word: str) -> None:
        self._session.say(word)
        self._keys.release()

    def _tell(self) -> None:
        self._view.show(b"", self._state())
        if self._session.notice != self._said:
            self._said = self._session.notice
            self._terminal.say(self._said)

    def _state(self) -> str:
        session = self._session
        outcome = session.environment.outcome()
        recorded = f"recording, {session.recorded_s:.1f} s" if session.episodes.recording else "not recording"
        return (
            f"scene {session.episodes.scene}, {recorded}, {session.episodes.kept} kept; "
            f"{100 * outcome.progress:.0f} % done\n{outcome.detail}\n{session.notice}"
        )


class _Bags:
    """Bags as `hpt collect` writes them; without a folder nothing is written."""

    def __init__(self, environment: Environment, out: Path | None, operator: str) -> None:
        self._environment, self._out, self._operator = environment, out, operator

    def new_log(self) -> Any:
        from rosbag_tools.recording.topic_log import TopicLog

        return TopicLog(self._environment.embodiment)

    def keep(self, log: Any, scene: int, *, success: bool, outcome: Outcome) -> None:
        from hpt_ros.cli.collection import bag_stem
        from rosbag_tools import bag_schema

        if self._out is None:
            return
        stem = f"{bag_stem(self._environment.name)}_{scene:08d}"
        name, number = stem, 2
        while (self._out / name).exists():  # another session's, of the same scene
            name, number = f"{stem}_{number}", number + 1
        log.write(
            self._out,
            name,
            {
                bag_schema.KEY_EPISODE: name,
                bag_schema.KEY_TASK: self._environment.instruction,
                bag_schema.KEY_OPERATOR: self._operator,
                bag_schema.KEY_OUTCOME: "success" if success else "failure",
                bag_schema.KEY_NOTE: outcome.detail,
            },
        )


def _jpeg(environment: Environment) -> bytes:
    import cv2

    pixels = cv2.cvtColor(environment.render(HEIGHT, WIDTH), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(data) if done else b""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user of a container, without an entry
        return ""


def _open_page(address: str) -> None:
    """Open the page where there is a screen; elsewhere a person forwards the port."""
    import os
    import webbrowser

    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)
