"""`hpt inspect`: what is in a bag."""

from __future__ import annotations

import argparse

HELP = "show a bag's topics, rates and gaps, and what an embodiment file would use"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("bag", metavar="BAG", help="a rosbag2 folder, or an .mcap or .db3 file")
    parser.add_argument(
        "--embodiment", metavar="FILE", help="embodiment file; left out: the one that the bag carries"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table; exit status 1 if something that the embodiment file wants is missing or wrong."""
    from rich.console import Console
    from rich.table import Table

    from hpt_ros.embodiment import Embodiment
    from rosbag_tools.episodes import find_episodes
    from rosbag_tools.inspection import inspect
    from rosbag_tools.reader import Bag

    embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
    with Bag.open(args.bag, recover=True) as bag:
        if embodiment is None and (text := bag.embodiment_text()):
            embodiment = Embodiment.loads(text, where=f"the embodiment in bag {args.bag!r}")
        topics = inspect(bag, embodiment)
        episodes = find_episodes(bag)
        duration_s, note = bag.duration_s, bag.recovered
    title = f"{args.bag}: {duration_s:.1f} s"
    table = Table(
        "topic", "type", title=title if embodiment is None else f"{title}, embodiment {embodiment.name}"
    )
    for column in ("messages", "rate [Hz]", "largest gap [s]"):
        table.add_column(column, justify="right")
    table.add_column("used as")
    table.add_column("note")
    for name, entry in sorted(topics.items()):
        numbers = (str(entry.count), f"{entry.rate_hz:.1f}", f"{entry.largest_gap_s:.3f}")
        table.add_row(name, entry.type, *numbers, entry.used_by, entry.note)
    # A pipe or a file has no width: wide enough for the longest names.
    console = Console() if Console().is_terminal else Console(width=200)
    console.print(table)
    for episode in episodes:
        task = f", task {episode.task!r}" if episode.task else ""
        state = "discarded" if episode.discarded else f"outcome {episode.outcome}"
        length_s = (episode.end_ns - episode.start_ns) / 1e9
        console.print(
            f"episode {episode.episode_id or '(whole bag)'}: {length_s:.1f} s, {state}{task}", markup=False
        )
    if note:
        console.print(note, markup=False)
    return (
        1 if any(entry.note and entry.note in ("missing", "no messages") for entry in topics.values()) else 0
    )
