# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Configuration of what stands before the stems: encoders of images, of depth, and of the task's text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

from hpt_ros.errors import Code
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.registry import require_name
from hpt_ros.registry import Registry
from hpt_ros.structured import Tagged, field

LANGUAGE_KINDS = ("t5", "sentence", "none")


def channels_field() -> Any:
    """Return the field of a small network's channels."""
    return field(
        "channels of each stride-2 block; the last is the width of a cell",
        default=(16, 32, 64, 64),
        minimum=8,
    )


def check_channels(whose: str, channels: tuple[int, ...]) -> None:
    """Raise ConfigError unless there are channels, multiples of 8."""
    if not channels or any(channel % 8 for channel in channels):
        raise ConfigError(
            Code.OUT_OF_RANGE, f"{whose} channels {list(channels)}",
            problem="must be one or more multiples of 8 (its GroupNorm has groups of 8 channels)",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class EncoderArchitecture:
    """What rebuilds a network of timm or transformers without a hub, and what its frames must look like."""

    name: str = field("timm: the architecture; transformers: the model_type")
    side_px: int = field("frames are resized to a square of this side", minimum=1, unit="px")
    mean: tuple[float, ...] = field("subtracted from red, green and blue in [0, 1]")
    std: tuple[float, ...] = field("what these are divided by then", above=0.0)
    layout: str = field("how features come", choices=("tokens", "channels_first", "channels_last"))
    cells: int = field("cells of features of one frame", minimum=1)
    cell_width: int = field("width of a cell", minimum=1)
    skipped_tokens: int = field("tokens before the cells (class, registers)", default=0, minimum=0)
    interpolation: str = field("how frames are resized", default="bicubic", choices=("bicubic", "bilinear"))
    arguments: str = field("what the network is built with: a JSON mapping", default="{}")
    version: str = field(
        "the library's, when this was written; another may name weights otherwise", default=""
    )

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ConfigError(
                Code.WRONG_SHAPE, f"the encoder {self.name!r}", list(self.mean),
                problem=f"has the mean {{value}} and the std {list(self.std)}",
                expected="three numbers each (red, green, blue)",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageEncoderConfig(Tagged):
    """What turns an image into cells of features before the image stem: one dataclass for each kind of encoder."""

    default_kind: ClassVar[str] = "resnet18"
    shared: bool = field("one set of weights for all views; false: separate weights per view", default=True)
    trainable: bool = field("train the encoder with the policy", default=False)

    @classmethod
    def kinds(cls) -> Collection[str]:
        """Return the names of all image encoders."""
        return IMAGE_ENCODERS

    @classmethod
    def of_kind(cls, name: str) -> type[ImageEncoderConfig]:
        """Return an encoder's own dataclass."""
        return IMAGE_ENCODERS[name].config

    @property
    def encodes(self) -> bool:
        """Whether there is a network; otherwise precomputed features are passed in."""
        return True


@dataclass(frozen=True, slots=True)
class ResNet18Config(ImageEncoderConfig):
    """ResNet-18, as the published stems expect it."""

    kind: ClassVar[str] = "resnet18"


@dataclass(frozen=True, slots=True)
class EfficientNetConfig(ImageEncoderConfig):
    """EfficientNet-Lite0; its weights come with the extra efficientnet."""

    kind: ClassVar[str] = "efficientnet_lite0"
    # Stage 5: 0.70 of its 4.65 million parameters, and cells of 1/16 of the frame: 6 x 8 of 96 x 128.
    stage: int = field(
        "features after this stage of 1 to 7 (16, 24, 40, 80, 112, 192, 320 wide), or 8: all (1280 wide)",
        default=5,
        minimum=1,
        maximum=8,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryEncoderConfig(ImageEncoderConfig):
    """What the encoders have that are networks of a library; no kind by itself."""

    model: str = field(
        "the model's name in the library (vit_small_patch14_dinov2.lvd142m, facebook/dinov2-small), or a folder"
    )
    side_px: int | None = field(
        "resize frames to a square of this side, in place of what the model was trained with",
        default=None,
        minimum=16,
        unit="px",
    )
    architecture: EncoderArchitecture | None = field(
        "what rebuilds the network; filled in from the model when training starts", default=None
    )

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError(
                Code.EMPTY, f"the image encoder {self.kind!r}, model", remedy="give image_encoder.model"
            )


@dataclass(frozen=True, slots=True)
class TimmConfig(LibraryEncoderConfig):
    """A network of timm."""

    kind: ClassVar[str] = "timm"


@dataclass(frozen=True, slots=True)
class TransformersConfig(LibraryEncoderConfig):
    """A network of transformers."""

    kind: ClassVar[str] = "transformers"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEncoderConfig(ImageEncoderConfig):
    """No network: precomputed features are passed in."""

    kind: ClassVar[str] = "none"
    cells: int = field("cells of a precomputed feature map (49 for ResNet-18)", minimum=1)
    cell_width: int = field("width of a precomputed cell (512 for ResNet-18)", minimum=1)

    @property
    def encodes(self) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """An image encoder that there is.

    Attributes:
        config: its dataclass, whose `kind` is its name.
        location: of its `hpt_ros.model.encoders.Network`, or that; empty: there is none.
    """

    config: type[ImageEncoderConfig]
    location: str | Any = ""

    @property
    def name(self) -> str:
        """Its name in the registry, which must be that of the entry point."""
        return self.config.kind


# To add an image encoder: a file with its network, its dataclass and its `EncoderKind`, and its line.
IMAGE_ENCODERS: Registry[EncoderKind] = Registry("image encoder", "hpt_ros.image_encoders", EncoderKind, {
    "resnet18": EncoderKind(ResNet18Config, "hpt_ros.model.encoders:RESNET18"),
    "small_cnn": "hpt_ros.model.small_cnn:ENCODER",
    "efficientnet_lite0": EncoderKind(EfficientNetConfig, "hpt_ros.model.encoders:EFFICIENTNET"),
    "timm": EncoderKind(TimmConfig, "hpt_ros.model.encoders:LIBRARY"),
    "transformers": EncoderKind(TransformersConfig, "hpt_ros.model.encoders:LIBRARY"),
    "none": EncoderKind(NoEncoderConfig),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class DepthEncoderConfig:
    """A small convolutional network over depth and over where there was any."""

    channels: tuple[int, ...] = channels_field()
    far_m: float = field(
        "distance that is mapped to 1; what lies further counts as this far", default=4.0, above=0.0, unit="m"
    )

    def __post_init__(self) -> None:
        check_channels("the depth encoder's", self.channels)


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """What turned the task's text into embeddings; they are stored with the weights, so a robot does not need it."""

    kind: str = field("language model; none: embeddings are passed in", default="t5", choices=LANGUAGE_KINDS)
    model: str = field(
        "name on the Hugging Face hub, or folder; empty: t5-base for t5, all-MiniLM-L6-v2 for sentence",
        default="",
    )
    tokens: int = field("entries of one task's embedding; shorter texts are padded", default=16, minimum=1)
    width: int = field(
        "width of an entry (768 for t5-base, 384 for all-MiniLM-L6-v2)", default=768, minimum=1
    )

    def __post_init__(self) -> None:
        require_name(self.kind, LANGUAGE_KINDS, "language encoder")
