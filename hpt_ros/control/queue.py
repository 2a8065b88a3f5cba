# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Chunks in, one continuous reference out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Chunk, Reference, Vector
from hpt_ros.control.config import QueueConfig
from hpt_ros.control.ensemble import average, smoothstep
from hpt_ros.errors import Code, HptError


def step_mask(config: QueueConfig, names: Sequence[str], grippers: Sequence[str] = ()) -> NDArray[np.bool_]:
    """(dim,) true for the grippers and the dimensions that `step_names` names.

    Raises:
        HptError: it names a dimension that there is not.
    """
    for name in config.step_names:
        if name not in names:
            raise HptError(Code.UNKNOWN, "queue.step_names", name, problem="has {value}", known=names)
    return np.array([name in config.step_names or name in grippers for name in names], dtype=bool)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A chunk and when it takes over from what lies below."""

    chunk: Chunk
    start_ns: int
    fade_ns: int

    def weight(self, time_ns: int) -> tuple[float, float]:
        """Weight of the chunk and its rate of change in 1/s."""
        return smoothstep(time_ns, self.start_ns, self.fade_ns)


class ChunkQueue:
    """The chunk being executed, with the fade from the one before.

    Actions keep their times: a chunk that comes late starts in its middle, and what is past is dropped. The newest
    chunk fades in over `fade_s`, position and velocity staying continuous even when chunks come faster than that.
    Dimensions in `step` jump to the new chunk and hold each action until the next one's time; those of them that are
    velocities (`rates`) may jump as well, but fade and are interpolated as all others.

    Dimensions that are sent further ahead than others (`ahead_ns`) are those of a later time in every chunk; fades and
    everything else count for all at once.

    `pace` says how much of a chunk's time passes in a second of the robot's, in which the latencies are.

    With `ensemble` the reference is the average of all chunks that have not ended (`hpt_ros.control.ensemble`).
    """

    def __init__(
        self,
        config: QueueConfig,
        step: NDArray[np.bool_],
        ahead_ns: NDArray[np.int64] | None = None,
        rates: Sequence[int] = (),
    ) -> None:
        """Start empty.

        Args:
            config: fade and request fraction.
            step: (dim,) true for dimensions that may jump; but for `rates` they are never averaged.
            ahead_ns: (dim,) how much further ahead than the time asked for; None: nothing is.
            rates: dimensions in `step` that are velocities.
        """
        self._config = config
        self.step, self._held = step, step.copy()
        self._held[list(rates)] = False
        self._holds = bool(self._held.any())
        later = np.zeros(step.shape, dtype=np.int64) if ahead_ns is None else ahead_ns
        self._later = [(int(ns), later == ns) for ns in np.unique(later[later > 0])]
        self.longest_ns = int(later.max(initial=0))
        self.pace = 1.0
        self._base: tuple[int, Reference] | None = None
        self._layers: deque[_Layer] = deque()

    def clear(self) -> None:
        """Forget everything."""
        self._base = None
        self._layers.clear()

    @property
    def newest(self) -> Chunk | None:
        """The chunk that came last."""
        return self._layers[-1].chunk if self._layers else None

    def start(self, chunk: Chunk, time_ns: int, position: Vector, velocity: Vector) -> int:
        """Begin anew from a pose: fade over `start_fade_s` from there (going on at its velocity) to the chunk.

        Returns:
            The number of the chunk's actions that were late.
        """
        self.clear()
        self._base = (time_ns, Reference(position.copy(), velocity.copy()))
        self._layers.append(_Layer(chunk, time_ns, round(self._config.start_fade_s * NS_PER_S)))
        return chunk.actions_before(time_ns)

    def merge(self, chunk: Chunk, time_ns: int) -> int | None:
        """Let a chunk take over from `time_ns` on.

        Returns:
            The number of its actions that were late, or None if it was refused: all of it is late, or it was computed
            from an older observation than the one in use.
        """
        newest = self.newest
        if chunk.end_ns <= time_ns or (newest is not None and chunk.observation_ns <= newest.observation_ns):
            return None
        self._layers.append(_Layer(chunk, time_ns, round(self._config.fade_s * NS_PER_S)))
        return chunk.actions_before(time_ns)

    def at(self, time_ns: int) -> Reference | None:
        """The reference at a time, or None when the newest chunk is used up or there is none.

        Times must not decrease: layers that have faded out for good are dropped.
        """
        newest = self.newest
        if newest is None or time_ns > newest.end_ns:
            return None
        if self._config.ensemble:
            return self._ensemble_at(time_ns)
        while len(self._layers) > 1 and self._layers[1].weight(time_ns)[0] >= 1.0:
            self._layers.popleft()
            self._base = None
        if self._layers[0].weight(time_ns)[0] >= 1.0:
            self._base = None
        below = self._base_at(time_ns)
        for layer in self._layers:
            below = self._blend(below, layer, time_ns)
        return below

    def chunk_at(self, chunk: Chunk, time_ns: int) -> Reference:
        """A chunk's curve at a time, of each dimension at its own; beyond the end it stays where it ends."""
        reference = chunk.at(time_ns)
        for ahead_ns, mask in self._ahead:
            beyond = time_ns + ahead_ns > chunk.end_ns
            later = chunk.at(min(time_ns + ahead_ns, chunk.end_ns))
            reference = Reference(
                np.where(mask, later.position, reference.position),
                np.where(mask, 0.0 if beyond else later.velocity, reference.velocity),
            )
        return reference

    def remaining(self, time_ns: int) -> int:
        """Actions whose time is still to come."""
        newest = self.newest
        return 0 if newest is None else newest.horizon - newest.actions_before(time_ns)

    def wants_chunk(self, time_ns: int, latency_s: float) -> bool:
        """Whether it is time to ask for a chunk.

        Args:
            time_ns: now.
            latency_s: time from asking to having, as far as known; asked early enough for it.
        """
        newest = self.newest
        if newest is None:
            return True
        if self.remaining(time_ns) <= self._config.request_fraction * newest.horizon:
            return True
        return (newest.end_ns - time_ns) / NS_PER_S <= latency_s

    @property
    def _ahead(self) -> list[tuple[int, NDArray[np.bool_]]]:
        """How much later in a chunk dimensions are, that are sent further ahead than others."""
        return [(round(ahead_ns * self.pace), mask) for ahead_ns, mask in self._later]

    def _ensemble_at(self, time_ns: int) -> Reference:
        """As `at`, of all chunks that have not ended; the newest has not."""
        first = self._layers[0]
        weight, rate = first.weight(time_ns)
        if weight >= 1.0:
            self._base = None
            while self._layers[0].chunk.end_ns < time_ns:
                self._layers.popleft()
        reference = average(
            [(layer.chunk, layer.start_ns) for layer in self._layers if layer.chunk.end_ns >= time_ns],
            time_ns,
            self.chunk_at,
            fade_ns=round(self._config.fade_s * NS_PER_S),
            decay=self._config.ensemble_decay,
        )
        below = self._base_at(time_ns)
        if below is not None:
            reference = _mix(below, reference, weight, rate)
        return self._step_grippers(reference, self._layers[-1].chunk, time_ns)

    def _base_at(self, time_ns: int) -> Reference | None:
        if self._base is None:
            return None
        start_ns, reference = self._base
        ahead_s = max(time_ns - start_ns, 0) / NS_PER_S
        position = reference.position + ahead_s * np.where(self.step, 0.0, reference.velocity)
        return Reference(position, reference.velocity)

    def _blend(self, below: Reference | None, layer: _Layer, time_ns: int) -> Reference:
        if below is not None and time_ns < layer.start_ns:
            return below
        chunk = self.chunk_at(layer.chunk, time_ns)
        weight, rate = layer.weight(time_ns)
        if below is not None and weight < 1.0:
            chunk = _mix(below, chunk, weight, rate)
        return self._step_grippers(chunk, layer.chunk, time_ns)

    def _step_grippers(self, reference: Reference, chunk: Chunk, time_ns: int) -> Reference:
        """The reference with the dimensions in `step` as the chunk alone has them."""
        if not self._holds:
            return reference
        held = chunk.hold_at(time_ns)
        for ahead_ns, mask in self._ahead:
            held = np.where(mask, chunk.hold_at(time_ns + ahead_ns), held)
        return Reference(
            np.where(self._held, held, reference.position),
            np.where(self._held, 0.0, reference.velocity),
        )


def _mix(below: Reference, above: Reference, weight: float, rate: float) -> Reference:
    """`below` with `above` over it at a weight that changes at `rate` in 1/s."""
    away = above.position - below.position
    velocity = below.velocity + weight * (above.velocity - below.velocity) + rate * away
    return Reference(below.position + weight * away, velocity)
