# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt evaluate`: how far a checkpoint's actions are from those of a dataset, without a robot."""

from __future__ import annotations

import argparse
from dataclasses import replace

from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP, choose_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="folder, or the name of a shipped one, e.g. feed_dog"
    )
    parser.add_argument("dataset", metavar="DATASET", help="LeRobotDataset v3.0 folder of the same robot")
    parser.add_argument(
        "--cache", metavar="DIR", help="folder for decoded frames (default: beside the dataset)"
    )
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="samples at a time")
    parser.add_argument("--device", default=DEFAULT_DEVICE, help=DEVICE_HELP)


def run(args: argparse.Namespace) -> int:
    """Print loss and mean absolute action error, as a whole and for each step of the chunk; returns 0."""
    import numpy as np
    from rich.table import Table

    from hpt_ros.cli.terminal import Results, Terminal
    from hpt_ros.dataset import open_dataset
    from hpt_ros.embodiment import Embodiment, require_match
    from hpt_ros.errors import Code, HptError
    from hpt_ros.learning import Windows, action_error, open_source
    from hpt_ros.model import load_checkpoint
    from hpt_ros.resources import checkpoint_folder

    device = choose_device(args.device)
    if args.batch_size < 1:
        raise HptError(
            Code.OUT_OF_RANGE, "--batch-size", args.batch_size, expected="at least 1", remedy="raise it"
        )
    folder = checkpoint_folder(args.checkpoint)
    checkpoint = load_checkpoint(folder)
    robot = Embodiment.loads(
        checkpoint.embodiment_yaml, where=f"checkpoint {args.checkpoint!r}, embodiment.yaml"
    )
    dataset = open_dataset(args.dataset, cache_root=args.cache)
    require_match(
        robot,
        dataset.embodiment,
        a_name=f"checkpoint {args.checkpoint!r}",
        b_name=f"dataset {args.dataset!r}",
        settled="dataset",
    )
    dataset = replace(dataset, embodiment=robot)  # the horizons are the checkpoint's
    with Terminal() as report:
        report.say(f"data: {dataset.summary()}")
        report.say(str(device))
        policy = checkpoint.policy.to(device.name)
        source = open_source(policy, dataset, args.cache, report)
    windows = Windows.of(dataset.episodes, robot.observation_horizon, robot.action.horizon)
    loss, errors = action_error(policy, source, windows, np.arange(len(windows)), args.batch_size)
    table = Table(title=f"{folder.name} on {dataset.root.name}: {len(windows)} samples, loss {loss:.5f}")
    table.add_column("step of the chunk")
    table.add_column(f"mean absolute error, {robot.action.unit}", justify="right")
    for step, error in enumerate(errors):
        table.add_row(f"{step} ({step * robot.dt_s:.1f} s)", f"{error:.5f}")
    table.add_row("all", f"{errors.mean():.5f}")
    Results().print(table)
    return 0
