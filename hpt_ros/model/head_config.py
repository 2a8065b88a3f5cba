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


def widths_field() -> Any:
    """Return the field of hidden widths."""
    return field("hidden widths", default=(256, 128), minimum=1)


def tanh_field() -> Any:
    """Return the field that bounds actions."""
    return field("bound the normalised action to [-1, 1]", default=True)


def dropout_field(what: str) -> Any:
    """Return the field of dropout in training; `what` says where."""
    return field(f"dropout in training ({what})", default=0.1, minimum=0.0)


def heads_field() -> Any:
    """Return the field of attention heads."""
    return field("attention heads", default=8, minimum=1)


def kernel_field() -> Any:
    """Return the field of a convolution's width."""
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
    widths: tuple[int, ...] = widths_field()
    tanh: bool = tanh_field()
    dropout: float = dropout_field("after the second layer")

    def __post_init__(self) -> None:
        check_widths("MLP", self.widths)
        check_dropout(self.dropout)


@dataclass(frozen=True, slots=True)
class DecoderHeadConfig(HeadConfig):
    """One cross-attention from a query for each step to the trunk's tokens."""

    kind: ClassVar[str] = "decoder"
    hidden_width: int = field("hidden width of the MLP over the trunk's tokens", default=512, minimum=1)
    heads: int = heads_field()
    head_width: int = field("width of a cross-attention head", default=64, minimum=1)
    dropout: float = dropout_field("attention")
    projection: bool = field(
        "project each step from the trunk's width to the action's; false is the released layout, which has no such "
        "layer and so needs an action as wide as the trunk",
        default=True,
    )

    def __post_init__(self) -> None:
        check_dropout(self.dropout)


@dataclass(frozen=True, slots=True)
class NoiseHeadConfig(HeadConfig):
    """What the heads have that start from noise; no kind by itself."""

    flow_noise: str = _noise()

    def __post_init__(self) -> None:
        if self.flow_noise not in FLOW_NOISES:
            raise ConfigError(Code.UNKNOWN, "the head's flow_noise", self.flow_noise, known=FLOW_NOISES)


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


# To add a head: a file with a subclass of `hpt_ros.model.heads.Head`, its dataclass and its `HeadKind`, and its line.
HEADS: Registry[HeadKind] = Registry("head", "hpt_ros.heads", HeadKind, {
    "mlp": HeadKind("MLP", "hpt_ros.model.heads:MlpHead", MlpHeadConfig),
    "conv": "hpt_ros.model.conv_head:HEAD",
    "decoder": HeadKind("decoder", "hpt_ros.model.heads:DecoderHead", DecoderHeadConfig, (STEPS, TOKENS)),
    "gmm": "hpt_ros.model.mixture_head:HEAD",
    "diffusion": "hpt_ros.model.diffusion:HEAD",
    "flow": "hpt_ros.model.flow:HEAD",
})  # fmt: skip


def check_widths(title: str, widths: tuple[int, ...]) -> None:
    """Raise ConfigError where there is no hidden width."""
    if not widths:
        raise ConfigError(
            Code.MISSING, f"the {title} head", problem="has no hidden width",
            remedy="give at least one, as [256, 128]",
        )  # fmt: skip


def check_dropout(dropout: float) -> None:
    """Raise ConfigError unless dropout is 0 to below 1."""
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(Code.OUT_OF_RANGE, "the head's dropout", dropout, expected="0 to below 1")


def check_kernel(kernel: int) -> None:
    """Raise ConfigError for an even kernel."""
    if kernel % 2 == 0:
        raise ConfigError(
            Code.INVALID, "the head's kernel", kernel,
            expected="an odd number, so that the convolution keeps the number of steps",
        )  # fmt: skip
