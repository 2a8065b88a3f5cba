# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Configuration of the action heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpt_ros.errors import Code
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.registry import require_name
from hpt_ros.registry import Registry
from hpt_ros.structured import field

FLOW_NOISES = ("fixed", "zero", "random")
FEATURE, STEPS, TOKENS = (
    "one feature",
    "one token per step",
    "all tokens",
)  # what a pooling gives and a head reads


@dataclass(frozen=True, slots=True)
class HeadKind:
    """A head that there is.

    Attributes:
        title: its name in sentences.
        location: of its class, or the class.
        reads: what it can read, of `FEATURE`, `STEPS`, `TOKENS`.
        loss: what it is trained with.
    """

    title: str
    location: str | type[Any]
    reads: tuple[str, ...] = (FEATURE, STEPS)
    loss: str = "smooth L1"


# To add a head: a file with a subclass of `hpt_ros.model.heads.Head`, and its line.
HEADS: Registry[HeadKind] = Registry("head", "hpt_ros.heads", HeadKind, {
    "mlp": HeadKind("MLP", "hpt_ros.model.heads:MlpHead"),
    "conv": HeadKind("convolution", "hpt_ros.model.heads:ConvHead", (STEPS,)),
    "decoder": HeadKind("decoder", "hpt_ros.model.heads:DecoderHead", (STEPS, TOKENS)),
    "gmm": HeadKind(
        "Gaussian mixture", "hpt_ros.model.heads:MixtureHead", loss="negative log-likelihood per number"
    ),
    "diffusion": HeadKind(
        "diffusion", "hpt_ros.model.diffusion:DiffusionHead", loss="squared error of the denoised action"
    ),
    "flow": HeadKind("flow matching", "hpt_ros.model.flow:FlowHead", loss="squared error of the velocity"),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """What turns the trunk's features into an action chunk."""

    kind: str = field("network", default="mlp", choices=HEADS)
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
    kernel: int = field("conv, diffusion: steps that a convolution sees; odd", default=3, minimum=1)
    modes: int = field("gmm: Gaussians in the mixture", default=5, minimum=1)
    min_std: float = field("gmm: least standard deviation of a normalised action", default=1e-4, above=0.0)
    flow_width: int = field("flow: width of the velocity network", default=128, minimum=2)
    flow_depth: int = field("flow: transformer blocks of the velocity network", default=3, minimum=1)
    flow_steps: int = field("flow: Euler steps from noise to action", default=10, minimum=1)
    flow_noise: str = field(
        "flow, diffusion: where predict starts; fixed: one draw, the same for every observation and every load; "
        "zero: at 0; random: a new draw each time",
        default="fixed",
        choices=FLOW_NOISES,
    )
    # The figures of HPT's diffusion head: down dims 64 and 128, kernel 3, 100 training steps, DDIM.
    diffusion_widths: tuple[int, ...] = field(
        "diffusion: channels of the 1-D U-Net, one per level; multiples of 8", default=(64, 128), minimum=8
    )
    diffusion_train_steps: int = field("diffusion: noise levels in training (DDPM)", default=100, minimum=2)
    diffusion_steps: int = field(
        "diffusion: steps from noise to action (DDIM); divides diffusion_train_steps", default=10, minimum=1
    )

    def __post_init__(self) -> None:
        require_name(self.kind, HEADS, "head")
        if self.kind in ("mlp", "conv", "gmm") and not self.widths:
            raise ConfigError(
                Code.MISSING, f"the {HEADS[self.kind].title} head", problem="has no hidden width",
                remedy="give at least one, as [256, 128]",
            )  # fmt: skip
        if self.kernel % 2 == 0:
            raise ConfigError(
                Code.INVALID, "the head's kernel", self.kernel,
                expected="an odd number, so that the convolution keeps the number of steps",
            )  # fmt: skip
        if self.kind == "flow" and (self.flow_width % self.heads or self.flow_width % 2):
            raise ConfigError(
                Code.UNSUPPORTED, f"a velocity network of width {self.flow_width} and {self.heads} heads",
                problem="cannot be built", remedy="choose an even head.flow_width that head.heads divides",
            )  # fmt: skip
        if self.kind == "diffusion" and (
            not self.diffusion_widths or any(width % 8 for width in self.diffusion_widths)
        ):
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
        if self.flow_noise not in FLOW_NOISES:
            raise ConfigError(Code.UNKNOWN, "the head's flow_noise", self.flow_noise, known=FLOW_NOISES)
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(Code.OUT_OF_RANGE, "the head's dropout", self.dropout, expected="0 to below 1")
