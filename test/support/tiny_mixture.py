# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small datasets of three robots without cameras, written in a moment, and mixtures of them."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from support.embodiments import embodiment as made
from support.embodiments import joints, limit, trajectory

from hpt_ros.dataset import DatasetWriter
from hpt_ros.embodiment import Embodiment

ROBOTS = {"slider": (1, 3), "gantry": (2, 4), "arm": (3, 2)}  # joints, action horizon


def robot(name: str, joint_count: int, horizon: int, hz: float = 10.0) -> Embodiment:
    names = [f"j{index}" for index in range(joint_count)]
    limits = [limit(joint, 3.0, 2.0, 10.0) for joint in names]
    action = trajectory(limits, topic="/commands", rate_hz=hz, horizon=horizon)
    streams = [joints(names, rate_hz=100.0, unit="rad")]
    return made(name, streams, action, tick_hz=hz, observation_horizon=2)


def write_robot(
    root: Path, name: str, episodes: int = 5, length: int = 8, embodiment: Embodiment | None = None
) -> Path:
    """Write a dataset in which the joints go to a random goal, half of the way each tick."""
    own = embodiment or robot(name, *ROBOTS[name])
    rng = np.random.default_rng(sum(map(ord, name)))
    with DatasetWriter(root, own) as writer:
        for _ in range(episodes):
            episode = writer.episode(f"move the {name}")
            position, goal = rng.normal(size=(2, own.action.dim)) * 0.5
            for _ in range(length):
                episode.add({"observation.state": position, "action": (position + goal) / 2})
                position = (position + goal) / 2
            writer.append(episode.finish())
        writer.finish()
    return root


def write_robots(folder: Path) -> Path:
    """Write all three, of different sizes, and a mixture file; returns the file."""
    entries = [
        {"path": write_robot(folder / name, name, episodes).name, "licence": f"licence of {name}"}
        for name, episodes in zip(ROBOTS, (4, 5, 9), strict=True)
    ]
    return write_mixture(folder, entries)


def write_mixture(folder: Path, entries: list[dict[str, Any]], **changes: Any) -> Path:
    file = folder / "mixture.yaml"
    file.write_text(yaml.safe_dump({"datasets": entries, **changes}))
    return file


def add_column(root: Path, name: str, values: list[Any]) -> None:
    """Give the data of a dataset another column, over all files."""
    for path in sorted(root.glob("data/*/*.parquet")):
        table = pq.read_table(path)
        table = table.append_column(name, pa.array(values[: table.num_rows]))
        values = values[table.num_rows :]
        pq.write_table(table, path)


def mapping_of_recipe(**changes: Any) -> dict[str, Any]:
    """A network for the robots without cameras that trains in a second."""
    mapping: dict[str, Any] = {
        "policy": {
            "stems": [{"modality": "state", "widths": [16], "tokens": 2, "heads": 2, "head_width": 8, "dropout": 0.0}],
            "trunk": {"width": 32, "depth": 2, "heads": 2, "drop_path": 0.0},
            "head": {"kind": "mlp", "widths": [32, 32], "dropout": 0.0},
        },
        "iterations": 8,
        "batch_size": 12,
        "lr": 1e-3,
        "validation_ratio": 0.3,
        "validation_every": 4,
        "log_every": 2,
        "threads": 1,
    }  # fmt: skip
    return {**mapping, **changes}


def start_processes(world: int, work: Callable[[int], None]) -> list[multiprocessing.process.BaseProcess]:
    """Start copies of this process as torchrun starts them: `work(rank)` with the variables that it sets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(rank: int) -> None:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
        work(rank)

    context = multiprocessing.get_context("fork")
    started: list[multiprocessing.process.BaseProcess] = [
        context.Process(target=run, args=(rank,)) for rank in range(world)
    ]
    for process in started:
        process.start()
    return started
