# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The picture of docs/model.md: the way of the data through a policy, with the shapes of the built network.

``.venv/bin/python tools/draw_pictures.py model`` writes it. Every number in it is read from the policy that
`hpt_ros.model.summary` shows with all modalities, built without memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from hpt_ros.modalities import IMAGE, LANGUAGE
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.modalities import Pictures
from hpt_ros.model.policy import Policy
from hpt_ros.model.summary import ALL_MODALITIES, example_configs, modality_table

INK, LINE = "#1f2933", "#7b8794"
INPUT, ENCODER, STEM, TRUNK, HEAD = "#f5f7fa", "#e0f2fe", "#dcfce7", "#fef3c7", "#fee2e2"
COLUMN, WIDTH = 2.06, 1.92  # distance of columns, width of a box
SIZE_IN = (17.5, 9.6)


@dataclass(frozen=True)
class Box:
    """One box: where it stands, its text and its colour."""

    x: float
    y: float
    width: float
    height: float
    title: str
    label: str
    colour: str


def draw(path: Path) -> None:
    """Write the picture (SVG, or PNG by the path's ending)."""
    config = example_configs()[ALL_MODALITIES]
    with torch.device("meta"):
        policy = Policy(config)
    plt.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "hpt_ros", "font.family": "DejaVu Sans"})
    figure, axes = plt.subplots(figsize=SIZE_IN)
    columns = [index * COLUMN for index in range(len(config.stems))]
    middle, right = columns[len(columns) // 2] - COLUMN / 2, columns[-1] + WIDTH / 2
    left = columns[0] - WIDTH / 2
    horizon, width = config.observation_horizon, config.trunk.width
    for x, stem in zip(columns, config.stems, strict=True):
        modality = policy.modalities[stem.modality]
        raw = modality.inputs[0] if stem.modality == LANGUAGE else modality.inputs[-1]
        lead = (horizon,) if "T" in raw.axes else ()
        kind = "float32" if raw.dtype == "float" else raw.dtype
        label = "one text a sample" if raw.name == "task" else f"{kind}\n{_shape(*lead, *raw.tail)}"
        top = Box(x, 8.6, WIDTH, 0.9, raw.name, label, INPUT)
        if isinstance(modality, Pictures):
            name = config.image_encoder.kind if stem.modality == IMAGE else "small CNN"
            middle_words = f"{name}\n{_shape(horizon, *modality.cells)}"
            middle_title = "encoder"
        elif stem.modality == LANGUAGE:
            middle_words = f"one embedding a task,\nstored\n{_shape(modality.count, modality.width)}"
            middle_title = "look-up"
        else:
            middle_title = "limits to [-1, 1]"
            middle_words = "of the training data" + (
                "\n+ Fourier features" if stem.modality == "pointcloud" else ""
            )
        change = Box(x, 7.1, WIDTH, 1.1, middle_title, middle_words, ENCODER)
        entries = Box(
            x, 5.7, WIDTH, 0.9, "entries", f"{_shape(modality.count, modality.width)}\n+ positions", INPUT
        )
        hidden = " → ".join(map(str, (modality.width, *stem.widths, width)))
        tokens = Box(
            x, 4.05, WIDTH, 1.5, "stem",
            f"MLP {hidden}\n{stem.tokens} learnable tokens\nattend ({stem.heads} heads of {stem.head_width})\n"
            f"{_shape(stem.tokens, width)}", STEM,
        )  # fmt: skip
        column = [top, change, entries, tokens]
        for box in column:
            _box(axes, box)
        for above, below in pairwise(column):
            _arrow(axes, x, above.y - above.height / 2, below.y + below.height / 2)
        _arrow(axes, x, tokens.y - tokens.height / 2, 2.92)
    count = policy.table.shape[0]
    stems = sum(stem.tokens for stem in config.stems)
    steps, dim = config.action_horizon, config.action_dim
    _box(
        axes,
        Box(
            middle, 2.6, right - left, 0.6, "",
            f"{stems} tokens side by side, a learnable vector per modality added (option)  +  {steps} action tokens"
            f"  +  positions:  {_shape(count, width)}", INPUT,
        ),
    )  # fmt: skip
    _arrow(axes, middle, 2.3, 2.02)
    trunk = config.trunk
    _box(
        axes,
        Box(
            middle, 1.6, right - left, 0.8, "trunk, shared by all robots",
            f"{trunk.depth} pre-LN blocks, width {trunk.width}, {trunk.heads} heads, bidirectional:  "
            f"{_shape(count, width)}", TRUNK,
        ),
    )  # fmt: skip
    third = (right - left - 0.8) / 3
    places = [left + third / 2 + index * (third + 0.4) for index in range(3)]
    row = [
        Box(
            places[0], 0.45, third, 0.9, "pool",
            f"{config.pooling} (or mean, max, last, attentive, all):  {_shape(steps, width)}", INPUT,
        ),
        Box(
            places[1], 0.45, third, 0.9, f"head: {config.head.kind}", f"normalised actions  {_shape(steps, dim)}", HEAD,
        ),
        Box(places[2], 0.45, third, 0.9, "action chunk", f"raw units  {_shape(steps, dim)}", INPUT),
    ]  # fmt: skip
    _arrow(axes, row[0].x, 1.2, 0.92)
    for box in row:
        _box(axes, box)
    for before, after in pairwise(row):
        _along(axes, before.x + third / 2, after.x - third / 2, before.y)
    axes.set_xlim(left - 0.1, right + 0.1)
    axes.set_ylim(-0.1, 9.2)
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", pad_inches=0.05, dpi=110, metadata=_metadata(path, config))
    plt.close(figure)


def _metadata(path: Path, config: PolicyConfig) -> dict[str, str | None] | None:
    """No date, so that the same picture is the same file; and the figures as text, so that a test can compare them."""
    return {"Date": None, "Description": modality_table(config)} if path.suffix == ".svg" else None


def _shape(*sizes: int) -> str:
    return f"({', '.join(('B', *map(str, sizes)))})"


def _box(axes: Axes, box: Box) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (box.x - box.width / 2, box.y - box.height / 2), box.width, box.height,
            boxstyle="round,pad=0,rounding_size=0.08", facecolor=box.colour, edgecolor=LINE, linewidth=1.0,
        )
    )  # fmt: skip
    if not box.title:
        axes.text(box.x, box.y, box.label, ha="center", va="center", fontsize=10, color=INK)
        return
    top = box.y + box.height / 2 - 0.09
    axes.text(box.x, top, box.title, ha="center", va="top", fontsize=10.5, fontweight="bold", color=INK)
    axes.text(box.x, top - 0.28, box.label, ha="center", va="top", fontsize=8.8, color=INK, linespacing=1.3)


def _arrow(axes: Axes, x: float, start: float, end: float) -> None:
    axes.annotate("", (x, end), (x, start), arrowprops={"arrowstyle": "-|>", "color": LINE, "lw": 1.2})


def _along(axes: Axes, start: float, end: float, y: float) -> None:
    axes.annotate("", (end, y), (start, y), arrowprops={"arrowstyle": "-|>", "color": LINE, "lw": 1.2})
