# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What `hpt demo` leaves behind: the table, the figures as JSON, the plot and the video of one episode."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from rich import box
from rich.table import Table

from hpt_ros.cli.timings import TIMINGS, Samples, median_and_p99, percentiles
from hpt_ros.embodiment import Embodiment
from hpt_ros.evaluation.rollout import EpisodeResult
from hpt_ros.nodes.sim.episode_recorder import PICTURE_HZ, EpisodeTrace

Array = npt.NDArray[np.float64]

VIDEO_CRF = "20"  # x264's constant rate factor: visually clean at a few hundred KiB for these scenes


CAPTION = (
    "Timings: median / 99th percentile, ms, without the video's episode. Latency: an image's stamp to the first "
    "command that follows from it, in simulated time. Jitter: of the interval between commands, on the wall clock; the "
    "simulator's pauses while it draws its cameras are in it."
)


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One policy's episodes, and the policy node's own timings over them.

    Attributes:
        policy: its name, for people.
        episodes: in the order of their seeds.
        samples_s: see `hpt_ros.runtime.metrics.Metrics`.
    """

    policy: str
    episodes: tuple[EpisodeResult, ...]
    samples_s: Samples

    @property
    def successes(self) -> int:
        """How many episodes succeeded."""
        return sum(episode.success for episode in self.episodes)

    @property
    def counters(self) -> Mapping[str, int]:
        """The runtime's, over all episodes."""
        return sum((Counter(episode.counters) for episode in self.episodes), Counter())


def results_table(results: Sequence[ArmResult]) -> Table:
    """The table that the demo prints: success of each policy, and median / 99th percentile of the timings in ms."""
    table = Table(
        title="feed the dog",
        caption=CAPTION,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("policy", no_wrap=True)
    for title in ("success", "done", "faults", *TIMINGS):
        table.add_column(title, justify="right", no_wrap=True)
    for result in results:
        progress = float(np.mean([episode.progress for episode in result.episodes]))
        faults = sum(bool(episode.fault) for episode in result.episodes)
        cells = [f"{result.successes}/{len(result.episodes)}", f"{100 * progress:.0f} %", str(faults)]
        cells += [median_and_p99(result.samples_s.get(name)) for name in TIMINGS.values()]
        table.add_row(result.policy, *cells)
    return table


def write_json(path: Path, results: Sequence[ArmResult], about: Mapping[str, Any]) -> None:
    """Write every episode's result and the timings' percentiles, for tools."""
    rows = [
        {
            "policy": result.policy,
            "successes": result.successes,
            "episodes": [asdict(episode) for episode in result.episodes],
            "timings_ms": {name: percentiles(values) for name, values in result.samples_s.items()},
            "counters": dict(result.counters),
        }
        for result in results
    ]
    path.write_text(json.dumps({"about": dict(about), "policies": rows}, indent=1) + "\n", encoding="utf-8")


def write_plot(path: Path, robot: Embodiment, trace: EpisodeTrace, title: str) -> None:
    """Draw commanded and measured joint angles of one episode, and the commanded velocities against their limits.

    Args:
        path: PNG to write.
        robot: names and limits.
        trace: the episode.
        title: over the picture.
    """
    from matplotlib.figure import Figure

    # A few commands at the seam of two chunks may carry the same time.
    times_s, unique = np.unique(np.array(trace.command_s), return_index=True)
    angles = np.array(trace.commands_rad)[unique]
    measured_s, measured = np.array(trace.measured_s), np.array(trace.measured_rad)
    names = robot.action.names
    figure = Figure(figsize=(11, 7), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    step_s = np.maximum(np.diff(times_s), 1e-6)[:, None]
    velocity = np.diff(angles, axis=0) / step_s
    for joint, name in enumerate(names):
        (line,) = top.plot(times_s, angles[:, joint], linewidth=1.2, label=name)
        top.plot(measured_s, measured[:, joint], linewidth=0.8, linestyle=":", color=line.get_color())
        middle.plot(
            times_s[1:], velocity[:, joint] / robot.max_velocity[joint], linewidth=0.8, color=line.get_color()
        )
    lag = np.stack([np.interp(times_s, measured_s, measured[:, j]) for j in range(len(names))], axis=1)
    bottom.plot(times_s, np.abs(angles - lag).max(axis=1) * 1e3, linewidth=0.8, color="black")
    top.set(ylabel="angle, rad", title=title)
    top.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, title="solid: commanded\ndotted: measured"
    )
    middle.set(ylabel="commanded velocity\nratio to its limit")
    for edge in (-1.0, 1.0):
        middle.axhline(edge, color="red", linewidth=0.8)
    bottom.set(ylabel="largest distance\ncommanded to measured, mrad", xlabel="time in the episode, s")
    figure.savefig(path, dpi=110)


def write_video(path: Path, frames: Iterable[npt.NDArray[np.uint8]], fps: int = round(PICTURE_HZ)) -> None:
    """Write RGB frames (H, W, 3) as H.264 at `fps`; even height and width."""
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.options = {"crf": VIDEO_CRF}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())
