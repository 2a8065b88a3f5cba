# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt inspect`: what is in a bag."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpt_ros.cli.terminal import ResultConsole
    from hpt_ros.embodiment import Embodiment
    from rosbag_tools.reading.inspection import Inspection, TopicTimes

HELP = "show a bag's topics, rates, gaps, skew and sizes, and what an embodiment file would use"
# Columns of text without a terminal: a table is never wider than its content.
PIPE_WIDTH = 200
# Headings of a topic's figures and their widths; 80 with the spaces between them.
COLUMNS = (
    ("messages", 9), ("Hz", 6), ("jitter ms", 9), ("gap s", 7), ("gaps", 4), ("delay ms", 8), ("skew ms", 7),
    ("size", 7), ("ratio", 5),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "bags",
        metavar="BAG",
        nargs="+",
        help="a rosbag2 folder, an .mcap, .db3 or .bag file, a folder of those, or a pattern",
    )
    parser.add_argument(
        "--embodiment", metavar="FILE", help="embodiment file; left out: the one that each bag carries"
    )
    parser.add_argument(
        "--namespace",
        metavar="NAME",
        help="namespace of the embodiment's relative topics; left out: the bag's",
    )
    parser.add_argument(
        "--together",
        nargs="+",
        action="extend",
        default=[],
        metavar="BAG",
        help="bags of the same session as BAG, such as one of cameras and one of the arm: read as one",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Print each bag; exit status 1 if something that the embodiment file wants is missing or wrong, 2 if one of
    several bags cannot be read."""
    import json
    import sys

    from hpt_ros.cli.terminal import ResultConsole
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.errors import format_count
    from rosbag_tools.errors import BagError
    from rosbag_tools.reading.finding import find_bags

    embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
    console = ResultConsole() if sys.stdout.isatty() else ResultConsole(width=PIPE_WIDTH)
    paths = find_bags(args.bags, lambda note: print(f"hpt inspect: {note}", file=sys.stderr))
    found: list[dict[str, Any]] = []
    for path in paths:
        try:
            shown = None if args.json else console
            found.append(_one(str(path), embodiment, args.namespace, shown, args.together))
        except BagError as error:
            if len(paths) == 1:
                raise
            print(f"hpt inspect: {error}", file=sys.stderr)
            found.append({"bag": str(path), "error": str(error)})
    bad = [entry for entry in found if "error" in entry]
    if args.json:
        print(json.dumps({"bags": found}, indent=1, ensure_ascii=False))
    elif len(paths) > 1:
        good = [entry for entry in found if "error" not in entry]
        length_s, size = (sum(entry[key] for entry in good) for key in ("duration_s", "size_bytes"))
        episodes = sum(len(entry["episodes"]) for entry in good)
        rest = f"; {len(bad)} cannot be read" if bad else ""
        console.print(
            f"{format_count(len(good), 'bag')}, {format_count(episodes, 'episode')}, {length_s:.1f} s, "
            f"{bytes_text(size)}{rest}",
            highlight=False,
        )
    return 2 if bad else int(any(entry["lacks"] for entry in found))


def _one(
    path: str,
    embodiment: Embodiment | None,
    namespace: str | None,
    console: ResultConsole | None,
    together: list[str],
) -> dict[str, Any]:
    """Inspect a bag, print it if there is a console, and return it for JSON."""
    from hpt_ros.embodiment import Embodiment
    from rosbag_tools.converting.topic_names import with_names_of
    from rosbag_tools.reading.episodes import find_episodes
    from rosbag_tools.reading.inspection import inspect
    from rosbag_tools.reading.reader import Bag

    with Bag.open(path, recover=True, beside=together) as bag:
        if embodiment is None and (text := bag.embodiment_text()):
            embodiment = Embodiment.loads(text, where=f"the embodiment in bag {path!r}")
        if embodiment is not None:
            embodiment = with_names_of(bag, embodiment, namespace)
        inspection = inspect(bag, embodiment)
        episodes = [
            {
                "id": episode.episode_id,
                "length_s": (episode.end_ns - episode.start_ns) / 1e9,
                "task": episode.task,
                "outcome": "discarded" if episode.discarded else episode.outcome,
            }
            for episode in find_episodes(bag)
        ]
        result = {
            "bag": path,
            "duration_s": bag.duration_s,
            "size_bytes": sum(entry.size_bytes for entry in inspection.topics.values()),
            "embodiment": embodiment.name if embodiment else "",
            "recovered": bag.recovered,
            "lacks": inspection.lacks,
            "episodes": episodes,
            **inspection.as_mapping(),
        }
    if console is not None:
        _print(console, inspection, result)
    return result


def _print(console: ResultConsole, inspection: Inspection, result: dict[str, Any]) -> None:
    from rich.text import Text

    def say(text: str) -> None:
        console.print(Text(_printable(text)))

    messages = sum(entry.count for entry in inspection.topics.values())
    say(
        f"{result['bag']}: {result['duration_s']:.1f} s, {messages} messages, {bytes_text(result['size_bytes'])}"
    )
    if result["recovered"]:
        say(result["recovered"])
    # Two lines a topic: names and types are too long to stand beside the figures in 80 columns.
    console.print(Text("  ".join(f"{heading:>{width}}" for heading, width in COLUMNS), style="bold"))
    for name, entry in sorted(inspection.topics.items()):
        console.print(Text(_printable(name)), Text(_printable(entry.type.replace("/msg/", "/")), style="dim"))
        cells = _cells(entry, result["size_bytes"])
        say("  ".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)))
    for note in inspection.notes:
        say(f"  CHECK {note}")
    if inspection.reference:
        say(f"skew: median distance to the nearest message, from each of {inspection.reference}")
    if result["embodiment"]:
        say(f"embodiment {result['embodiment']} takes")
    for name, entry in sorted(inspection.topics.items(), key=lambda item: (item[1].used_by, item[0])):
        what = f"{entry.used_by}: {name}" if entry.used_by else name
        if entry.used_by and not entry.notes:
            say(f"  ok    {what}")
        for note in entry.notes:
            say(f"  CHECK {what}: {note}")
        if entry.unreadable and not entry.used_by:
            say(f"  not readable {name}: {entry.unreadable}")
    if inspection.unused:
        say(f"not used: {', '.join(inspection.unused)}")
    for episode in result["episodes"]:
        task = f", task {episode['task']!r}" if episode["task"] else ""
        outcome = "" if episode["outcome"] == "discarded" else "outcome "
        name = episode["id"] or "(whole bag)"
        say(f"episode {name}: {episode['length_s']:.1f} s, {outcome}{episode['outcome']}{task}")
    console.print()


def _cells(entry: TopicTimes, total_bytes: int) -> tuple[str, ...]:
    several = entry.count > 1
    fraction = entry.size_bytes / total_bytes if total_bytes else 0.0
    return (
        str(entry.count),
        f"{entry.rate_hz:.1f}" if several else "",
        _milliseconds(entry.jitter_s) if several else "",
        f"{entry.largest_gap_s:.3f}" if several else "",
        str(entry.gaps) if several else "",
        _milliseconds(entry.delay_s),
        _milliseconds(entry.skew_s),
        bytes_text(entry.size_bytes) if entry.count else "",
        f"{fraction:.0%}" if entry.count else "",
    )


def _milliseconds(value_s: float | None) -> str:
    if value_s is None:
        return ""
    return f"{value_s * 1e3:.1f}" if abs(value_s) < 10.0 else f"{value_s * 1e3:.2g}"


def bytes_text(count: int) -> str:
    """A number of bytes in three or four digits, in powers of 1000."""
    value, units = float(count), ("B", "kB", "MB", "GB")
    for unit in units:
        if value < 999.5 or unit == units[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000.0
    raise AssertionError


def _printable(text: str) -> str:
    """Names and tasks come from a bag: no control codes for the terminal, and not a page of them."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= 500 else shown[:497] + "..."
