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
from hpt_ros.modalities import DEPTH, IMAGE, LANGUAGE, MODALITIES, STATE, Layout
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.encoder_config import (
    DepthEncoderConfig,
    ImageEncoderConfig,
    LanguageConfig,
    ResNet18Config,
)
from hpt_ros.model.head_config import FEATURE, HEADS, STEPS, TOKENS, HeadConfig, MlpHeadConfig
from hpt_ros.model.registry import require_name
from hpt_ros.registry import Registry
from hpt_ros.structured import field, read_dataclass, to_mapping, without_other_kinds

MISSING = ("refuse", "drop")
SMALLEST_IMAGE_PX, SMALLEST_DEPTH_PX = 32, 8


@dataclass(frozen=True, slots=True)
class PoolingKind:
    """A pooling that there is: the location of its class, and what it gives."""

    location: str | type[Any]
    gives: str = FEATURE


# To add a pooling: a file with a subclass of `hpt_ros.model.pooling.Pooling`, and its line.
POOLINGS: Registry[PoolingKind] = Registry("pooling", "hpt_ros.poolings", PoolingKind, {
    "mean": PoolingKind("hpt_ros.model.pooling:MeanPooling"),
    "max": PoolingKind("hpt_ros.model.pooling:MaxPooling"),
    "last": PoolingKind("hpt_ros.model.pooling:LastPooling"),
    "attentive": PoolingKind("hpt_ros.model.pooling:AttentivePooling"),
    "action_token": PoolingKind("hpt_ros.model.pooling:ActionTokenPooling", STEPS),
    "no-op": PoolingKind("hpt_ros.model.pooling:Pooling", TOKENS),
})  # fmt: skip

# Keys of stored configurations of earlier versions -> today's.
NEW_NAMES = {"drop_share": "drop_probability", "share": "shared"}


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """Size of the shared transformer. `TrunkConfig.of_size("base")` gives a published size."""

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
    def of_size(cls, size: str) -> TrunkConfig:
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
    drop_probability: float = field(
        "drop: fraction of training batches without it, so that the policy learns to do without",
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
        if not 0.0 <= self.drop_probability <= 0.9:
            raise ConfigError(
                Code.OUT_OF_RANGE, f"the stem of {self.modality!r}, drop_probability", self.drop_probability,
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
    shapes: dict[str, tuple[int, ...]] = field(
        "modality to the shape of one step's input, of each that has streams: state [numbers]; image [views, rows, "
        "columns, 3], rows and columns 0 where precomputed features are passed in"
    )
    tasks: tuple[str, ...] = field("tasks whose embeddings are stored; language stem", default=())
    trunk: TrunkConfig = field("the transformer", default=TrunkConfig())
    stems: tuple[StemConfig, ...] = field(
        "one stem per modality, in the order of their tokens", default=(StemConfig(IMAGE), StemConfig(STATE))
    )
    image_encoder: ImageEncoderConfig = field("the network before the image stem", default=ResNet18Config())
    depth_encoder: DepthEncoderConfig = field(
        "the network before the depth stem", default=DepthEncoderConfig()
    )
    language: LanguageConfig = field("what embedded the tasks' texts", default=LanguageConfig())
    modality_embedding: bool = field(
        "add a learnable vector per modality to its tokens, as the paper says; the released code never does, so its "
        "weights need false",
        default=False,
    )
    pooling: str = field("how the trunk's tokens become features", default="mean", choices=POOLINGS)
    head: HeadConfig = field("the action head", default=MlpHeadConfig())
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
                Code.INVALID, "the policy's only stem", LANGUAGE,
                problem="is for {value}, which says nothing of where the robot is",
                remedy="add a stem for a modality that changes with time, as 'state'",
            )  # fmt: skip
        self._check_shapes()
        encodes = IMAGE in self.modalities and self.image_encoder.encodes
        for modality, smallest, wanted in (
            (IMAGE, SMALLEST_IMAGE_PX, encodes),
            (DEPTH, SMALLEST_DEPTH_PX, DEPTH in self.modalities),
        ):
            if wanted and min(size := self.image_size(modality)) < smallest:
                raise ConfigError(
                    Code.OUT_OF_RANGE, f"the shape of {modality!r}", size,
                    problem=f"has {size[0]}x{size[1]} pixels (height x width), which is too small for its encoder",
                    remedy=f"give it at least {smallest} rows and columns",
                )  # fmt: skip
        self._check_tasks()

    def _check_shapes(self) -> None:
        for name in (*self.shapes, *self.modalities):
            modality = MODALITIES[name]
            wanted = name in self.modalities and modality.layout in (Layout.JOINED, Layout.STACKED)
            if (name in self.shapes) != wanted:
                raise ConfigError(
                    Code.MISSING if wanted else Code.UNEXPECTED, "shapes", name,
                    problem=f"has {', '.join(self.shapes) or 'nothing'} while the stems are for "
                    f"{', '.join(self.modalities)}",
                    remedy=f"{'give' if wanted else 'take out'} the shape of {name!r}",
                )  # fmt: skip
            shape = self.shapes.get(name, ())
            # Precomputed features have no rows and columns of images.
            least = 0 if name == IMAGE and not self.image_encoder.encodes else 1
            if wanted and (len(shape) != modality.axes_of_input or shape[0] < 1 or min(shape) < least):
                raise ConfigError(
                    Code.WRONG_SHAPE, f"the shape of {name!r}", list(shape),
                    expected=f"{modality.axes_of_input} positive numbers ({modality.layout.value})",
                )  # fmt: skip

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
    def views(self) -> int:
        """Camera views; 0 without images."""
        return self.shapes[IMAGE][0] if IMAGE in self.shapes else 0

    @property
    def state_dim(self) -> int:
        """Numbers in one proprioceptive state; 0 without."""
        return self.shapes[STATE][0] if STATE in self.shapes else 0

    def image_size(self, modality: str = IMAGE) -> tuple[int, int]:
        """Return rows and columns of the pictures of a modality, which must be there."""
        _, height, width = self.shapes[modality][:3]
        return height, width

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
        """Read a configuration strictly; `where` names its position in errors."""
        return read_dataclass(cls, upgrade_policy(mapping), where=where)


def upgrade_policy(mapping: object) -> object:
    """Return a stored configuration of an earlier version as it is today; anything else as it is."""
    return _with_shapes(with_current_keys(mapping)) if isinstance(mapping, Mapping) else mapping


def with_current_keys(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored policy or policy's recipe with the keys that it would be stored with today.

    Earlier versions stored the keys of all kinds of heads and encoders, of which one was read, and used other names.
    """
    result = _with_new_names(policy)
    if isinstance(stems := policy.get("stems"), list):
        result["stems"] = [_with_new_names(stem) if isinstance(stem, Mapping) else stem for stem in stems]
    if isinstance(head := policy.get("head"), Mapping):
        result["head"] = without_other_kinds(HeadConfig, head)
    if isinstance(encoder := policy.get("image_encoder"), Mapping):
        own = dict(encoder)
        if isinstance(nested := own.pop("efficientnet", {}), Mapping):
            own |= nested  # its stage
        result["image_encoder"] = without_other_kinds(ImageEncoderConfig, own)
    return result


def _with_new_names(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {NEW_NAMES.get(key, key): value for key, value in mapping.items()}


def _with_shapes(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration of before `PolicyConfig.shapes`, which had a key for each size, as it is today."""
    if "shapes" in mapping:
        return mapping
    sizes = {name: item.sizes for name, item in MODALITIES.of_project().items() if item.sizes}
    keys = {key for axes in sizes.values() for key in axes if isinstance(key, str)}
    shapes = {
        name: [mapping.get(key, 0) if isinstance(key, str) else key for key in axes]
        for name, axes in sizes.items()
        if mapping.get(str(axes[0]), 0)
    }
    return {"shapes": shapes, **{key: value for key, value in mapping.items() if key not in keys}}
