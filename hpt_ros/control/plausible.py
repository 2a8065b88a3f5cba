# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether measured poses can be those of one robot, which cannot be here and there."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Vector
from hpt_ros.control.orientation_limits import distances
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal

# A robot may be measured as far from where it was as its velocity limits cover in this time, ours: noise of 0.1 rad
# stays below, the zeros of a driver that is not connected yet, or of a second publisher, do not.
REACH_S = 0.25
# ... and this many times as fast as its limits on top, ours: it may be moved by hand, and stamps jitter.
FASTER = 3.0
# A pose that is elsewhere for this long, without one that is not, is where the robot is, ours: a simulation was reset,
# a driver found its reference. Less than the shortest timeout of a stream.
SETTLED_S = 0.1
# So many messages that contradict those around them within a second are no glitch, ours: two nodes publish.
CONTRADICTIONS, WITHIN_S = 3, 1.0
REMEDY = "see whether a second node publishes there, or the driver sends values before it is connected"


@dataclass(slots=True)
class _Source:
    """One driver's messages: the last that was believed, and the last of those that are elsewhere, since when."""

    stamp_ns: int
    pose: Vector
    other: tuple[int, Vector] | None = None
    since_ns: int = 0


class Plausibility:
    """Refuses measured poses that jump, until they stay there; and notices when two nodes measure one robot."""

    def __init__(
        self, names: Sequence[str], velocity: Vector, step: NDArray[np.bool_], turns: Sequence[int] = ()
    ) -> None:
        """Start with nothing measured.

        Args:
            names: of the commanded dimensions.
            velocity: (dim,) limits, unscaled.
            step: (dim,) true for those that may jump (grippers).
            turns: where quaternions begin.
        """
        self._names, self._velocity, self._step, self._turns = tuple(names), velocity, step, tuple(turns)
        self._fastest: list[float] = np.where(step, np.inf, velocity).tolist()
        self._sources: dict[Hashable, _Source] = {}
        self._contradicted: dict[str, deque[int]] = {}
        self._problems: dict[str, Refusal] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._sources.clear()
        self._contradicted.clear()
        self._problems.clear()

    def check(self, stream: str, part: Hashable, stamp_ns: int, pose: Vector) -> Refusal | None:
        """Return why a message must not be believed; None if it may.

        Args:
            stream: its name.
            part: what it measures of the stream, where one message does not have all.
            stamp_ns: of the message; one that is not newer than the last says nothing.
            pose: (dim,), of the entire robot with what it says.
        """
        source = self._sources.get((stream, part))
        if source is None:
            self._sources[stream, part] = _Source(stamp_ns, pose)
            return None
        if stamp_ns <= source.stamp_ns:
            return None
        jumped = self._jump(stream, source.pose, pose, stamp_ns - source.stamp_ns)
        if jumped is None:
            if source.other is not None:
                self._contradicted.setdefault(stream, deque(maxlen=CONTRADICTIONS)).append(stamp_ns)
            source.stamp_ns, source.pose, source.other = stamp_ns, pose, None
            return None
        if source.other is None or self._jump(stream, source.other[1], pose, stamp_ns - source.other[0]):
            source.since_ns = stamp_ns
        source.other = stamp_ns, pose
        if stamp_ns - source.since_ns > SETTLED_S * NS_PER_S:
            source.stamp_ns, source.pose, source.other = stamp_ns, pose, None
            return None
        self._problems[stream] = jumped
        return jumped

    def find_contradictions(self, now_ns: int) -> dict[str, Refusal]:
        """Return the streams whose messages contradict each other now, and how."""
        found = {}
        for stream, stamps in self._contradicted.items():
            if len(stamps) == CONTRADICTIONS and now_ns - stamps[0] <= WITHIN_S * NS_PER_S:
                jumped = self._problems[stream]
                problem = f"contradicts itself: it {jumped.problem}"
                found[stream] = replace(jumped, code=Why.CONTRADICTED, problem=problem)
        return found

    def _jump(self, stream: str, before: Vector, pose: Vector, passed_ns: int) -> Refusal | None:
        reach_s = REACH_S + FASTER * passed_ns / NS_PER_S
        if not self._turns and all(
            abs(here - there) <= fastest * reach_s
            for here, there, fastest in zip(pose.tolist(), before.tolist(), self._fastest, strict=True)
        ):
            return None  # as nearly always: of so few numbers this is quicker than NumPy
        reach = self._velocity * reach_s
        away = np.where(self._step, 0.0, distances(pose, before, self._turns))
        worst = int(np.argmax(away - reach))
        if away[worst] <= reach[worst]:
            return None
        return Refusal(
            Why.IMPLAUSIBLE, f"stream {stream!r}", float(away[worst]),
            problem=f"has {self._names[worst]} at {pose[worst]:.3f}, {away[worst]:.3f} from where it was "
            f"{passed_ns / NS_PER_S:.3f} s before", expected=f"at most {reach[worst]:.3f}", remedy=REMEDY,
        )  # fmt: skip
