# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measured pose of what is commanded, from state streams that may come in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.observation.feed import Feed
from hpt_ros.observation.merge import MergedTrack
from hpt_ros.observation.track import Sample


class MeasuredPose:
    """Newest samples of the state streams, side by side."""

    def __init__(self, embodiment: Embodiment) -> None:
        """Start with nothing measured.

        Raises:
            EmbodimentError: what is commanded is not observed, so nobody could know where the robot is.
        """
        self._embodiment = embodiment
        embodiment.space.require_measured()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._feeds = {stream.name: Feed(stream, 1) for stream in self._embodiment.state_streams}

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
        return feed.track.least_fresh_ns if isinstance(feed.track, MergedTrack) else (stamp_ns, arrival_ns)

    def newest(self) -> tuple[int, NDArray[np.float64]] | None:
        """Stamp of the oldest of the newest samples, and the control vector (dim,) of the pose; None before that."""
        found = [feed.newest() for feed in self._feeds.values()]
        known = [item for item in found if item is not None]
        if not known or len(known) < len(found):
            return None
        pose = self._embodiment.space.measured(np.concatenate([value for _, value in known]))
        return min(stamp_ns for stamp_ns, _ in known), pose
