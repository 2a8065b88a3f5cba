"""Configuration of the policy: what is built, in frozen dataclasses that YAML reads and writes.

The defaults are those of HPT (arXiv 2409.20537 and its public code, liruiw/HPT at 549433f); each exists once, here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpt_ros.errors import HptError, did_you_mean
from hpt_ros.structured import field, read_dataclass, to_mapping

IMAGE = "image"
STATE = "state"
MODALITIES = (IMAGE, STATE)

POOLINGS = ("mean", "max", "last", "attentive", "action_token", "no-op")
HEAD_KINDS = ("mlp", "conv", "decoder", "gmm", "flow")
FLOW_NOISES = ("fixed", "zero", "random")
HEAD_NAMES: Mapping[str, str] = {
    "mlp": "MLP",
    "conv": "convolution",
    "decoder": "decoder",
    "gmm": "Gaussian mixture",
    "flow": "flow matching",
}
ENCODER_KINDS = ("resnet18", "small_cnn", "none")


class ConfigError(HptError):
    """The parts of a policy's configuration do not fit together."""


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """Size of the shared transformer. `TrunkConfig.named("base")` gives a published size."""

    width: int = field("embedding width d of every token", default=256, minimum=2)
    depth: int = field("number of transformer blocks", default=16, minimum=1)
    heads: int = field("attention heads of a block; divides the width", default=8, minimum=1)
    drop_path: float = field(
        "stochastic depth of the last block in training, rising linearly from 0",
        default=0.1,
        minimum=0.0,
        maximum=0.9,
    )

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.heads) < 1 or self.width % self.heads or self.width % 2:
            raise ConfigError(
                f"a trunk of width {self.width}, depth {self.depth} and {self.heads} heads cannot be built; "
                "choose an even width that the number of heads divides, and a depth of at least 1"
            )

    @classmethod
    def named(cls, size: str) -> TrunkConfig:
        """Return a published size: "small", "base", "large", "xlarge" or "huge"."""
        if size not in TRUNK_SIZES:
            raise ConfigError(
                f"{size!r} is no trunk size; use one of {', '.join(TRUNK_SIZES)}{did_you_mean(size, TRUNK_SIZES)}"
            )
        return TRUNK_SIZES[size]

    @property
    def parameters(self) -> int:
        """Number of parameters: 12 d^2 + 15 d a block (attention with key and value bias, two LayerNorms, MLP)."""
        return self.depth * (12 * self.width**2 + 15 * self.width)


# Table 1 of the paper; the widths, depths and heads are those of the published config.yaml files.
TRUNK_SIZES: Mapping[str, TrunkConfig] = {
    "small": TrunkConfig(width=128, depth=16, heads=8),
    "base": TrunkConfig(width=256, depth=16, heads=8),
    "large": TrunkConfig(width=512, depth=16, heads=8),
    "xlarge": TrunkConfig(width=768, depth=32, heads=16),
    "huge": TrunkConfig(width=1024, depth=80, heads=16),
}


@dataclass(frozen=True, slots=True)
class StemConfig:
    """Tokenizer of one modality: an MLP, then cross-attention from learnable tokens."""

    modality: str = field("what the stem reads", choices=MODALITIES)
    widths: tuple[int, ...] = field("hidden widths of the MLP", default=(128,), minimum=1)
    tokens: int = field("tokens that the stem gives to the trunk", default=16, minimum=1)
    heads: int = field("cross-attention heads", default=8, minimum=1)
    head_width: int = field("width of a cross-attention head", default=64, minimum=1)
    dropout: float = field(
        "dropout on the attention weights in training", default=0.1, minimum=0.0, maximum=0.9
    )

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ConfigError(
                f"a stem names the modality {self.modality!r}, but one of {', '.join(MODALITIES)} was expected"
                f"{did_you_mean(self.modality, MODALITIES)}; correct it"
            )
        if not self.widths:
            raise ConfigError(
                f"the stem of {self.modality!r} has no hidden width; give at least one, as [128]"
            )


@dataclass(frozen=True, slots=True)
class ImageEncoderConfig:
    """What turns an image into cells of features before the image stem."""

    kind: str = field(
        "network; none: precomputed features are passed in", default="resnet18", choices=ENCODER_KINDS
    )
    shared: bool = field("one set of weights for all views; false: separate weights per view", default=True)
    trainable: bool = field("train the encoder with the policy", default=False)
    channels: tuple[int, ...] = field(
        "small_cnn: channels of each stride-2 block; the last is the width of a cell",
        default=(16, 32, 64, 64),
        minimum=8,
    )
    cells: int | None = field(
        "none: cells of a precomputed feature map (49 for ResNet-18)", default=None, minimum=1
    )
    cell_width: int | None = field(
        "none: width of a precomputed cell (512 for ResNet-18)", default=None, minimum=1
    )

    def __post_init__(self) -> None:
        if self.kind not in ENCODER_KINDS:
            raise ConfigError(
                f"the image encoder {self.kind!r} is unknown; use one of {', '.join(ENCODER_KINDS)}"
                f"{did_you_mean(self.kind, ENCODER_KINDS)}"
            )
        if self.kind == "small_cnn" and (not self.channels or any(channel % 8 for channel in self.channels)):
            raise ConfigError(
                f"small_cnn's channels {list(self.channels)} must be one or more multiples of 8 "
                "(its GroupNorm has groups of 8 channels); correct them"
            )
        if (self.kind == "none") != (self.cells is not None) or (self.cells is None) != (
            self.cell_width is None
        ):
            raise ConfigError(
                f"the image encoder {self.kind!r} has cells {self.cells} and cell_width {self.cell_width}; "
                "give both for the encoder 'none', and neither for any other"
            )


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """What turns the trunk's features into an action chunk."""

    kind: str = field("network", default="mlp", choices=HEAD_KINDS)
    widths: tuple[int, ...] = field("mlp, conv, gmm: hidden widths", default=(256, 128), minimum=1)
    tanh: bool = field("mlp, conv: bound the normalised action to [-1, 1]", default=True)
    hidden_width: int = field(
        "decoder: hidden width of the MLP over the trunk's tokens", default=512, minimum=1
    )
    heads: int = field("decoder, flow: attention heads", default=8, minimum=1)
    head_width: int = field("decoder: width of a cross-attention head", default=64, minimum=1)
    dropout: float = field(
        "dropout in training (mlp, gmm: after its second layer; decoder: attention)", default=0.1
    )
    projection: bool = field(
        "decoder: project each step from the trunk's width to the action's; false is the released layout, "
        "which has no such layer and so needs an action as wide as the trunk",
        default=True,
    )
    kernel: int = field("conv: steps that a convolution sees; odd", default=3, minimum=1)
    modes: int = field("gmm: Gaussians in the mixture", default=5, minimum=1)
    min_std: float = field("gmm: least standard deviation of a normalised action", default=1e-4, above=0.0)
    flow_width: int = field("flow: width of the velocity network", default=128, minimum=2)
    flow_depth: int = field("flow: transformer blocks of the velocity network", default=3, minimum=1)
    flow_steps: int = field("flow: Euler steps from noise to action", default=10, minimum=1)
    flow_noise: str = field(
        "flow: where predict starts; fixed: one draw, the same for every observation and every load; zero: at 0; "
        "random: a new draw each time",
        default="fixed",
        choices=FLOW_NOISES,
    )

    def __post_init__(self) -> None:
        if self.kind not in HEAD_KINDS:
            raise ConfigError(
                f"the head {self.kind!r} is unknown; use one of {', '.join(HEAD_KINDS)}"
                f"{did_you_mean(self.kind, HEAD_KINDS)}"
            )
        if self.kind in ("mlp", "conv", "gmm") and not self.widths:
            raise ConfigError(
                f"the {HEAD_NAMES[self.kind]} head has no hidden width; give at least one, as [256, 128]"
            )
        if self.kernel % 2 == 0:
            raise ConfigError(
                f"the head's kernel is {self.kernel}, but an odd number was expected, so that the convolution keeps "
                "the number of steps; correct it"
            )
        if self.kind == "flow" and (self.flow_width % self.heads or self.flow_width % 2):
            raise ConfigError(
                f"a velocity network of width {self.flow_width} and {self.heads} heads cannot be built; choose an even "
                "head.flow_width that head.heads divides"
            )
        if self.flow_noise not in FLOW_NOISES:
            raise ConfigError(
                f"the head's flow_noise is {self.flow_noise!r}, but one of {', '.join(FLOW_NOISES)} was expected"
                f"{did_you_mean(self.flow_noise, FLOW_NOISES)}; correct it"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(
                f"the head's dropout is {self.dropout:g}, but 0 to below 1 was expected; correct it"
            )


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Everything needed to build a policy (not its weights)."""

    embodiment: str = field("name of the embodiment; part of the weights' names")
    action_dim: int = field("numbers in one action", minimum=1)
    action_horizon: int = field("actions in one chunk, in ticks", minimum=1)
    observation_horizon: int = field(
        "observations that the policy sees, in ticks, the newest last", minimum=1
    )
    state_dim: int = field(
        "numbers in one proprioceptive state; 0 without a state stem", default=0, minimum=0
    )
    views: int = field("camera views; 0 without an image stem", default=0, minimum=0)
    image_height: int = field(
        "rows of the images passed in; 0 without images", default=0, minimum=0, unit="px"
    )
    image_width: int = field(
        "columns of the images passed in; 0 without images", default=0, minimum=0, unit="px"
    )
    trunk: TrunkConfig = field("the transformer", default=TrunkConfig())
    stems: tuple[StemConfig, ...] = field(
        "one stem per modality, in the order of their tokens", default=(StemConfig(IMAGE), StemConfig(STATE))
    )
    image_encoder: ImageEncoderConfig = field(
        "the network before the image stem", default=ImageEncoderConfig()
    )
    pooling: str = field("how the trunk's tokens become features", default="mean", choices=POOLINGS)
    head: HeadConfig = field("the action head", default=HeadConfig())
    horizon_masking: bool = field(
        "in training keep only the last h of T observations, h random in 1..T; then fewer than T may be passed in",
        default=True,
    )

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.embodiment):
            raise ConfigError(
                f"the embodiment name {self.embodiment!r} cannot be part of a weight's name; "
                "use letters, digits, '_' and '-' only"
            )
        for name in ("action_dim", "action_horizon", "observation_horizon"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"the policy's {name} is {getattr(self, name)}, but at least 1 was expected"
                )
        if self.pooling not in POOLINGS:
            raise ConfigError(
                f"the pooling {self.pooling!r} is unknown; use one of {', '.join(POOLINGS)}"
                f"{did_you_mean(self.pooling, POOLINGS)}"
            )
        self._check_modalities()
        self._check_head()

    def _check_modalities(self) -> None:
        if not self.stems or len(set(self.modalities)) != len(self.stems):
            raise ConfigError(
                f"the policy's stems are for {list(self.modalities)}, but one or more different modalities "
                "were expected; name each modality once"
            )
        if (STATE in self.modalities) != (self.state_dim > 0):
            raise ConfigError(
                f"state_dim is {self.state_dim} while the stems are for {list(self.modalities)}; "
                "give state_dim exactly when there is a state stem"
            )
        has_images = IMAGE in self.modalities
        if has_images != (self.views > 0):
            raise ConfigError(
                f"views is {self.views} while the stems are for {list(self.modalities)}; "
                "give views exactly when there is an image stem"
            )
        needs_size = has_images and self.image_encoder.kind != "none"
        if needs_size and min(self.image_height, self.image_width) < 32:
            raise ConfigError(
                f"images of {self.image_height}x{self.image_width} pixels (height x width) are too small for the "
                f"encoder {self.image_encoder.kind!r}; give image_height and image_width of at least 32"
            )

    def _check_head(self) -> None:
        per_step = self.pooling in ("no-op", "action_token")
        if self.head.kind == "decoder" and not per_step:
            raise ConfigError(
                f"the decoder head attends to tokens, but pooling {self.pooling!r} leaves one feature; "
                "set pooling to 'no-op' or 'action_token'"
            )
        if self.head.kind == "conv" and self.pooling != "action_token":
            raise ConfigError(
                f"the convolution head reads one token per step, but pooling is {self.pooling!r}; "
                "set pooling to 'action_token'"
            )
        if self.head.kind != "decoder" and self.pooling == "no-op":
            raise ConfigError(
                f"the {HEAD_NAMES[self.head.kind]} head reads one pooled feature, but pooling 'no-op' gives all "
                "tokens; set pooling to mean, max, last, attentive or action_token, or use the decoder head"
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the order of their tokens."""
        return tuple(stem.modality for stem in self.stems)

    def with_trunk(self, trunk: TrunkConfig) -> PolicyConfig:
        """Return the same configuration with another trunk."""
        return replace(self, trunk=trunk)

    def to_mapping(self) -> dict[str, Any]:
        """Return the configuration as plain values for YAML; `from_mapping` inverts it."""
        return to_mapping(self)

    @classmethod
    def from_mapping(cls, mapping: object, *, where: str) -> PolicyConfig:
        """Read a configuration strictly; `where` names its place in errors."""
        return read_dataclass(cls, mapping, where=where)
