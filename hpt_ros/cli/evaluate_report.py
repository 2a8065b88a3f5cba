# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What `hpt evaluate` found: a table, JSON, a page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.evaluation.replay import Figures, Replay


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else float("nan")


def as_mapping(
    args: argparse.Namespace, robot: Embodiment, replays: Sequence[Replay], figures: Figures
) -> dict[str, Any]:
    """Return the figures as plain values; null where there is none."""

    def plain(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    clamps = sorted({name for item in replays for name in item.counters})
    return {
        "policy": args.policy,
        "data": [str(path) for path in args.data],
        "robot": robot.name,
        "episodes": len(replays),
        "ticks": figures.ticks,
        "error": float(figures.errors.mean()),
        "error_per_step": [float(value) for value in figures.errors.mean(1)],
        "dimensions": [
            {
                "name": name,
                "unit": unit,
                "error": float(figures.errors[:, index].mean()),
                "error_per_step": [float(value) for value in figures.errors[:, index]],
                "seam_jump_mean": plain(figures.jump_mean[index]),
                "seam_jump_max": plain(figures.jump_max[index]),
                "outside_limits": float(figures.outside[index]),
                "too_fast": float(figures.too_fast[index]),
            }
            for index, (name, unit) in enumerate(robot.space.elements)
        ],
        "smoothness_sparc": plain(_median([item.arc_length for item in replays])),
        "peak_jerk": plain(_median([item.peak_jerk for item in replays])),
        "limits_used": max(item.limits_used for item in replays),
        "seams": int(sum(len(item.jumps) for item in replays)),
        "holds": sum(item.holds for item in replays),
        "faults": {item.name: item.fault for item in replays if item.fault},
        "never_ran": {item.name: item.waited for item in replays if item.waited},
        "running_ratio": float(np.mean([item.running_ratio for item in replays])),
        "counters": {name: sum(item.counters.get(name, 0) for item in replays) for name in clamps},
        "refused": {item.name: list(item.refused) for item in replays if item.refused},
    }


def print_json(
    args: argparse.Namespace, robot: Embodiment, replays: Sequence[Replay], figures: Figures
) -> None:
    """Print the figures as one JSON object."""
    print(json.dumps(as_mapping(args, robot, replays, figures), indent=1))


def print_table(
    args: argparse.Namespace, robot: Embodiment, replays: Sequence[Replay], figures: Figures
) -> None:
    """Print what each dimension came to, the error over the chunk, and what the controller did."""
    from rich import box
    from rich.table import Table

    from hpt_ros.cli.terminal import ResultConsole
    from hpt_ros.report.page import number, percent

    found = as_mapping(args, robot, replays, figures)
    console = ResultConsole(highlight=False)
    title = f"{args.policy} on {', '.join(found['data'])}: {len(replays)} episodes, {figures.ticks} ticks"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))  # of an arm's joints: 80 columns
    units = {entry["unit"] for entry in found["dimensions"]}
    common = units.pop() if len(units) == 1 else ""
    table.add_column(", ".join(filter(None, ("dimension", common))), overflow="fold")
    for column in ("error", "first", "last", "seam", "largest", "outside", "too fast"):
        table.add_column(column, justify="right", no_wrap=True)
    for entry in found["dimensions"]:
        table.add_row(
            entry["name"] if common else ", ".join(filter(None, (entry["name"], entry["unit"]))),
            number(entry["error"]),
            number(entry["error_per_step"][0]),
            number(entry["error_per_step"][-1]), number(entry["seam_jump_mean"]), number(entry["seam_jump_max"]),
            percent(entry["outside_limits"]), percent(entry["too_fast"]),
        )  # fmt: skip
    console.print(table)
    console.print(
        "error: mean, at the chunk's first and last step; seam: from one chunk to the next, mean and largest;\n"
        "outside: predicted actions beyond the position limits; too fast: steps of chunks over the velocity limit"
    )
    steps = Table(box=box.SIMPLE_HEAD)
    steps.add_column("step of the chunk")
    steps.add_column(f"mean absolute error, {robot.action.unit}", justify="right")
    for step, error in enumerate(found["error_per_step"]):
        steps.add_row(f"{step} ({step * robot.dt_s:.1f} s)", number(error, 4))
    steps.add_row("all", number(found["error"], 4))
    console.print(steps)
    lines = Table(box=box.SIMPLE_HEAD, show_header=False)
    for name, value in facts(found):
        lines.add_row(name, value)
    console.print(lines)


def facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the controller did, as lines for people."""
    from hpt_ros.report.page import number, percent

    counters = found["counters"]
    limits = ", ".join(
        f"{counters[key]} by {word}"
        for key, word in (
            ("clamped_position", "position"),
            ("clamped_velocity", "velocity"),
            ("clamped_acceleration", "acceleration"),
        )
        if counters.get(key)
    )
    lines = [
        ("commands that a limit changed", f"{limits or 'none'}, of {counters.get('commands_sent', 0)}"),
        (
            "chunks refused",
            str(
                sum(
                    counters.get(key, 0)
                    for key in (
                        "jumps_refused",
                        "chunks_refused_late",
                        "chunks_refused_future",
                        "nonfinite_refused",
                        "wrong_size_refused",
                    )
                )
            ),
        ),
        ("smoothness (SPARC, 0 is best), median", number(found["smoothness_sparc"])),
        ("peak jerk, median", number(found["peak_jerk"])),
        ("largest velocity over its limit", number(found["limits_used"])),
        ("time running", percent(found["running_ratio"])),
        ("holds", str(found["holds"])),
        ("faults", f"{len(found['faults'])} episodes"),
    ]
    if found["never_ran"]:
        name, why = next(iter(found["never_ran"].items()))
        lines.append(
            ("episodes in which it never ran", f"{len(found['never_ran'])}, as {name}: it waited for {why}")
        )
    lines += [(f"fault in {name}", why) for name, why in list(found["faults"].items())[:5]]
    lines += [
        (f"messages refused in {name}", "; ".join(why[:3]))
        for name, why in list(found["refused"].items())[:5]
    ]
    return lines


def write_html(
    args: argparse.Namespace, robot: Embodiment, replays: Sequence[Replay], figures: Figures
) -> None:
    """Write the page."""
    from hpt_ros.evaluation.replay_page import replay_page
    from hpt_ros.report.page import write_page

    found = as_mapping(args, robot, replays, figures)
    title = f"{args.policy} on {', '.join(found['data'])}"
    write_page(args.html, replay_page(title, robot, replays, figures, facts(found)))
