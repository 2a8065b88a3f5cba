# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The picture of docs/architecture.md: the rooms, one storey above what it imports.

``.venv/bin/python tools/draw_pictures.py house`` writes it. `test/test_rooms.py` holds its storeys against the imports.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

INK, LINE, PAPER = "#1f2933", "#7b8794", "#ffffff"
# From the roof down: room, what it does, and the registry that it has. A room imports only from storeys below its own.
STOREYS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("#fee2e2", (("hpt_ros.cli", "the hpt command, a file a verb", ""),)),
    (
        "#fee2e2",
        (("hpt_ros.nodes", "the only room that imports rclpy: policy, inference, recorder, sim", ""),),
    ),
    (
        "#fef3c7",
        (
            ("hpt_ros.studies", "grids of runs, judged in closed loop", ""),
            ("hpt_ros.teleoperation", "a person's keys to commands", ""),
        ),
    ),
    (
        "#fef3c7",
        (
            ("hpt_ros.evaluation", "rollouts, statistics, reports", ""),
            ("rosbag_tools", "read, record and convert bags", ""),
            ("hpt_ros.learning", "frames, samples, training", ""),
        ),
    ),
    (
        "#fef3c7",
        (
            ("hpt_ros.runtime", "a policy node without ROS", ""),
            ("hpt_ros.sim", "MuJoCo robot and task", ""),
            ("hpt_ros.dataset", "LeRobot v3 on disk", ""),
        ),
    ),
    (
        "#dcfce7",
        (
            ("hpt_ros.policies", "what makes chunks", "policies"),
            ("hpt_ros.observation", "messages to arrays, streams to ticks", ""),
        ),
    ),
    (
        "#dcfce7",
        (
            ("hpt_ros.model", "stems, trunk, heads", "heads, encoders, poolings"),
            ("hpt_ros.embodiment", "the robot's file", "message types"),
            ("hpt_ros.control", "chunks to safe commands", ""),
        ),
    ),
    (
        "#e0f2fe",
        (
            ("hpt_ros.modalities", "what a modality is", "modalities"),
            ("hpt_ros.report", "pages, charts", ""),
        ),
    ),
    ("#f5f7fa", (("leaves", "errors, registry, structured, extras, resources, angles, mujoco_engine", ""),)),
)
WIDTH, HEIGHT, GAP = 15.0, 0.98, 0.22


def description() -> str:
    """The storeys as text, the roof first: one line each with its rooms."""
    return "\n".join(" ".join(name for name, _, _ in rooms) for _, rooms in STOREYS)


def draw(path: Path) -> None:
    """Write the picture (SVG, or PNG by the path's ending)."""
    plt.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "hpt_ros", "font.family": "DejaVu Sans"})
    figure, axes = plt.subplots(figsize=(12.5, 8.2))
    for level, (colour, rooms) in enumerate(reversed(STOREYS)):
        width = (WIDTH - GAP * (len(rooms) - 1)) / len(rooms)
        for place, (name, words, registry) in enumerate(rooms):
            x, y = place * (width + GAP), level * (HEIGHT + GAP)
            axes.add_patch(
                FancyBboxPatch(
                    (x, y), width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.08", facecolor=colour,
                    edgecolor=LINE, linewidth=1.0,
                )
            )  # fmt: skip
            middle = x + width / 2
            axes.text(
                middle, y + HEIGHT - 0.1, f"{name}/" if "." in name or "_" in name else name, ha="center", va="top",
                fontsize=11.5, fontweight="bold", color=INK,
            )  # fmt: skip
            axes.text(middle, y + HEIGHT - 0.42, words, ha="center", va="top", fontsize=9.8, color=INK)
            if registry:
                axes.text(
                    middle, y + 0.06, f"registry: {registry}", ha="center", va="bottom", fontsize=9.4, color=INK,
                    fontstyle="italic",
                )  # fmt: skip
    top = len(STOREYS) * (HEIGHT + GAP) - GAP
    axes.annotate("", (-0.45, 0.0), (-0.45, top), arrowprops={"arrowstyle": "-|>", "color": LINE, "lw": 1.6})
    axes.text(
        -0.7,
        top / 2,
        "imports go down, never up",
        rotation=90,
        ha="center",
        va="center",
        fontsize=10.5,
        color=INK,
    )
    axes.set_xlim(-1.0, WIDTH + 0.1)
    axes.set_ylim(-0.1, top + 0.1)
    axes.axis("off")
    figure.patch.set_facecolor(PAPER)
    metadata = {"Date": None, "Description": description()} if path.suffix == ".svg" else None
    figure.savefig(path, bbox_inches="tight", pad_inches=0.05, dpi=110, metadata=metadata)
    plt.close(figure)
