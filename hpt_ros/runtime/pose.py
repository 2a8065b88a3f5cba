# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measured pose of what is commanded, from state streams that may come in parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.observation import decode, measured_ns
from hpt_ros.observation.feed import Feed
from hpt_ros.observation.merge import MergedTrack
from hpt_ros.observation.track import Sample


def _unknown(value: NDArray[Any]) -> bool:
    """Whether an element is NaN."""
    return any(map(math.isnan, value.tolist()))  # of so few numbers quicker than NumPy


def _joined(values: list[NDArray[Any]]) -> NDArray[Any]:
    return values[0] if len(values) == 1 else np.concatenate(values)


class MeasuredPose:
    """Newest samples of the state streams, side by side.

    Attributes:
        holding: whether all that is observed is published only while it moves.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        """Start with nothing measured.

        Raises:
            EmbodimentError: what is commanded is not observed, so nobody could know where the robot is.
        """
        self._embodiment = embodiment
        embodiment.space.states.require()
        self._by_topic: dict[str, list[Stream]] = {}
        for stream in embodiment.state_streams:
            self._by_topic.setdefault(stream.topic, []).append(stream)
        self._held: dict[str, NDArray[Any]] = {}
        self.holding = all(stream.holding for stream in embodiment.state_streams)
        self.reset()

    def reset(self) -> None:
        """Forget everything but where joints that hold are."""
        self._feeds = {
            stream.name: Feed(stream, 1, self._held.get(stream.name))
            for stream in self._embodiment.state_streams
        }

    def take(self, topic: str, message: Any, arrival_ns: int) -> None:
        """Note what a message measures, of whatever topic; one of no state stream measures nothing.

        Args:
            topic: that it came on.
            message: it is valid, as a simulator's are.
            arrival_ns: when it came.
        """
        for stream in self._by_topic.get(topic, ()):
            stamp_ns = measured_ns(stream, message, arrival_ns)
            self.saw(stream.name, stamp_ns, arrival_ns, decode(stream, message))

    def saw(self, stream: str, stamp_ns: int, arrival_ns: int, value: NDArray[Any]) -> tuple[int, int]:
        """Note a sample.

        Args:
            stream: name of a state stream.
            stamp_ns, arrival_ns: of the sample.
            value: (dim,), NaN where the message had no value.

        Returns:
            Stamp and arrival of the joint that was not seen for longest; -1 if one was never seen.
        """
        feed = self._feeds[stream]
        feed.insert(Sample(stamp_ns, arrival_ns, value))
        if feed.stream.holds and (held := feed.to_carry()) is not None:
            self._held[stream] = held
        return feed.track.least_fresh_ns if isinstance(feed.track, MergedTrack) else (stamp_ns, arrival_ns)

    def would_be(self, stream: str, value: NDArray[Any]) -> NDArray[np.float64] | None:
        """The control vector (dim,) of the pose with a message that is not noted yet; None if not all of it is known.

        Args:
            stream: name of a state stream.
            value: (dim,), NaN where the message had no value.
        """
        found = []
        for name, feed in self._feeds.items():
            if name == stream:
                pose = value
                if _unknown(value) and (known := feed.newest()) is not None:
                    pose = np.where(np.isnan(value), known[1], value)
            elif (known := feed.newest()) is not None:
                pose = known[1]
            else:
                return None
            if _unknown(pose):
                return None
            found.append(pose)
        return self._embodiment.space.states.control(_joined(found))

    def newest(self) -> tuple[int, NDArray[np.float64]] | None:
        """Stamp of the oldest of the newest samples, and the control vector (dim,) of the pose; None before that.

        Streams that hold as a whole do not count for the stamp, but where all do: then the newest counts, -1 if nothing
        came since `reset`.
        """
        found = [(feed.stream.holding, feed.newest()) for feed in self._feeds.values()]
        known = [(holds, item) for holds, item in found if item is not None]
        if not known or len(known) < len(found):
            return None
        pose = self._embodiment.space.states.control(_joined([value for _, (_, value) in known]))
        if self.holding:
            return max(stamp_ns for _, (stamp_ns, _) in known), pose
        return min(stamp_ns for holds, (stamp_ns, _) in known if not holds), pose

    def unseen(self, stream: str) -> tuple[str, ...]:
        """Names of elements of a stream whose messages hold some joints only, that none had yet."""
        feed = self._feeds.get(stream)
        return feed.track.unseen() if feed is not None and isinstance(feed.track, MergedTrack) else ()

    @property
    def held(self) -> dict[str, NDArray[Any]]:
        """Stream name to where its joints that hold are, (dim,), NaN for all others."""
        return dict(self._held)

    def hold_as(self, other: MeasuredPose) -> None:
        """Take over where another of the same robot has the joints that hold; forgets everything else."""
        self._held = other.held
        self.reset()
