# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
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

from hpt_ros.embodiment import Embodiment, EmbodimentError, Stream
from hpt_ros.embodiment.windows import observation_window
from hpt_ros.errors import Code, HptError
from hpt_ros.modalities import ACTIONS, Layout, Modality
from hpt_ros.observation.tick import Tick


def assemble(
    embodiment: Embodiment,
    ticks: Sequence[Tick],
    horizon: int | None = None,
    previous_actions: Sequence[NDArray[np.float64] | None] = (),
) -> dict[str, NDArray[np.generic]]:
    """The policy's inputs from an episode's valid ticks up to now, oldest first.

    A modality of which a stream is absent in one of the window's ticks is left out, as is one without streams.

    Args:
        embodiment: gives the order of streams and the sizes.
        ticks: consecutive valid ticks since the episode's start; only the last T of them matter once there are T.
        horizon: T; the embodiment's observation_horizon by default.
        previous_actions: for each tick the command at the tick before it, (Da,), as `ObservationWindow` makes them;
            None, or nothing at all, leaves "actions" out.

    Returns:
        By `Modality.input`, of the modalities what there is, in raw units, batch first, each of `Modality.input_dtype`:
        joined ones (1, T, D), those side by side (1, T, streams, ...) such as ``image`` uint8 (1, T, V, H, W, 3);
        ``actions`` float32 (1, T, Da); ``task`` str (1,), the newest tick's.

    Raises:
        HptError: no ticks, an invalid one, or views of different sizes.
    """
    if not ticks or not all(tick.valid for tick in ticks):
        raise HptError(
            Code.OUT_OF_RANGE, f"{len(ticks)} ticks", problem="were given", expected="one or more, all valid",
            remedy="wait for fresh streams",
        )  # fmt: skip
    length = embodiment.observation_horizon if horizon is None else horizon
    window = observation_window(len(ticks) - 1, length)
    chosen = [ticks[index] for index in window]
    inputs: dict[str, NDArray[np.generic]] = {}
    for modality in embodiment.modalities:
        streams = embodiment.streams_of(modality.name)
        if any(stream.name in tick.absent for stream in streams for tick in chosen):
            continue
        if modality.layout is Layout.JOINED:
            vectors = [tick.vectors[modality.name] for tick in chosen]
            inputs[modality.input] = np.stack(vectors).astype(np.float32)[None]
        elif modality.layout is Layout.TEXT:
            inputs[modality.input] = np.array([chosen[-1].texts[modality.name]])
        elif modality.layout is Layout.STACKED:
            inputs[modality.input] = _side_by_side(modality, streams, chosen)
    if previous_actions:
        before = [previous_actions[index] for index in window]
        known = [action for action in before if action is not None]
        if len(known) == length:
            inputs[ACTIONS] = np.stack(known).astype(np.float32)[None]
    return inputs


def _side_by_side(
    modality: Modality, streams: Sequence[Stream], ticks: Sequence[Tick]
) -> NDArray[np.generic]:
    """Samples of all streams of a modality: (1, T, streams, ...)."""
    stacked: NDArray[np.generic] = np.empty((1, len(ticks), *modality.shape(streams)), modality.input_dtype)
    for step, tick in enumerate(ticks):
        for index, stream in enumerate(streams):
            stacked[0, step, index] = tick.arrays[stream.name]
    return stacked


@dataclass
class ObservationWindow:
    """The last T ticks of a running episode; starts anew at an invalid tick, a gap or a restart."""

    embodiment: Embodiment
    horizon: int | None = None
    _ticks: deque[Tick] = field(init=False)
    _actions: deque[NDArray[np.float64] | None] = field(init=False)  # for each tick the one before it

    def __post_init__(self) -> None:
        self._length = self.embodiment.observation_horizon if self.horizon is None else self.horizon
        self._ticks = deque(maxlen=self._length)
        self._actions = deque(maxlen=self._length)
        try:
            self.embodiment.space.states.require()
            self._measured = True
        except EmbodimentError:
            self._measured = False  # then "actions" is left out wherever no command is known

    def push(self, tick: Tick, previous_action: NDArray[np.float64] | None = None) -> bool:
        """Add a tick; True if there is an observation now.

        Args:
            tick: the next one.
            previous_action: the command at the tick before, (Da,) in the action's order; None if nothing was
                commanded. At an episode's first tick there is no action before, whatever is given. Without one, what
                holding would have commanded stands in: the measured pose.
        """
        if self._ticks and (tick.restart or tick.index != self._ticks[-1].index + 1):
            self.reset()
        if not tick.valid:
            self.reset()
            return False
        first = not self._ticks
        self._ticks.append(tick)
        if first or previous_action is None:
            measured = self._measured and tick.state.size
            self._actions.append(self.embodiment.space.states.action(tick.state) if measured else None)
        else:
            self._actions.append(self._check(previous_action))
        return True

    @property
    def latest(self) -> Tick | None:
        """The newest tick of the running episode, None before its first."""
        return self._ticks[-1] if self._ticks else None

    @property
    def keys(self) -> tuple[int, ...]:
        """Indices of the T ticks that `inputs` holds, oldest first, the first one repeated where there are fewer.

        Empty if there is no observation.
        """
        if not self._ticks:
            return ()
        window = observation_window(len(self._ticks) - 1, self._length)
        return tuple(self._ticks[index].index for index in window)

    def inputs(self) -> dict[str, NDArray[np.generic]]:
        """As `assemble` of the ticks retained.

        Raises:
            HptError: there is no observation.
        """
        return assemble(self.embodiment, tuple(self._ticks), self._length, tuple(self._actions))

    def reset(self) -> None:
        """Start a new episode."""
        self._ticks.clear()
        self._actions.clear()

    def _check(self, action: NDArray[np.float64]) -> NDArray[np.float64]:
        names = self.embodiment.action.names
        if action.shape != (len(names),) or not np.isfinite(action).all():
            raise HptError(
                Code.NOT_FINITE, "the previous action", action.shape,
                problem=f"has shape {{value}} and the values {action.tolist()!r:.200}",
                expected=f"one finite value for each of {', '.join(names)}",
                remedy="pass the command that was sent",
            )  # fmt: skip
        return action
