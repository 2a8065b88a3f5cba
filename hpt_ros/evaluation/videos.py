# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Videos of a few scenes, made by running them again: a rollout of a scene is the same each time."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from hpt_ros.evaluation.evaluate import Evaluator, Job
from hpt_ros.evaluation.rollout import EpisodeResult, Runner
from hpt_ros.sim.environment import Environment
from hpt_ros.sim.messages import Sample

FRAMES_HZ: Final = 10
HEIGHT, WIDTH = 192, 256  # px; even, as H.264 wants
QUALITY: Final = "28"  # crf: some 15 kB a second of a small scene


@dataclass(frozen=True, slots=True)
class Video:
    """A scene that was run again.

    Attributes:
        episode: what came of it this time.
        data: an MP4 file.
    """

    episode: EpisodeResult
    data: bytes


class Camera:
    """Renders an image for people every tenth of a second of a rollout, as a `hpt_ros.evaluation.rollout.Tap`."""

    def __init__(self, environment: Environment) -> None:
        """Begin with nothing seen."""
        self._environment = environment
        self._next_ns: int | None = None
        self.frames: list[NDArray[np.uint8]] = []

    def sample(self, sample: Sample) -> None:
        """Render if it is time."""
        now_ns = sample.arrival_ns
        if self._next_ns is None or now_ns >= self._next_ns:
            self._next_ns = (now_ns if self._next_ns is None else self._next_ns) + 1_000_000_000 // FRAMES_HZ
            self.frames.append(self._environment.render(HEIGHT, WIDTH))

    def command(self, topic: str, message: Any, now_ns: int) -> None:
        """See no command."""


def record_scenes(job: Job, seeds: Sequence[int]) -> dict[int, Video]:
    """Run scenes again and return their videos.

    Raises:
        HptError: policy or environment cannot be made, or do not fit.
    """
    evaluator = Evaluator(job)
    found: dict[int, Video] = {}

    def run(runner: Runner, seed: int) -> EpisodeResult:
        camera = Camera(evaluator.environment)
        episode = runner.episode(seed, camera)
        found[seed] = Video(episode, encode(camera.frames))
        return episode

    try:
        for seed in seeds:
            evaluator.episode(seed, run)
    finally:
        evaluator.close()
    return found


def encode(frames: Sequence[NDArray[np.uint8]], rate_hz: int = FRAMES_HZ) -> bytes:
    """Return RGB frames (height, width, 3) as an MP4 of H.264 that browsers play."""
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # what lets it play at once is written in a second pass over the file
        path = Path(folder) / "video.mp4"
        _write(path, frames, rate_hz)
        return path.read_bytes()


def _write(path: Path, frames: Sequence[NDArray[np.uint8]], rate_hz: int) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream(
            "libx264", rate=rate_hz, options={"crf": QUALITY, "preset": "veryfast"}
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
