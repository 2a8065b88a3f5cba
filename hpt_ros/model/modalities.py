# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How arrays of the modalities become entries for the one `Stem`; `hpt_ros.modalities` names the class of each."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hpt_ros.errors import Code
from hpt_ros.modalities import IMAGE, LANGUAGE, MODALITIES
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.depth_encoder import DepthEncoder, depth_feature_shape
from hpt_ros.model.encoders import ImageEncoder, feature_shape
from hpt_ros.model.inputs import Input, InputError, Inputs
from hpt_ros.model.modality import Entries, Parts
from hpt_ros.model.positions import position_table
from hpt_ros.registry import load_location

# Octaves of the Fourier features of a point. The finest wave is 2^-7 of the workspace's extent along an axis, 16 mm of
# 2 m: about what a depth camera tells apart there. Mildenhall et al., NeRF (arXiv 2003.08934), eq. 4.
POINT_OCTAVES = 8


class Pictures(Entries):
    """Pictures that an encoder turns into cells of features, one entry a cell; or these features themselves."""

    @property
    def dtype(self) -> str:
        """Of the pictures, numpy's name."""
        return self.modality.dtype

    @property
    def frame(self) -> tuple[int, ...]:
        """Shape (V, H, W, ...) of one step's pictures."""
        return self.shape

    @property
    def cells(self) -> tuple[int, int, int]:
        """Shape (V, cells, width) of one step's features."""
        raise NotImplementedError

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Features, or the pictures if the policy has an encoder."""
        features = Input(self.names[0], "float", self.cells)
        return (features, self.pictures) if self.has_encoder else (features,)

    @property
    def pictures(self) -> Input:
        """What the encoder takes."""
        return Input(self.name, self.dtype, self.frame)

    @property
    def has_encoder(self) -> bool:
        """Whether the policy encodes pictures itself."""
        return True

    @property
    def count(self) -> int:
        """Horizon x views x cells."""
        views, cells, _ = self.cells
        return self.config.observation_horizon * views * cells

    @property
    def width(self) -> int:
        """Width of a cell."""
        return self.cells[2]

    def entries(self, arrays: Mapping[str, Tensor], parts: Parts) -> Tensor:
        """Return cells in the order of time, view, cell."""
        features = self.names[0]
        cells = arrays[features] if features in arrays else parts.encoders[self.name](arrays[self.name])
        entries: Tensor = cells.flatten(1, 3)
        return entries


class Image(Pictures):
    """Camera pictures: "image" uint8 RGB (B, T, V, H, W, 3), or "image_features" float (B, T, V, cells, width)."""

    @property
    def cells(self) -> tuple[int, int, int]:
        """As the image encoder gives them."""
        return self.shape[0], *feature_shape(self.config)

    @property
    def has_encoder(self) -> bool:
        """Whether the policy encodes images itself."""
        return self.config.image_encoder.encodes

    def encoder(self) -> nn.Module | None:
        """Build the image encoder of the configuration."""
        return ImageEncoder(self.config) if self.has_encoder else None

    def find(self, inputs: Inputs) -> str | None:
        """As for every modality, with the remedy for images given to a policy that takes features."""
        if not self.has_encoder and IMAGE in inputs and self.names[0] not in inputs:
            raise InputError(
                Code.MISSING, f"the input {self.names[0]!r}",
                problem="is missing and the policy has no image encoder",
                remedy="pass precomputed features, not images",
            )  # fmt: skip
        return super().find(inputs)


class Depth(Pictures):
    """Depth pictures: "depth" uint16 (B, T, V, H, W) in mm, 0 where nothing was measured; or "depth_features"."""

    @property
    def cells(self) -> tuple[int, int, int]:
        """As the depth encoder gives them."""
        return self.shape[0], *depth_feature_shape(self.config)

    def encoder(self) -> nn.Module:
        """Build the depth encoder of the configuration."""
        return DepthEncoder(self.config)


class Vector(Entries):
    """One vector of numbers per step in raw units, normalised: float (B, T, D), one entry a step."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The vector."""
        return (Input(self.names[-1], "float", (self.width,)),)

    @property
    def count(self) -> int:
        """The horizon."""
        return self.config.observation_horizon

    @property
    def width(self) -> int:
        """Numbers in one step's vector."""
        return self.shape[0]

    def entries(self, arrays: Mapping[str, Tensor], parts: Parts) -> Tensor:
        """Return the normalised vectors."""
        return normalised(self, arrays[self.names[-1]], parts)


class Actions(Vector):
    """Commands at the tick before each observed one, raw units; normalised as the actions that are predicted."""

    @property
    def statistic(self) -> tuple[str, int]:
        """The action's."""
        return "action", self.width

    @property
    def width(self) -> int:
        """Numbers in an action."""
        return self.config.action_dim


class Arrays(Entries):
    """Arrays side by side, float (B, T, A, n) in raw units: one entry per step and array, one normaliser for all."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The arrays."""
        return (Input(self.names[-1], "float", self.shape),)

    @property
    def count(self) -> int:
        """Horizon x arrays."""
        return self.config.observation_horizon * self.shape[0]

    @property
    def width(self) -> int:
        """Values of an array."""
        return self.shape[-1]

    def entries(self, arrays: Mapping[str, Tensor], parts: Parts) -> Tensor:
        """Return the normalised arrays in the order of time, array."""
        return normalised(self, arrays[self.names[-1]], parts).flatten(1, 2)


class PointCloud(Entries):
    """Point clouds, float (B, T, C, P, 3) in metres: one entry a point.

    An entry is the point's normalised coordinates p and sin(2^k pi p), cos(2^k pi p) for k = 0 ... POINT_OCTAVES - 1,
    so that points that are near each other differ to a small network. Points are a set: the position table marks time
    and cloud, and is the same for all points of one.
    """

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The points."""
        return (Input(self.names[-1], "float", self.shape),)

    @property
    def count(self) -> int:
        """Horizon x clouds x points."""
        return self.config.observation_horizon * self.shape[0] * self.shape[1]

    @property
    def width(self) -> int:
        """3 coordinates, and a sine and a cosine of each per octave."""
        return 3 * (1 + 2 * POINT_OCTAVES)

    def positions(self) -> Tensor:
        """Return one row per (time, cloud), repeated for each of its points."""
        clouds, points, _ = self.shape
        table = position_table(self.config.observation_horizon * clouds, self.width)
        return table.repeat_interleave(points, dim=0)

    def entries(self, arrays: Mapping[str, Tensor], parts: Parts) -> Tensor:
        """Return the points' features in the order of time, cloud, point."""
        points = normalised(self, arrays[self.names[-1]], parts).flatten(1, 3)
        angles = torch.cat([points * (math.pi * 2.0**octave) for octave in range(POINT_OCTAVES)], dim=-1)
        return torch.cat((points, angles.sin(), angles.cos()), dim=-1)


class Language(Entries):
    """The task: "task", one text per sample or int64 (B,) indices into the configuration's tasks, whose embeddings are
    stored with the policy; or "language" float (B, L, E), an embedding from elsewhere. One entry a row of it."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """An index if the policy has tasks, or an embedding."""
        embedding = Input(LANGUAGE, "float", (self.count, self.width), axes=("B",))
        return (Input("task", "int64", (), axes=("B",)), embedding) if self.config.tasks else (embedding,)

    @property
    def count(self) -> int:
        """Rows of an embedding."""
        return self.config.language.tokens

    @property
    def width(self) -> int:
        """Width of a row."""
        return self.config.language.width

    def check(self, name: str, inputs: Inputs, parts: Parts, device: torch.device) -> dict[str, Tensor]:
        """Return the "language" of a task, or as it was passed in."""
        if name == "task" and parts.language is not None:
            return {LANGUAGE: parts.language.look_up(inputs[name], device)}
        return super().check(name, inputs, parts, device)

    def entries(self, arrays: Mapping[str, Tensor], parts: Parts) -> Tensor:
        """Return the embedding's rows."""
        return arrays[LANGUAGE]


def normalised(entries: Entries, array: Tensor, parts: Parts) -> Tensor:
    """Return an array by its modality's normaliser, as it is where nothing is normalised."""
    statistic = entries.statistic
    return array if statistic is None else parts.normaliser[statistic[0]].normalise(array)


def build_modalities(config: PolicyConfig) -> dict[str, Entries]:
    """Return what the policy reads, in the order of its stems."""
    found = {}
    for name in config.modalities:
        found[name] = load_location(MODALITIES[name].network)(MODALITIES[name], config)
    return found


def known_inputs(modalities: Mapping[str, Entries]) -> tuple[str, ...]:
    """Return the names of the inputs of every modality of this project, and of those that a policy reads."""
    kinds = (*MODALITIES.of_project().values(), *(entries.modality for entries in modalities.values()))
    return tuple(dict.fromkeys(name for kind in kinds for name in reversed(kind.names)))
