# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Configuration of the action heads: a tagged union, each kind with the keys that it reads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

from hpt_ros.errors import Code
from hpt_ros.model.config_error import ConfigError
from hpt_ros.registry import Registry
from hpt_ros.structured import Tagged, field

FLOW_NOISES = ("fixed", "zero", "random")
FEATURE, STEPS, TOKENS = (
    "one feature",
    "one token per step",
    "all tokens",
)  # what a pooling gives and a head reads


@dataclass(frozen=True, slots=True)
class HeadConfig(Tagged):
    """What turns the trunk's features into an action chunk: one dataclass for each kind of head."""

    default_kind: ClassVar[str] = "mlp"

    @classmethod
    def kinds(cls) -> Collection[str]:
        """Return the names of all heads."""
        return HEADS

    @classmethod
    def of_kind(cls, name: str) -> type[HeadConfig]:
        """Return a head's own dataclass."""
        return HEADS[name].config


def _widths() -> Any:
    return field("hidden widths", default=(256, 128), minimum=1)


def _tanh() -> Any:
    return field("bound the normalised action to [-1, 1]", default=True)


def _dropout(what: str) -> Any:
    return field(f"dropout in training ({what})", default=0.1, minimum=0.0)


def _heads() -> Any:
    return field("attention heads", default=8, minimum=1)


def _kernel() -> Any:
    return field("steps that a convolution sees; odd", default=3, minimum=1)


def _noise() -> Any:
    return field(
        "where predict starts; fixed: one draw, the same for every observation and every load; zero: at 0; random: a "
        "new draw each time",
        default="fixed",
        choices=FLOW_NOISES,
    )


@dataclass(frozen=True, slots=True)
class MlpHeadConfig(HeadConfig):
    """The MLP of the published code."""

    kind: ClassVar[str] = "mlp"
    widths: tuple[int, ...] = _widths()
    tanh: bool = _tanh()
    dropout: float = _dropout("after the second layer")

    def __post_init__(self) -> None:
        _check_widths("MLP", self.widths)
        _check_dropout(self.dropout)


@dataclass(frozen=True, slots=True)
class ConvHeadConfig(HeadConfig):
    """Convolutions along the action tokens."""

    kind: ClassVar[str] = "conv"
    widths: tuple[int, ...] = _widths()
    tanh: bool = _tanh()
    kernel: int = _kernel()

    def __post_init__(self) -> None:
        _check_widths("convolution", self.widths)
        _check_kernel(self.kernel)


@dataclass(frozen=True, slots=True)
class DecoderHeadConfig(HeadConfig):
    """One cross-attention from a query for each step to the trunk's tokens."""

    kind: ClassVar[str] = "decoder"
    hidden_width: int = field("hidden width of the MLP over the trunk's tokens", default=512, minimum=1)
    heads: int = _heads()
    head_width: int = field("width of a cross-attention head", default=64, minimum=1)
    dropout: float = _dropout("attention")
    projection: bool = field(
        "project each step from the trunk's width to the action's; false is the released layout, which has no such "
        "layer and so needs an action as wide as the trunk",
        default=True,
    )

    def __post_init__(self) -> None:
        _check_dropout(self.dropout)


@dataclass(frozen=True, slots=True)
class GmmHeadConfig(HeadConfig):
    """A mixture of Gaussians over chunks."""

    kind: ClassVar[str] = "gmm"
    widths: tuple[int, ...] = _widths()
    dropout: float = _dropout("after the second layer")
    modes: int = field("Gaussians in the mixture", default=5, minimum=1)
    min_std: float = field("least standard deviation of a normalised action", default=1e-4, above=0.0)

    def __post_init__(self) -> None:
        _check_widths("Gaussian mixture", self.widths)
        _check_dropout(self.dropout)


@dataclass(frozen=True, slots=True)
class NoiseHeadConfig(HeadConfig):
    """What the heads have that start from noise; no kind by itself."""

    flow_noise: str = _noise()

    def __post_init__(self) -> None:
        if self.flow_noise not in FLOW_NOISES:
            raise ConfigError(Code.UNKNOWN, "the head's flow_noise", self.flow_noise, known=FLOW_NOISES)


@dataclass(frozen=True, slots=True)
class FlowHeadConfig(NoiseHeadConfig):
    """Flow matching."""

    kind: ClassVar[str] = "flow"
    heads: int = _heads()
    flow_width: int = field("width of the velocity network", default=128, minimum=2)
    flow_depth: int = field("transformer blocks of the velocity network", default=3, minimum=1)
    flow_steps: int = field("Euler steps from noise to action", default=10, minimum=1)

    def __post_init__(self) -> None:
        NoiseHeadConfig.__post_init__(self)
        if self.flow_width % self.heads or self.flow_width % 2:
            raise ConfigError(
                Code.UNSUPPORTED, f"a velocity network of width {self.flow_width} and {self.heads} heads",
                problem="cannot be built", remedy="choose an even head.flow_width that head.heads divides",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DiffusionHeadConfig(NoiseHeadConfig):
    """Diffusion, with the figures of HPT's head: down dims 64 and 128, kernel 3, 100 training steps, DDIM."""

    kind: ClassVar[str] = "diffusion"
    kernel: int = _kernel()
    diffusion_widths: tuple[int, ...] = field(
        "channels of the 1-D U-Net, one per level; multiples of 8", default=(64, 128), minimum=8
    )
    diffusion_train_steps: int = field("noise levels in training (DDPM)", default=100, minimum=2)
    diffusion_steps: int = field(
        "steps from noise to action (DDIM); divides diffusion_train_steps", default=10, minimum=1
    )

    def __post_init__(self) -> None:
        NoiseHeadConfig.__post_init__(self)
        _check_kernel(self.kernel)
        if not self.diffusion_widths or any(width % 8 for width in self.diffusion_widths):
            raise ConfigError(
                Code.OUT_OF_RANGE, f"the head's diffusion_widths {list(self.diffusion_widths)}",
                problem="must be one or more multiples of 8 (its GroupNorm has 8 groups)",
            )  # fmt: skip
        if self.diffusion_train_steps % self.diffusion_steps:
            raise ConfigError(
                Code.INVALID, "the head's diffusion_steps", self.diffusion_steps,
                expected=f"a divisor of its diffusion_train_steps {self.diffusion_train_steps}, so that the steps are "
                "equally far apart",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeadKind:
    """A head that there is.

    Attributes:
        title: its name in sentences.
        location: of its class, or the class.
        config: its dataclass, whose `kind` is its name.
        reads: what it can read, of `FEATURE`, `STEPS`, `TOKENS`.
        loss: what it is trained with.
    """

    title: str
    location: str | type[Any]
    config: type[HeadConfig]
    reads: tuple[str, ...] = (FEATURE, STEPS)
    loss: str = "smooth L1"

    @property
    def name(self) -> str:
        """Its name in the registry, which must be that of the entry point."""
        return self.config.kind


# To add a head: a file with a subclass of `hpt_ros.model.heads.Head` and its dataclass, and its line.
HEADS: Registry[HeadKind] = Registry("head", "hpt_ros.heads", HeadKind, {
    "mlp": HeadKind("MLP", "hpt_ros.model.heads:MlpHead", MlpHeadConfig),
    "conv": HeadKind("convolution", "hpt_ros.model.heads:ConvHead", ConvHeadConfig, (STEPS,)),
    "decoder": HeadKind("decoder", "hpt_ros.model.heads:DecoderHead", DecoderHeadConfig, (STEPS, TOKENS)),
    "gmm": HeadKind(
        "Gaussian mixture", "hpt_ros.model.heads:MixtureHead", GmmHeadConfig,
        loss="negative log-likelihood per number",
    ),
    "diffusion": HeadKind(
        "diffusion", "hpt_ros.model.diffusion:DiffusionHead", DiffusionHeadConfig,
        loss="squared error of the denoised action",
    ),
    "flow": HeadKind(
        "flow matching", "hpt_ros.model.flow:FlowHead", FlowHeadConfig, loss="squared error of the velocity"
    ),
})  # fmt: skip


def _check_widths(title: str, widths: tuple[int, ...]) -> None:
    if not widths:
        raise ConfigError(
            Code.MISSING, f"the {title} head", problem="has no hidden width",
            remedy="give at least one, as [256, 128]",
        )  # fmt: skip


def _check_dropout(dropout: float) -> None:
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(Code.OUT_OF_RANGE, "the head's dropout", dropout, expected="0 to below 1")


def _check_kernel(kernel: int) -> None:
    if kernel % 2 == 0:
        raise ConfigError(
            Code.INVALID, "the head's kernel", kernel,
            expected="an odd number, so that the convolution keeps the number of steps",
        )  # fmt: skip
