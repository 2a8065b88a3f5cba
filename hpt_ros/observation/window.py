"""Ticks to the policy's inputs.

Which ticks the policy sees is `hpt_ros.embodiment.windows`' rule, shared with training: the last T of the episode, its
first one repeated where there are fewer. A gap in the ticks (an invalid one, a clock that jumped) starts an episode
anew, live as in a dataset, where it splits the span.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.windows import observation_window
from hpt_ros.errors import HptError
from hpt_ros.observation.buffer import Tick


def view_size(embodiment: Embodiment) -> tuple[int, int]:
    """Height and width that all views of the policy share.

    Raises:
        HptError: image streams of different sizes.
    """
    sizes = {(stream.image.height, stream.image.width) for stream in embodiment.image_streams if stream.image}
    if len(sizes) != 1:
        listed = ", ".join(
            f"{stream.name} {stream.image.height}x{stream.image.width}"
            for stream in embodiment.image_streams
            if stream.image
        )
        raise HptError(
            f"embodiment {embodiment.name!r} has image streams of sizes {listed or 'none'}, but one size for all views "
            "was expected; give each stream the same image height and width"
        )
    return sizes.pop()


def assemble(
    embodiment: Embodiment, ticks: Sequence[Tick], horizon: int | None = None
) -> dict[str, NDArray[np.generic]]:
    """The policy's inputs from an episode's valid ticks up to now, oldest first.

    Args:
        embodiment: gives the order of views and the sizes.
        ticks: consecutive valid ticks since the episode's start; only the last T of them matter once there are T.
        horizon: T; the embodiment's observation_horizon by default.

    Returns:
        ``image`` uint8 (1, T, V, H, W, 3) RGB, if the embodiment has image streams; ``state`` float32 (1, T, D) in
        raw units, if it has state streams.

    Raises:
        HptError: no ticks, an invalid one, or views of different sizes.
    """
    if not ticks or not all(tick.valid for tick in ticks):
        raise HptError(
            f"{len(ticks)} ticks were given, but one or more, all valid, were expected; wait for fresh streams"
        )
    length = embodiment.observation_horizon if horizon is None else horizon
    chosen = [ticks[index] for index in observation_window(len(ticks) - 1, length)]
    inputs: dict[str, NDArray[np.generic]] = {}
    if embodiment.image_streams:
        height, width = view_size(embodiment)
        views = np.empty((1, length, len(embodiment.image_streams), height, width, 3), np.uint8)
        for step, tick in enumerate(chosen):
            for view, stream in enumerate(embodiment.image_streams):
                views[0, step, view] = tick.images[stream.name]
        inputs["image"] = views
    if embodiment.state_streams:
        inputs["state"] = np.stack([tick.state for tick in chosen]).astype(np.float32)[None]
    return inputs


@dataclass
class ObservationWindow:
    """The last T ticks of a running episode; starts anew at an invalid tick, a gap or a restart."""

    embodiment: Embodiment
    horizon: int | None = None
    _ticks: deque[Tick] = field(init=False)

    def __post_init__(self) -> None:
        self._ticks = deque(
            maxlen=self.embodiment.observation_horizon if self.horizon is None else self.horizon
        )

    def push(self, tick: Tick) -> bool:
        """Add a tick; True if there is an observation now."""
        if self._ticks and (tick.restart or tick.index != self._ticks[-1].index + 1):
            self._ticks.clear()
        if not tick.valid:
            self._ticks.clear()
            return False
        self._ticks.append(tick)
        return True

    @property
    def latest(self) -> Tick | None:
        """The newest tick of the running episode, None before its first."""
        return self._ticks[-1] if self._ticks else None

    def inputs(self) -> dict[str, NDArray[np.generic]]:
        """As `assemble` of the ticks kept.

        Raises:
            HptError: there is no observation.
        """
        return assemble(self.embodiment, tuple(self._ticks), self.horizon)

    def reset(self) -> None:
        """Start a new episode."""
        self._ticks.clear()
