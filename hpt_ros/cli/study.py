# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt study`: a grid of training runs, drawn."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP, choose_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml", help="what is varied")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the runs; a study begun there goes on",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the cells, and check their data and recipes"
    )
    parser.add_argument("--device", default=DEFAULT_DEVICE, help=DEVICE_HELP)


def run(args: argparse.Namespace) -> int:
    """Run the cells that are not done, and write table and figure; returns 0."""
    import json

    from hpt_ros.cli.output import make_folder
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.learning.study import (
        RESULT,
        cells_of,
        load_study,
        mixture_for,
        recipe_of,
        require_same,
        run_cell,
    )

    study = load_study(args.study)
    device = choose_device(args.device).name
    cells = cells_of(study)
    for cell in cells:  # whatever is wrong shows before the first hour
        recipe_of(study, cell)
    for cell in {(cell.episodes, cell.datasets): cell for cell in cells}.values():
        mixture_for(study, cell)
    done = sum((args.out / cell.name / RESULT).is_file() for cell in cells)
    print(f"{len(cells)} cells, {done} of them done")
    if args.dry_run:
        print("\n".join(cell.name for cell in cells))
        return 0
    make_folder(args.out, args.out)
    require_same(study, args.out)
    results: list[Mapping[str, Any]] = []
    spent: list[float] = []
    with Terminal() as terminal:
        for number, cell in enumerate(cells):
            fresh = not (args.out / cell.name / RESULT).is_file()
            left = sum(not (args.out / other.name / RESULT).is_file() for other in cells[number:])
            budget = (
                f"about {left * sum(spent) / len(spent) / 60:.1f} min to go" if spent else "time unknown yet"
            )
            if fresh:
                terminal.say(f"cell {number + 1} of {len(cells)}: {cell.name}; {budget}")
            found = run_cell(study, cell, args.out, _Quiet(terminal), device)
            spent += [found["seconds"]] if fresh else []
            results.append(found)
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    table = write_table(args.out / "results.md", results, study.x)
    draw(args.out, results, study.x)
    print(table)
    print(f"figure: {args.out / 'figure.svg'}, results: {args.out / 'results.json'}")
    return 0


class _Quiet:
    """Shows the progress of a cell, and not its sentences."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal

    def say(self, sentence: str) -> None:
        """Drop the line."""

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        """Show how far the run is."""
        if label == "training":
            self._terminal.bar(label, done, total, note)


def write_table(path: Path, results: list[Mapping[str, Any]], x: str) -> str:
    """Write and return the table: mean over seeds and their range, with the fitted power law."""
    import numpy as np

    from hpt_ros.learning.study import FEWEST_FITTED, grouped, power_law

    rows = [
        f"| | {x} | seeds | validation loss | lowest | highest |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    fits = []
    for name, points in grouped(results, x):
        for value, losses in points:
            rows.append(
                f"| {name} | {value} | {len(losses)} | {np.mean(losses):.4f} | {min(losses):.4f} | {max(losses):.4f} |"
            )
        if len(points) >= FEWEST_FITTED and all(isinstance(value, int) and value > 0 for value, _ in points):
            values = np.array([value for value, losses in points for _ in losses], dtype=float)
            a, b = power_law(values, np.concatenate([losses for _, losses in points]))
            fits.append(f"{name + ': ' if name else ''}loss = {a:.3g} x {x}^{b:.3f}")
    text = "\n".join([*rows, *(["", *fits] if fits else [])]) + "\n"
    path.write_text(text, encoding="utf-8")
    return text


def draw(folder: Path, results: list[Mapping[str, Any]], x: str) -> None:
    """Draw the losses as SVG and PNG: mean of the seeds, their range as a band, fitted power laws dashed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    from hpt_ros.learning.study import FEWEST_FITTED, grouped, power_law

    plt.rcParams.update({"svg.hashsalt": "hpt_ros"})
    figure, axes = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    for name, points in grouped(results, x):
        values = [value for value, _ in points]
        numeric = all(isinstance(value, int) and value > 0 for value in values)
        places = np.array(values if numeric else range(len(values)), dtype=float)
        means = [float(np.mean(losses)) for _, losses in points]
        (line,) = axes.plot(places, means, "o-", label=name or None)
        low, high = [min(losses) for _, losses in points], [max(losses) for _, losses in points]
        axes.fill_between(places, low, high, alpha=0.2, color=line.get_color())
        if numeric and len(points) > 1:
            axes.set_xscale("log")
        if numeric and len(points) >= FEWEST_FITTED:
            a, b = power_law(
                np.repeat(places, [len(losses) for _, losses in points]),
                np.concatenate([p for _, p in points]),
            )
            curve = np.geomspace(places.min(), places.max(), 50)
            axes.plot(curve, a * curve**b, "--", color=line.get_color(), linewidth=1)
        axes.set_xticks(places, [str(value) for value in values])
        axes.minorticks_off()
    axes.set_xlabel(x.replace("_", " "))
    axes.set_ylabel("validation loss")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    for ending in ("svg", "png"):
        figure.savefig(
            folder / f"figure.{ending}", dpi=150, metadata={"Date": None} if ending == "svg" else None
        )
    plt.close(figure)
