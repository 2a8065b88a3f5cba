"""The policy: observations in raw units to a chunk of actions in raw units.

The way of the data is that of HPT (see docs/model.md): encoder, stem per modality, trunk, pooling, head, between a
normaliser's two ends. The module's names give the state dict of a published `model.pth`, with the embodiment's name
where the released code has its "domain".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hpt_ros.errors import HptError
from hpt_ros.model.config import IMAGE, STATE, PolicyConfig
from hpt_ros.model.encoders import ImageEncoder, feature_shape
from hpt_ros.model.heads import Head, build_head
from hpt_ros.model.init import TOKEN_STD
from hpt_ros.model.inputs import check_inputs, check_targets
from hpt_ros.model.normaliser import Normaliser, Statistics
from hpt_ros.model.pooling import AttentivePooling
from hpt_ros.model.positions import position_table
from hpt_ros.model.stems import Stem
from hpt_ros.model.trunk import Trunk

Array: TypeAlias = Tensor | npt.NDArray[np.generic]
Inputs: TypeAlias = Mapping[str, Array]


class PolicyError(HptError):
    """The policy cannot do what was asked with this configuration."""


@dataclass(frozen=True, slots=True)
class Stages:
    """What one forward pass computed, from the stems to the head."""

    stems: dict[str, Tensor]  # modality to tokens (B, n, d)
    trunk_tokens: Tensor  # (B, N, d)
    features: Tensor  # (B, d), or (B, N, d) without pooling
    actions: Tensor  # (B, horizon, Da), normalised


class Policy(nn.Module):
    """HPT for one embodiment.

    Inputs are a mapping of arrays (numpy or torch), batch first, in the embodiment's order:

    - "image": uint8 RGB (B, T, V, H, W, 3), oldest observation first; or
    - "image_features": float (B, T, V, cells, width), as `encode_images` gives them, to encode a frame only once;
    - "state": float (B, T, D), raw units.

    T is the observation horizon; with `horizon_masking` it may be shorter (the newest observations), since the policy
    was trained for that.
    """

    def __init__(self, config: PolicyConfig) -> None:
        """Build a policy with random weights and no statistics; load weights afterwards (`hpt_ros.model.weights`)."""
        super().__init__()
        self.config = config
        width, horizon, name = config.trunk.width, config.observation_horizon, config.embodiment
        self.encoders = nn.ModuleDict()
        self.stems = nn.ModuleDict()
        for stem in config.stems:
            if stem.modality == IMAGE:
                cells, input_width = feature_shape(config)
                entries = horizon * config.views * cells
                if config.image_encoder.kind != "none":
                    self.encoders[IMAGE] = ImageEncoder(config)
            else:
                entries, input_width = horizon, config.state_dim
            self.stems[f"{name}_{stem.modality}"] = Stem(
                stem, input_width=input_width, entries=entries, width=width
            )
        self.trunk = nn.ModuleDict({"trunk": Trunk(config.trunk)})
        self.heads = nn.ModuleDict({name: build_head(config)})
        dims = {"action": config.action_dim} | (
            {"state": config.state_dim} if STATE in config.modalities else {}
        )
        self.normalizer = nn.ModuleDict({name: Normaliser(dims)})
        # The published model.pth carries these and its forward pass never reads them: kept, not added.
        self.modalities_tokens = nn.ParameterDict(
            {
                modality: nn.Parameter(torch.empty(1, 1, width).normal_(std=TOKEN_STD), requires_grad=False)
                for modality in config.modalities
            }
        )
        self.action_tokens = nn.ParameterDict()
        self.poolings = nn.ModuleDict()
        if config.pooling == "attentive":
            self.poolings[name] = AttentivePooling(width, config.trunk.heads)
        tokens = sum(stem.tokens for stem in config.stems)
        if config.pooling == "action_token":
            self.action_tokens[name] = nn.Parameter(
                torch.empty(1, config.action_horizon, width).normal_(std=TOKEN_STD)
            )
            tokens += config.action_horizon
        self.table: Tensor
        self.register_buffer("table", position_table(tokens, width), persistent=False)
        self._statistics_checked = False

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
        if self.training:
            raise PolicyError(
                "predict was called in training mode, where dropout is on; call policy.eval() first"
            )
        actions = self.forward(inputs, generator).to(torch.float32)  # under autocast of lower precision
        return self.normaliser["action"].unnormalise(actions)

    def loss(self, inputs: Inputs, action: Array, is_pad: Array) -> Tensor:
        """Return the head's loss on normalised actions, over the steps that are no padding.

        That is smooth L1 (beta 0.05) for mlp, conv and decoder, the negative log-likelihood per number for gmm, and
        the squared error of the velocity for flow.

        Args:
            inputs: as for the class.
            action: float (B, horizon, Da), raw units.
            is_pad: bool (B, horizon), true where the step lies beyond the episode's end.
        """
        self._require_action_width()
        target, is_real = check_targets(self.config, action, is_pad, self.device)
        features = self._features(inputs)[2]
        if features.shape[0] != target.shape[0]:
            raise PolicyError(
                f"the batch has {features.shape[0]} observations but {target.shape[0]} action chunks; pass as many"
            )
        return self.head.loss(features, self.normaliser["action"].normalise(target), is_real)

    def forward(self, inputs: Inputs, generator: torch.Generator | None = None) -> Tensor:
        """Return the normalised action chunk (B, horizon, Da)."""
        self._require_action_width()
        return self.stages(inputs, generator).actions

    def stages(self, inputs: Inputs, generator: torch.Generator | None = None) -> Stages:
        """Return every stage of the forward pass, for tests and reports."""
        tokens, trunk_tokens, features = self._features(inputs)
        return Stages(tokens, trunk_tokens, features, self.head(features, generator))

    def _features(self, inputs: Inputs) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the tokens of each stem, those of the trunk, and what the head reads."""
        if not self._statistics_checked:
            self.normaliser.require_ready()
            self._statistics_checked = True
        config, name = self.config, self.config.embodiment
        arrays = self._mask_horizon(check_inputs(config, inputs, self.device))
        tokens: dict[str, Tensor] = {}
        for modality in config.modalities:
            if modality == STATE:
                entries = self.normaliser[STATE].normalise(arrays[STATE])
            else:
                cells = (
                    arrays["image_features"]
                    if "image_features" in arrays
                    else self.encoders[IMAGE](arrays[IMAGE])
                )
                entries = cells.flatten(1, 3)
            tokens[modality] = self.stems[f"{name}_{modality}"](entries)
        parts = list(tokens.values())
        if name in self.action_tokens:
            parts.append(self.action_tokens[name].expand(parts[0].shape[0], -1, -1))
        trunk_tokens: Tensor = self.trunk["trunk"](torch.cat(parts, dim=1) + self.table)
        return tokens, trunk_tokens, self._pool(trunk_tokens)

    def encode_images(self, images: Array) -> Tensor:
        """Return the "image_features" (B, T, V, cells, width) of images (B, T, V, H, W, 3) uint8 RGB.

        T may be anything from 1; a caller that keeps the features of past frames encodes each frame once.
        """
        if IMAGE not in self.encoders:
            raise PolicyError("this policy has no image encoder; pass it precomputed 'image_features'")
        config = self.config
        array = torch.as_tensor(images, device=self.device)
        expected = (config.views, config.image_height, config.image_width, 3)
        if array.dtype != torch.uint8 or array.ndim != 6 or tuple(array.shape[2:]) != expected:
            raise PolicyError(
                f"encode_images got {str(array.dtype).removeprefix('torch.')} {tuple(array.shape)}, but uint8 "
                f"(B, T, {', '.join(map(str, expected))}) was expected; shape it as the policy's embodiment says"
            )
        features: Tensor = self.encoders[IMAGE](array)
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
        """Take the training data's statistics: keys "action" and, with a state stem, "state"."""
        self.normaliser.set_statistics(statistics)

    def part(self, name: str) -> list[nn.Parameter]:
        """Return the parameters of one part: "encoders", "stems", "trunk" or "heads" (with pooling, action tokens)."""
        modules: dict[str, list[nn.Module]] = {
            "encoders": [self.encoders],
            "stems": [self.stems],
            "trunk": [self.trunk],
            "heads": [self.heads, self.poolings, self.action_tokens],
        }
        if name not in modules:
            raise PolicyError(f"a policy has no part {name!r}; use one of {', '.join(modules)}")
        return [parameter for module in modules[name] for parameter in module.parameters()]

    def parts(self) -> dict[str, int]:
        """Return the number of parameters of each part, in the data's order; they sum to the whole policy."""
        counts = {f"encoder {name}": _count(module) for name, module in self.encoders.items()}
        for modality in self.config.modalities:
            counts[f"stem {modality}"] = _count(self.stems[f"{self.config.embodiment}_{modality}"])
        counts["trunk"] = _count(self.trunk)
        counts["head"] = _count(self.heads) + _count(self.poolings) + _count(self.action_tokens)
        counts["modality tokens (unused)"] = _count(self.modalities_tokens)
        return counts

    @classmethod
    def load(cls, folder: str | Path) -> Policy:
        """Load a checkpoint folder's policy, in evaluation mode; see `hpt_ros.model.checkpoint.load_checkpoint`."""
        from hpt_ros.model.checkpoint import load_checkpoint

        return load_checkpoint(folder).policy

    # --- inside --------------------------------------------------------------------------------------------------

    def _require_action_width(self) -> None:
        config = self.config
        unprojected = config.head.kind == "decoder" and not config.head.projection
        if unprojected and config.trunk.width != config.action_dim:
            raise PolicyError(
                f"the decoder head without projection gives {config.trunk.width} numbers a step, but actions have "
                f"{config.action_dim}; set head.projection to true"
            )

    def _mask_horizon(self, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        """In training keep the last h of T observations, h random in 1..T and the same for all modalities."""
        if not (self.training and self.config.horizon_masking):
            return arrays
        horizon = next(iter(arrays.values())).shape[1]
        keep = int(torch.randint(1, horizon + 1, ()))
        return {name: array[:, horizon - keep :] for name, array in arrays.items()}

    def _pool(self, tokens: Tensor) -> Tensor:
        match self.config.pooling:
            case "mean":
                return tokens.mean(dim=1)
            case "max":
                return tokens.amax(dim=1)
            case "last":
                return tokens[:, -1]
            case "attentive":
                pooled: Tensor = self.poolings[self.config.embodiment](tokens)
                return pooled
            case "action_token":
                return tokens[:, -self.config.action_horizon :]
            case _:  # "no-op"; the configuration admits no other
                return tokens


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
