# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Configuration of the policy: what is built, in frozen dataclasses that YAML reads and writes.

The defaults are those of HPT (arXiv 2409.20537 and its public code, liruiw/HPT at 549433f); each exists once, here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpt_ros.errors import Code
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.encoder_config import DepthEncoderConfig, ImageEncoderConfig, LanguageConfig
from hpt_ros.model.head_config import FEATURE, HEADS, STEPS, TOKENS, HeadConfig
from hpt_ros.model.registry import require_name
from hpt_ros.structured import field, read_dataclass, to_mapping

IMAGE = "image"
DEPTH = "depth"
STATE = "state"
WRENCH = "wrench"
TACTILE = "tactile"
POINT_CLOUD = "pointcloud"
ACTIONS = "actions"  # those of the ticks before
LANGUAGE = "language"
MODALITIES = (IMAGE, DEPTH, STATE, WRENCH, TACTILE, POINT_CLOUD, ACTIONS, LANGUAGE)
MISSING = ("refuse", "drop")

# The sizes that belong to a stem: given exactly when it is there. Of images height and width are left, which
# precomputed features do without.
SIZES: Mapping[str, tuple[str, ...]] = {
    IMAGE: ("views",),
    DEPTH: ("depth_views", "depth_height", "depth_width"),
    STATE: ("state_dim",),
    WRENCH: ("wrench_dim",),
    TACTILE: ("tactile_arrays", "tactile_values"),
    POINT_CLOUD: ("clouds", "cloud_points"),
}
SMALLEST_IMAGE_PX, SMALLEST_DEPTH_PX = 32, 8


@dataclass(frozen=True, slots=True)
class PoolingKind:
    """A pooling that there is: the location of its class, and what it gives."""

    location: str
    gives: str = FEATURE


# To add a pooling: a file with a subclass of `hpt_ros.model.pooling.Pooling`, and its line.
POOLINGS: dict[str, PoolingKind] = {
    "mean": PoolingKind("hpt_ros.model.pooling:MeanPooling"),
    "max": PoolingKind("hpt_ros.model.pooling:MaxPooling"),
    "last": PoolingKind("hpt_ros.model.pooling:LastPooling"),
    "attentive": PoolingKind("hpt_ros.model.pooling:AttentivePooling"),
    "action_token": PoolingKind("hpt_ros.model.pooling:ActionTokenPooling", STEPS),
    "no-op": PoolingKind("hpt_ros.model.pooling:Pooling", TOKENS),
}


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """Size of the shared transformer. `TrunkConfig.named("base")` gives a published size."""

    width: int = field("embedding width d of every token", default=256, minimum=2)
    depth: int = field("number of transformer blocks; 0: no trunk, the baseline", default=16, minimum=0)
    heads: int = field("attention heads of a block; divides the width", default=8, minimum=1)
    drop_path: float = field(
        "stochastic depth of the last block in training, rising linearly from 0",
        default=0.1,
        minimum=0.0,
        maximum=0.9,
    )

    def __post_init__(self) -> None:
        if min(self.width, self.heads) < 1 or self.depth < 0 or self.width % self.heads or self.width % 2:
            raise ConfigError(
                Code.WRONG_SHAPE, f"a trunk of width {self.width}, depth {self.depth} and {self.heads} heads",
                problem="cannot be built",
                remedy="choose an even width that the number of heads divides, and a depth of at least 0",
            )  # fmt: skip

    @classmethod
    def named(cls, size: str) -> TrunkConfig:
        """Return a published size: "small", "base", "large", "xlarge" or "huge"."""
        if size not in TRUNK_SIZES:
            raise ConfigError(Code.UNKNOWN, repr(size), size, problem="is no trunk size", known=TRUNK_SIZES)
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
    missing: str = field(
        "when the modality is not there; refuse: no action; drop: its tokens are left out, as in HPT",
        default="refuse",
        choices=MISSING,
    )
    drop_share: float = field(
        "drop: share of training batches without it, so that the policy learns to do without",
        default=0.1,
        minimum=0.0,
        maximum=0.9,
    )

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ConfigError(
                Code.UNKNOWN, "a stem", self.modality, problem="names the modality {value}", known=MODALITIES
            )
        if not self.widths:
            raise ConfigError(
                Code.MISSING, f"the stem of {self.modality!r}", problem="has no hidden width",
                remedy="give at least one, as [128]",
            )  # fmt: skip
        if self.missing not in MISSING:
            raise ConfigError(
                Code.UNKNOWN, f"the stem of {self.modality!r}, missing", self.missing, known=MISSING
            )
        if not 0.0 <= self.drop_share <= 0.9:
            raise ConfigError(
                Code.OUT_OF_RANGE, f"the stem of {self.modality!r}, drop_share", self.drop_share,
                expected="0 to 0.9",
            )  # fmt: skip


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
    depth_views: int = field("depth cameras; 0 without a depth stem", default=0, minimum=0)
    depth_height: int = field("rows of the depth pictures; 0 without", default=0, minimum=0, unit="px")
    depth_width: int = field("columns of the depth pictures; 0 without", default=0, minimum=0, unit="px")
    wrench_dim: int = field(
        "numbers in one step's forces and torques; 0 without a wrench stem", default=0, minimum=0
    )
    tactile_arrays: int = field("tactile arrays; 0 without a tactile stem", default=0, minimum=0)
    tactile_values: int = field("values of one tactile array; 0 without", default=0, minimum=0)
    clouds: int = field("point clouds of one step; 0 without a pointcloud stem", default=0, minimum=0)
    cloud_points: int = field("points of one cloud; 0 without", default=0, minimum=0)
    tasks: tuple[str, ...] = field("tasks whose embeddings are stored; language stem", default=())
    trunk: TrunkConfig = field("the transformer", default=TrunkConfig())
    stems: tuple[StemConfig, ...] = field(
        "one stem per modality, in the order of their tokens", default=(StemConfig(IMAGE), StemConfig(STATE))
    )
    image_encoder: ImageEncoderConfig = field(
        "the network before the image stem", default=ImageEncoderConfig()
    )
    depth_encoder: DepthEncoderConfig = field(
        "the network before the depth stem", default=DepthEncoderConfig()
    )
    language: LanguageConfig = field("what embedded the tasks' texts", default=LanguageConfig())
    modality_embedding: bool = field(
        "add a learnable vector per modality to its tokens, as the paper says; the released code never does, so its "
        "weights need false",
        default=False,
    )
    pooling: str = field("how the trunk's tokens become features", default="mean", choices=tuple(POOLINGS))
    head: HeadConfig = field("the action head", default=HeadConfig())
    horizon_masking: bool = field(
        "in training keep only the last h of T observations, h random in 1..T; then fewer than T may be passed in",
        default=True,
    )

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.embodiment):
            raise ConfigError(
                Code.UNSUPPORTED, "the embodiment", self.embodiment,
                problem="name {value} cannot be part of a weight's name",
                remedy="use letters, digits, '_' and '-' only",
            )  # fmt: skip
        for name in ("action_dim", "action_horizon", "observation_horizon"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    Code.OUT_OF_RANGE, f"the policy's {name}", getattr(self, name), expected="at least 1"
                )
        require_name(self.pooling, POOLINGS, "pooling")
        self._check_modalities()
        self._check_head()

    def _check_modalities(self) -> None:
        if not self.stems or len(set(self.modalities)) != len(self.stems):
            raise ConfigError(
                Code.DUPLICATE, "the policy's stems", list(self.modalities), problem="are for {value}",
                expected="one or more different modalities", remedy="name each modality once",
            )  # fmt: skip
        if self.modalities == (LANGUAGE,):
            raise ConfigError(
                Code.EMPTY, "the policy's only stem",
                problem="is for 'language', which says nothing of where the robot is",
                remedy="add a stem for a modality that changes with time, as 'state'",
            )  # fmt: skip
        for modality, names in SIZES.items():
            for name in names:
                value, wanted = getattr(self, name), modality in self.modalities
                if value < 0 or (value > 0) != wanted:
                    raise ConfigError(
                        Code.INVALID, name, list(self.modalities),
                        problem=f"is {value} while the stems are for {{value}}",
                        remedy=f"give {name} exactly when there is {'an' if modality == IMAGE else 'a'} "
                        f"{modality} stem",
                    )  # fmt: skip
        encodes = IMAGE in self.modalities and self.image_encoder.kind != "none"
        if encodes and min(self.image_height, self.image_width) < SMALLEST_IMAGE_PX:
            raise ConfigError(
                Code.OUT_OF_RANGE, f"images of {self.image_height}x{self.image_width} pixels (height x width)",
                self.image_encoder.kind, problem="are too small for the encoder {value}",
                remedy=f"give image_height and image_width of at least {SMALLEST_IMAGE_PX}",
            )  # fmt: skip
        if DEPTH in self.modalities and min(self.depth_height, self.depth_width) < SMALLEST_DEPTH_PX:
            raise ConfigError(
                Code.OUT_OF_RANGE,
                f"depth pictures of {self.depth_height}x{self.depth_width} pixels (height x width)",
                problem="are too small",
                remedy=f"give depth_height and depth_width of at least {SMALLEST_DEPTH_PX}",
            )  # fmt: skip
        self._check_tasks()

    def _check_tasks(self) -> None:
        if self.tasks and LANGUAGE not in self.modalities:
            raise ConfigError(
                Code.INVALID, "tasks", list(self.modalities),
                problem="are given while the stems are for {value}", remedy="add a language stem, or give none",
            )  # fmt: skip
        if "" in self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ConfigError(
                Code.DUPLICATE, f"the tasks {list(self.tasks)}", problem="hold an empty text, or one twice",
                remedy="give different texts, each once",
            )  # fmt: skip

    def _check_head(self) -> None:
        head, gives = HEADS[self.head.kind], POOLINGS[self.pooling].gives
        if gives not in head.reads:
            fitting = [name for name, pooling in POOLINGS.items() if pooling.gives in head.reads]
            raise ConfigError(
                Code.INVALID, f"the {head.title} head", self.pooling,
                problem=f"reads {' or '.join(head.reads)}, but pooling {{value}} gives {gives}",
                remedy=f"set pooling to {' or '.join(fitting)}, or take another head",
            )  # fmt: skip

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the order of their tokens."""
        return tuple(stem.modality for stem in self.stems)

    @property
    def optional_modalities(self) -> tuple[str, ...]:
        """Modalities that may be missing: those whose stem has `missing: drop`."""
        return tuple(stem.modality for stem in self.stems if stem.missing == "drop")

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
