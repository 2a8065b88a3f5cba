# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a modality is: how its streams become one input of a policy, and how that is stored and normalised."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from hpt_ros.errors import Code, HptError

Shape: TypeAlias = tuple[int, ...]
# Makes a sample of a stream's message; or the location of such a function, e.g. "package.module:decode", which is
# imported when the first message comes.
Decoder: TypeAlias = "Callable[[Any, Any], NDArray[Any]] | str"


class Size(Protocol):
    """Height and width in pixels, as `hpt_ros.embodiment.ImageSpec`."""

    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102


class Sized(Protocol):
    """A stream, as `hpt_ros.embodiment.Stream`, which is above this room."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def image(self) -> Size | None: ...  # noqa: D102
    @property
    def points(self) -> int: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102


class Layout(enum.Enum):
    """How the samples of a modality's streams make one input."""

    JOINED = "joined"  # vectors, one after another: (D,)
    STACKED = "stacked"  # arrays of one shape, side by side: (streams, *sample)
    TEXT = "text"  # one text
    COMMANDS = "commands"  # no stream: the action at the tick before, (Da,)


def vector(stream: Sized) -> Shape:
    """Return the shape of a sample that is the stream's vector."""
    return (stream.dim,)


def image_size(stream: Sized) -> Shape:
    """Return (height, width) of a stream of images."""
    assert stream.image is not None  # the schema saw to it
    return stream.image.height, stream.image.width


@dataclass(frozen=True, kw_only=True, eq=False)
class Modality:
    """One kind of input, in one object. Adding one: a file beside this one and its line in `MODALITIES`.

    Attributes:
        name: in embodiment files, recipes, datasets and the names of weights.
        layout: how its streams make one input.
        dtype: of a decoded sample, numpy's name; "str" of texts. Policies are given float64 as float32.
        network: subclass of `hpt_ros.model.modality.Entries` that makes entries for its stem of it, or its location.
        sample: gives the shape of a stream's sample; of a text ().
        inputs: names under which a policy takes it, the one of `hpt_ros.observation.assemble` last.
        needs: keys of a stream that this modality needs ("image", "points").
        message_types: types of messages beside those that name this modality themselves, with their decoders.
        video: its arrays are stored as frames of a video, not as a column.
        coded: its arrays are uint16 distances in mm that a dataset may store as a video of codes, as
            `hpt_ros.dataset.depth_codes`, instead of as a column.
        folder: what datasets name its features after "observation.", if not its name.
        axes: names of a sample's axes in datasets; none: its elements have names.
        statistics: location of what makes the statistics of a dataset's arrays (length, *sample) of several axes.
        normalised: over the last axis, by the training data's statistics.
        linear: linear between two samples; otherwise the newest at or before a tick counts.
        holds: a sample counts until the next one, however old it is, and through a jump of the clock.
        same_size: an embodiment's streams of it must have one shape; images may differ until a policy takes them.
        sizes: names of its sizes in checkpoints of before `PolicyConfig.shapes`, for each axis of an input's shape;
            a number is that axis' length.
        example: shape of one step's input in documentation.
        note: what `hpt embodiment init` says of a topic that may be of this modality.
    """

    name: str
    layout: Layout
    dtype: str
    network: str | type[Any]
    sample: Callable[[Any], Shape] = vector
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    message_types: Mapping[str, Decoder] = field(default_factory=dict)
    video: bool = False
    coded: bool = False
    folder: str = ""
    axes: tuple[str, ...] = ()
    statistics: str = "hpt_ros.dataset.statistics:array_statistics"
    normalised: bool = True
    linear: bool = False
    holds: bool = False
    same_size: bool = True
    sizes: tuple[str | int, ...] = ()
    example: Shape = ()
    note: str = ""

    @property
    def axes_of_input(self) -> int:
        """Number of axes of one step's input."""
        return 1 if self.layout is Layout.JOINED else 1 + (len(self.axes) or 1)

    @property
    def input(self) -> str:
        """Name of the input as observations and datasets give it."""
        return self.names[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """`inputs`; its own name if there are none."""
        return self.inputs or (self.name,)

    @property
    def stored_as(self) -> str:
        """LeRobot's dtype of its feature: "video", or numpy's name; empty where it is none."""
        if self.layout in (Layout.TEXT, Layout.COMMANDS):
            return ""
        return "video" if self.video else self.input_dtype

    @property
    def input_dtype(self) -> str:
        """Type of the arrays that a policy and a dataset have, numpy's name."""
        return "float32" if self.dtype == "float64" else self.dtype

    def shape(self, streams: Sequence[Sized]) -> Shape:
        """Return the shape of one step's input, after the axes of batch and time.

        Raises:
            HptError: streams of different shapes that are to lie side by side.
        """
        if self.layout is Layout.JOINED:
            return (sum(stream.dim for stream in streams),)
        shapes = {stream.name: self.sample(stream) for stream in streams}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
            raise HptError(
                Code.WRONG_SHAPE, f"the {self.name} streams", problem=f"have the sizes {listed}",
                expected="one size for all of them", remedy="give them the same size in the embodiment file",
            )  # fmt: skip
        return (len(streams), *next(iter(shapes.values()), ()))
