# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy: observations in raw units to a chunk of actions in raw units.

The way of the data is that of HPT (see docs/model.md): encoder, stem per modality, trunk, pooling, head, between a
normaliser's two ends. The module's names give the state dict of a published `model.pth`, with the embodiment's name
where the released code has its "domain".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hpt_ros.errors import Code, HptError
from hpt_ros.modalities import DEPTH, IMAGE
from hpt_ros.model.config import POOLINGS, PolicyConfig
from hpt_ros.model.head_config import STEPS, DecoderHeadConfig
from hpt_ros.model.heads import Head, build_head
from hpt_ros.model.init import MODALITY_STD, TOKEN_STD
from hpt_ros.model.inputs import Array, Inputs, check_array, check_inputs, check_targets
from hpt_ros.model.modalities import Pictures, build_modalities, list_known_inputs
from hpt_ros.model.normaliser import Normaliser, Statistics
from hpt_ros.model.positions import position_table
from hpt_ros.model.stems import Stem
from hpt_ros.model.tasks import TaskTable
from hpt_ros.model.trunk import Trunk
from hpt_ros.registry import load_location


class PolicyError(HptError):
    """The policy cannot do what was asked with this configuration."""


@dataclass(frozen=True, slots=True)
class ForwardStages:
    """What one forward pass computed, from the stems to the head."""

    stems: dict[str, Tensor]  # modality to tokens (B, n, d)
    trunk_tokens: Tensor  # (B, N, d)
    features: Tensor  # (B, d), or (B, N, d) without pooling
    actions: Tensor  # (B, horizon, Da), normalised


class Policy(nn.Module):
    """HPT for one embodiment.

    Inputs are a mapping of arrays (numpy or torch), batch first, in the embodiment's order:

    - of each modality with streams an array (B, T, *shape) by `Modality.input` (`hpt_ros.modalities`), oldest
      observation first, raw units, with its shape in the configuration: "image" uint8 RGB (B, T, V, H, W, 3), "state"
      float (B, T, D), ...
    - in place of "image" and "depth" "image_features" and "depth_features", float (B, T, V, cells, width), as
      `encode_images` and `encode_depth` give them, to encode a frame only once;
    - "actions": float (B, T, Da), raw units: the command at the tick before each observed one;
    - "task": one text per sample, or int64 (B,) indices into the configuration's tasks; or
      "language": float (B, L, E), an embedding.

    Only those of the configuration's stems are read. T is the observation horizon; with `horizon_masking` it may be
    shorter (the newest observations), since the policy was trained for that. A modality whose stem has `missing: drop`
    may be left out; its tokens are then left out too, and later ones move up.
    """

    def __init__(self, config: PolicyConfig, trunk: nn.ModuleDict | None = None) -> None:
        """Build a policy with random weights and no statistics; load weights afterwards (`hpt_ros.model.weights`).

        Args:
            config: what to build.
            trunk: another policy's, of the same size, to share; a new one if None.
        """
        super().__init__()
        self.config = config
        self.modalities = build_modalities(config)
        self._known_inputs = list_known_inputs(self.modalities)
        width, name = config.trunk.width, config.embodiment
        self.encoders = nn.ModuleDict()
        self.stems = nn.ModuleDict()
        dims = {"action": config.action_dim}
        for stem in config.stems:
            modality = self.modalities[stem.modality]
            encoder = modality.encoder()
            if encoder is not None:
                self.encoders[stem.modality] = encoder
            self.stems[f"{name}_{stem.modality}"] = Stem(stem, positions=modality.positions(), width=width)
            if modality.statistic is not None:
                dims |= [modality.statistic]
        self.language = (
            TaskTable(config.tasks, config.language.tokens, config.language.width) if config.tasks else None
        )
        self.trunk = trunk if trunk is not None else nn.ModuleDict({"trunk": Trunk(config.trunk)})
        self.heads = nn.ModuleDict({name: build_head(config)})
        self.normalizer = nn.ModuleDict({name: Normaliser(dims)})
        # The published model.pth carries these and its forward pass never reads them: retained, and added only if the
        # configuration says so.
        self.modalities_tokens = nn.ParameterDict(
            {
                modality: nn.Parameter(
                    torch.empty(1, 1, width).normal_(std=MODALITY_STD),
                    requires_grad=config.modality_embedding,
                )
                for modality in config.modalities
            }
        )
        self.action_tokens = nn.ParameterDict()
        pooling = POOLINGS[config.pooling]
        self.poolings = nn.ModuleDict({name: load_location(pooling.location)(config)})
        tokens = sum(stem.tokens for stem in config.stems)
        if pooling.gives == STEPS:
            self.action_tokens[name] = nn.Parameter(
                torch.empty(1, config.action_horizon, width).normal_(std=TOKEN_STD)
            )
            tokens += config.action_horizon
        self.table: Tensor
        self.register_buffer("table", position_table(tokens, width), persistent=False)
        self._ready = False

    # --- use -----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def predict(self, inputs: Inputs, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the action chunk (B, horizon, Da), float32, raw units, on the policy's device.

        The policy must be in evaluation mode (`eval()`; `Policy.load` leaves it there). The caller's mapping and
        arrays are not changed.

        Args:
            inputs: as for the class.
            generator: on the CPU; a head that starts from noise (flow) draws from it, in place of what its
                configuration says. Other heads draw nothing.

        Raises:
            HptError: training mode, missing statistics, or inputs that do not fit the configuration.
        """
        self._require_evaluation()
        self._require_action_width()
        return self.act(self.check(inputs), generator)

    def check(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return what `act` takes: the inputs as tensors on the policy's device, "task" as "language".

        Raises:
            HptError: missing statistics or embeddings, or inputs that do not fit the configuration.
        """
        if not self._ready:
            self.normaliser.require_ready()
            self._ready = True
        return check_inputs(self.modalities, self._known_inputs, inputs, self, self.device)

    def act(self, arrays: Mapping[str, Tensor], generator: torch.Generator | None = None) -> Tensor:
        """Return the action chunk (B, horizon, Da), float32, raw units, of arrays as `check` returns them.

        Nothing here depends on the arrays' values or reads them back, and no gradient is switched off: compilers,
        exporters and CUDA graphs take it. Which arrays are there, and their shapes, say what is computed.
        """
        self._require_evaluation()
        actions = self.head(self._features(arrays)[2], generator).to(torch.float32)  # under autocast
        return self.normaliser["action"].unnormalise(actions)

    def loss(
        self, inputs: Inputs, action: Array, is_pad: Array, *, thinning: torch.Generator | None = None
    ) -> Tensor:
        """Return the head's loss on normalised actions, over the steps that are no padding.

        What it is of each head, `hpt_ros.model.head_config.HEADS` says.

        Args:
            inputs: as for the class.
            action: float (B, horizon, Da), raw units.
            is_pad: bool (B, horizon), true where the step lies beyond the episode's end.
            thinning: on the CPU; what is left out in training is drawn from it, in place of torch's own numbers.
        """
        self._require_action_width()
        arrays = self._thin(self.check(inputs), thinning)
        target, is_real = check_targets(self.config, action, is_pad, self.device)
        features = self._features(arrays)[2]
        if features.shape[0] != target.shape[0]:
            raise PolicyError(
                Code.WRONG_SHAPE, "the batch",
                problem=f"has {features.shape[0]} observations but {target.shape[0]} action chunks",
                remedy="pass as many",
            )  # fmt: skip
        return self.head.loss(features, self.normaliser["action"].normalise(target), is_real)

    def forward(self, inputs: Inputs, generator: torch.Generator | None = None) -> Tensor:
        """Return the normalised action chunk (B, horizon, Da)."""
        self._require_action_width()
        return self.stages(inputs, generator).actions

    def stages(self, inputs: Inputs, generator: torch.Generator | None = None) -> ForwardStages:
        """Return every stage of the forward pass, for tests and reports."""
        tokens, trunk_tokens, features = self._features(self._thin(self.check(inputs)))
        return ForwardStages(tokens, trunk_tokens, features, self.head(features, generator))

    def _features(self, arrays: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the tokens of each stem, those of the trunk, and what the head reads."""
        name = self.config.embodiment
        tokens: dict[str, Tensor] = {}
        for key, modality in self.modalities.items():
            if any(item in arrays for item in modality.names):
                stem_tokens = self.stems[f"{name}_{key}"](modality.entries(arrays, self))
                if self.config.modality_embedding:
                    stem_tokens = stem_tokens + self.modalities_tokens[key]
                tokens[key] = stem_tokens
        parts = list(tokens.values())
        if name in self.action_tokens:
            parts.append(self.action_tokens[name].expand(parts[0].shape[0], -1, -1))
        mixed = torch.cat(parts, dim=1)
        trunk_tokens: Tensor = self.trunk["trunk"](mixed + self.table[: mixed.shape[1]])
        return tokens, trunk_tokens, self.poolings[self.config.embodiment](trunk_tokens)

    def encode_images(self, images: Array) -> Tensor:
        """Return the "image_features" (B, T, V, cells, width) of images (B, T, V, H, W, 3) uint8 RGB.

        T may be anything from 1; a caller that keeps the features of past frames encodes each frame once.
        """
        return self._encode(IMAGE, images)

    def encode_depth(self, depth: Array) -> Tensor:
        """Return the "depth_features" (B, T, V, cells, width) of depth (B, T, V, H, W) uint16 in mm, T from 1."""
        return self._encode(DEPTH, depth)

    def _encode(self, name: str, pictures: Array) -> Tensor:
        modality = self.modalities.get(name)
        if not isinstance(modality, Pictures) or name not in self.encoders:
            if modality:
                remedy = f"pass it precomputed '{name}_features'"
                raise PolicyError(
                    Code.UNSUPPORTED, "this policy", problem=f"has no {name} encoder", remedy=remedy
                )
            raise PolicyError(
                Code.UNEXPECTED, "this policy", problem=f"reads no {name}, so it has no {name} encoder",
                remedy="leave it out",
            )  # fmt: skip
        features: Tensor = self.encoders[name](check_array(modality.pictures, pictures, self.device))
        return features

    # --- parts ---------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """The device that the policy's weights are on."""
        return self.table.device

    @property
    def normaliser(self) -> Normaliser:
        """The normaliser of this embodiment's states and actions."""
        module = self.normalizer[self.config.embodiment]
        assert isinstance(module, Normaliser)
        return module

    @property
    def head(self) -> Head:
        """The action head."""
        module = self.heads[self.config.embodiment]
        assert isinstance(module, Head)
        return module

    def set_statistics(self, statistics: Mapping[str, Statistics]) -> None:
        """Take the training data's statistics; keys are "action" and those of the stems (`statistics_needed`)."""
        self.normaliser.set_statistics(statistics)

    @property
    def statistics_needed(self) -> dict[str, int]:
        """The features that are normalised, with the dimension of each: "action", "state", "wrench", ..."""
        return self.normaliser.dims

    def set_task_embeddings(self, embeddings: Tensor) -> None:
        """Take the embeddings of the configuration's tasks, float (tasks, tokens, width), in their order."""
        if self.language is None:
            raise PolicyError(
                Code.MISSING, "this policy", problem="has no tasks",
                remedy="name them in its configuration, with a language stem",
            )  # fmt: skip
        self.language.set(embeddings)

    def require_ready(self) -> None:
        """Raise HptError unless the policy has its statistics and the embeddings of its tasks."""
        self.normaliser.require_ready()
        if self.language is not None:
            self.language.require_ready()

    def part(self, name: str) -> list[nn.Parameter]:
        """Return the parameters of one part.

        They are "encoders", "stems" (with the modality embedding, if it is added), "trunk" and "heads" (with pooling
        and action tokens).
        """
        embedding: list[nn.Module] = [self.modalities_tokens] if self.config.modality_embedding else []
        modules: dict[str, list[nn.Module]] = {
            "encoders": [self.encoders],
            "stems": [self.stems, *embedding],
            "trunk": [self.trunk],
            "heads": [self.heads, self.poolings, self.action_tokens],
        }
        if name not in modules:
            raise PolicyError(
                Code.MISSING, "a policy", name, problem="has no part {value}",
                remedy=f"use one of {', '.join(modules)}",
            )  # fmt: skip
        return [parameter for module in modules[name] for parameter in module.parameters()]

    def parts(self) -> dict[str, int]:
        """Return the number of parameters of each part, in the data's order; they sum to the entire policy."""
        counts = {f"encoder {name}": _count(module) for name, module in self.encoders.items()}
        for modality in self.config.modalities:
            counts[f"stem {modality}"] = _count(self.stems[f"{self.config.embodiment}_{modality}"])
        counts["trunk"] = _count(self.trunk)
        counts["head"] = _count(self.heads) + _count(self.poolings) + _count(self.action_tokens)
        unused = "" if self.config.modality_embedding else " (unused)"
        counts[f"modality tokens{unused}"] = _count(self.modalities_tokens)
        return counts

    @classmethod
    def load(cls, folder: str | Path) -> Policy:
        """Load a checkpoint folder's policy, in evaluation mode; see `hpt_ros.model.checkpoint.load_checkpoint`."""
        from hpt_ros.model.checkpoint import load_checkpoint

        return load_checkpoint(folder).policy

    # --- inside --------------------------------------------------------------------------------------------------

    def _require_action_width(self) -> None:
        config = self.config
        unprojected = isinstance(config.head, DecoderHeadConfig) and not config.head.projection
        if unprojected and config.trunk.width != config.action_dim:
            raise PolicyError(
                Code.WRONG_SHAPE, "the decoder head without projection",
                problem=f"gives {config.trunk.width} numbers a step, but actions have {config.action_dim}",
                remedy="set head.projection to true",
            )  # fmt: skip

    def _require_evaluation(self) -> None:
        if self.training:
            raise PolicyError(
                Code.INVALID, "predict", problem="was called in training mode, where dropout is on",
                remedy="call policy.eval() first",
            )  # fmt: skip

    def _thin(self, arrays: dict[str, Tensor], random: torch.Generator | None = None) -> dict[str, Tensor]:
        """In training leave out some of what may be missing on the robot; in evaluation mode leave all as it is.

        With `horizon_masking` the last h of T observations are retained, h random in 1..T, the same for all modalities.
        A modality with `missing: drop` is left out of a batch with `drop_probability`; if that would leave nothing that
        changes with time, all modalities are retained.
        """
        if not self.training:
            return arrays
        of = {name: modality for modality in self.modalities.values() for name in modality.names}
        if self.config.horizon_masking:
            horizon = next(array.shape[1] for name, array in arrays.items() if of[name].in_time)
            keep = int(torch.randint(1, horizon + 1, (), generator=random))
            arrays = {
                name: array[:, horizon - keep :] if of[name].in_time else array
                for name, array in arrays.items()
            }
        fractions = {
            stem.modality: stem.drop_probability for stem in self.config.stems if stem.missing == "drop"
        }
        retained = {
            name: array
            for name, array in arrays.items()
            if of[name].name not in fractions
            or float(torch.rand((), generator=random)) >= fractions[of[name].name]
        }
        return retained if any(of[name].in_time for name in retained) else arrays


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
