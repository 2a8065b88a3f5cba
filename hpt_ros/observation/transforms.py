# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The pose of one frame in another out of /tf and /tf_static, message by message, of a bag and of the robot alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.embodiment.messages import (
    NS_PER_S,
    InvalidSampleError,
    describe_stream,
    numbers,
    orientation_vector,
    time_ns,
)
from hpt_ros.embodiment.rotations import converted
from hpt_ros.errors import Code, Refusal

# More frames than any robot has; who sends more sends nonsense, or wants the memory.
MOST_FRAMES = 4096
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stamp:
    """As builtin_interfaces/Time."""

    sec: int
    nanosec: int


@dataclass(frozen=True, slots=True)
class Header:
    """As std_msgs/Header."""

    stamp: Stamp
    frame_id: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """As geometry_msgs/Point and Quaternion."""

    x: float
    y: float
    z: float
    w: float = 0.0


@dataclass(frozen=True, slots=True)
class Pose:
    """As geometry_msgs/Pose."""

    position: Numbers
    orientation: Numbers


@dataclass(frozen=True, slots=True)
class PoseStamped:
    """As geometry_msgs/PoseStamped."""

    header: Header
    pose: Pose


@dataclass
class _Link:
    """The newest transform of a frame in its parent.

    Attributes:
        parent: the frame that it is given in.
        stamp_ns: of it.
        transform: as the message has it.
        moves: it came with several stamps.
    """

    parent: str
    stamp_ns: int
    transform: Any
    moves: bool = False


@dataclass
class TransformChain:
    """Follows the frames between the two of a stream, and gives a pose whenever all of them are newer than before.

    The pose's stamp is the oldest of those of the frames that move: a later one would claim what was not measured.
    Which frames move is seen from their stamps, since a static frame is sent once, or again as it was.

    Args:
        stream: of tf2_msgs/TFMessage, with `frame` and `child`.
    """

    stream: Stream
    _links: dict[str, _Link] = field(default_factory=dict, init=False)
    _stamp_ns: int = field(default=-1, init=False)

    def take(self, message: Any) -> PoseStamped | None:
        """Take a message of /tf or /tf_static; returns the child's pose in the frame if it is news.

        Raises:
            InvalidSampleError: a link's quaternion is zero, a number is not finite, or frames go round in a circle.
        """
        news = False
        for item in message.transforms:
            child, parent = _name(item.child_frame_id), _name(item.header.frame_id)
            stamp_ns, known = time_ns(item.header.stamp), self._links.get(child)
            if known is None and len(self._links) >= MOST_FRAMES:
                continue
            moves = known is not None and (known.moves or known.stamp_ns != stamp_ns)
            self._links[child] = _Link(parent, stamp_ns, item.transform, moves)
            news = True
        return self._pose() if news else None

    def problem(self) -> Refusal | None:
        """Why there is no pose, of frames that were seen; None if they are connected."""
        frames = {_name(self.stream.frame), _name(self.stream.child)}
        seen = {*self._links, *(link.parent for link in self._links.values())}
        if lacking := sorted(frames - seen):
            seen_text = ", ".join(sorted(seen))[:400] or "none"
            return Refusal(
                Code.MISSING, "the tree of frames", lacking[0], problem=f"has no frame {{value}} among {seen_text}",
                remedy="correct frame and child",
            )  # fmt: skip
        if self._between() is not None:
            return None
        return Refusal(
            Code.MISMATCH, "the two frames", problem="are not connected", remedy="correct frame and child"
        )

    def _pose(self) -> PoseStamped | None:
        found = self._between()
        if found is None:
            return None
        up, down = found
        links = [self._links[name] for name in (*up, *down)]
        moving = [link.stamp_ns for link in links if link.moves]
        stamp_ns = min(moving) if moving else max((link.stamp_ns for link in links), default=0)
        # Back by much is a clock that was set back, which the buffer is to see.
        if self._stamp_ns - NS_PER_S < stamp_ns <= self._stamp_ns:
            return None
        self._stamp_ns = stamp_ns
        matrix = np.linalg.inv(self._product(up)) @ self._product(down)
        (turn,) = converted(matrix[:3, :2].T.reshape(1, 6), "rotation_6d", "quaternion")
        header = Header(Stamp(stamp_ns // NS_PER_S, stamp_ns % NS_PER_S), self.stream.frame)
        return PoseStamped(header, Pose(Numbers(*matrix[:3, 3].tolist()), Numbers(*turn.tolist())))

    def _between(self) -> tuple[list[str], list[str]] | None:
        """Frames from the stream's frame up to one that is above both, and from the child up to it."""
        up, down = self._above(_name(self.stream.frame)), self._above(_name(self.stream.child))
        common = next((name for name in down if name in up), None)
        if common is None:
            return None
        return up[: up.index(common)], down[: down.index(common)]

    def _above(self, name: str) -> list[str]:
        found = [name]
        while (link := self._links.get(found[-1])) is not None:
            if link.parent in found:
                raise InvalidSampleError(
                    Code.CONFLICT, describe_stream(self.stream), " in ".join(found[:10]),
                    problem="has frames that go round in a circle: {value}", remedy="correct what publishes them",
                )  # fmt: skip
            found.append(link.parent)
        return found

    def _product(self, names: Sequence[str]) -> Matrix:
        """The transform of the first of some frames, each in the next, in what is above the last."""
        matrix: Matrix = np.eye(4)
        for name in names:
            matrix = self._matrix(name) @ matrix
        return matrix

    def _matrix(self, name: str) -> Matrix:
        transform = self._links[name].transform
        columns = orientation_vector(transform.rotation, f"{describe_stream(self.stream)}, frame {name!r}")
        first, second = columns[:3], columns[3:]
        matrix: Matrix = np.eye(4)
        matrix[:3, :3] = np.stack([first, second, np.cross(first, second)], axis=1)
        matrix[:3, 3] = numbers(transform.translation, "xyz")
        return matrix


def _name(frame: str) -> str:
    return str(frame).lstrip("/")
