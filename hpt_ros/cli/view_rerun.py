# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An episode in Rerun (https://rerun.io): pictures, state and action on one timeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset import Dataset, Episode

APPLICATION = "hpt_view"


def show(
    dataset: Dataset, episode: Episode, ticks: Iterator[Sequence[NDArray[np.uint8]]], path: Path | None
) -> None:
    """Send the episode to a viewer that is started, or to a file.

    Args:
        dataset, episode: what is shown.
        ticks: the pictures of each tick, RGB uint8 (H, W, 3), one per view.
        path: recording to write; None starts the viewer.
    """
    import rerun as rr

    robot = dataset.embodiment
    rr.init(APPLICATION, recording_id=f"{dataset.root.name}-{episode.index}", spawn=path is None)
    if path is not None:
        rr.save(path)
    rr.log("task", rr.TextDocument(episode.task), static=True)
    rr.log("action", rr.SeriesLines(names=list(robot.action.names)), static=True)
    if robot.state_names:
        rr.log("state", rr.SeriesLines(names=list(robot.state_names)), static=True)
    for tick, pictures in enumerate(ticks):
        row = episode.start + tick
        rr.set_time("time", duration=tick * robot.dt_s)
        for stream, picture in zip(robot.image_streams, pictures, strict=True):
            rr.log(f"images/{stream.name}", rr.Image(picture).compress(jpeg_quality=90))
        rr.log("action", rr.Scalars(dataset.action[row]))
        if robot.state_names:
            rr.log("state", rr.Scalars(dataset.state[row]))
    rr.disconnect()
