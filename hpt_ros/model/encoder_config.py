# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Configuration of what stands before the stems: encoders of images, of depth, and of the task's text."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.errors import Code
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.registry import require_name
from hpt_ros.structured import field

ENCODER_KINDS = ("resnet18", "small_cnn", "efficientnet_lite0", "timm", "transformers", "none")
LIBRARY_KINDS = ("timm", "transformers")
LANGUAGE_KINDS = ("t5", "sentence", "none")


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
class EfficientNetConfig:
    """How much of EfficientNet-Lite0 there is."""

    # Stage 5: 0.70 of its 4.65 million parameters, and cells of 1/16 of the frame: 6 x 8 of 96 x 128.
    stage: int = field(
        "features after this stage of 1 to 7 (16, 24, 40, 80, 112, 192, 320 wide), or 8: all (1280 wide)",
        default=5,
        minimum=1,
        maximum=8,
    )


@dataclass(frozen=True, slots=True)
class ImageEncoderConfig:
    """What turns an image into cells of features before the image stem."""

    kind: str = field(
        "network; none: precomputed features are passed in", default="resnet18", choices=ENCODER_KINDS
    )
    shared: bool = field("one set of weights for all views; false: separate weights per view", default=True)
    trainable: bool = field("train the encoder with the policy", default=False)
    model: str = field(
        "timm, transformers: the model's name there (vit_small_patch14_dinov2.lvd142m, facebook/dinov2-small), or a "
        "folder",
        default="",
    )
    side_px: int | None = field(
        "timm, transformers: resize frames to a square of this side, in place of what the model was trained with",
        default=None,
        minimum=16,
        unit="px",
    )
    architecture: EncoderArchitecture | None = field(
        "timm, transformers: what rebuilds the network; filled in from the model when training starts",
        default=None,
    )
    channels: tuple[int, ...] = field(
        "small_cnn: channels of each stride-2 block; the last is the width of a cell",
        default=(16, 32, 64, 64),
        minimum=8,
    )
    efficientnet: EfficientNetConfig = field(
        "efficientnet_lite0: how much of it; its weights come with the extra efficientnet",
        default=EfficientNetConfig(),
    )
    cells: int | None = field(
        "none: cells of a precomputed feature map (49 for ResNet-18)", default=None, minimum=1
    )
    cell_width: int | None = field(
        "none: width of a precomputed cell (512 for ResNet-18)", default=None, minimum=1
    )

    def __post_init__(self) -> None:
        require_name(self.kind, ENCODER_KINDS, "image encoder")
        if self.kind == "small_cnn" and (not self.channels or any(channel % 8 for channel in self.channels)):
            raise ConfigError(
                Code.OUT_OF_RANGE, f"small_cnn's channels {list(self.channels)}",
                problem="must be one or more multiples of 8 (its GroupNorm has groups of 8 channels)",
            )  # fmt: skip
        of_library = self.kind in LIBRARY_KINDS
        if of_library != bool(self.model):
            raise ConfigError(
                Code.INVALID, f"the image encoder {self.kind!r}, model", self.model,
                remedy="give image_encoder.model for the encoders 'timm' and 'transformers', and for no other",
            )  # fmt: skip
        if not of_library and (self.side_px is not None or self.architecture is not None):
            raise ConfigError(
                Code.UNEXPECTED, f"the image encoder {self.kind!r}",
                problem="has side_px or architecture, which are for the encoders 'timm' and 'transformers'",
                remedy="leave them out",
            )  # fmt: skip
        if (self.kind == "none") != (self.cells is not None) or (self.cells is None) != (
            self.cell_width is None
        ):
            raise ConfigError(
                Code.INVALID, f"the image encoder {self.kind!r}",
                problem=f"has cells {self.cells} and cell_width {self.cell_width}",
                remedy="give both for the encoder 'none', and neither for any other",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DepthEncoderConfig:
    """A small convolutional network over depth and over where there was any."""

    channels: tuple[int, ...] = field(
        "channels of each stride-2 block; the last is the width of a cell",
        default=(16, 32, 64, 64),
        minimum=8,
    )
    far_m: float = field(
        "distance that is mapped to 1; what lies further counts as this far", default=4.0, above=0.0, unit="m"
    )

    def __post_init__(self) -> None:
        if not self.channels or any(channel % 8 for channel in self.channels):
            raise ConfigError(
                Code.OUT_OF_RANGE, f"the depth encoder's channels {list(self.channels)}",
                problem="must be one or more multiples of 8 (its GroupNorm has groups of 8 channels)",
            )  # fmt: skip


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
